//! Stacks made for a test: what the recordings do not hold.

use std::collections::BTreeSet;

use noun::Noun;
use profiler_common::hoon::LOOM_START;
use profiler_common::hoon::{
    END_ABSENT, END_FRAMES, END_LAYOUT, END_MALFORMED, END_ROADS, END_WHOLE, FRAME_ABSENT,
    FRAME_KIND_MASK, FRAME_MEAN, FRAME_OTHER, HoonFrame, MAX_FRAMES, MAX_READS, MAX_ROADS,
    TAG_MEAN, V4, is_cell,
};

use super::super::nouns;
use super::super::resolve::resolve;
use super::super::{Folding, HoonNames, Site, Unresolved, fold, walk};
use super::loom::{Loom, spot};

fn n(number: u64) -> Noun {
    Noun::from(number)
}

fn constant(noun: Noun) -> Noun {
    Noun::cell(n(1), noun)
}

/// `[10 [6 [1 'text']] [7 [0 3] [9 2 0 1]]]` and the like, with a text deep inside.
pub fn printer(text: &str, number: u64) -> Noun {
    Noun::tuple([
        n(8),
        Noun::cell(constant(n(number)), Noun::cell(n(0), n(number + 1))),
        Noun::tuple([
            n(6),
            Noun::cell(n(3), Noun::cell(n(0), n(2))),
            Noun::tuple([
                n(9),
                n(2),
                Noun::tuple([
                    n(10),
                    Noun::cell(n(6), constant(Noun::cord(text))),
                    n(0),
                    n(1),
                ]),
            ]),
            constant(Noun::cord("otherwise")),
        ]),
    ])
}

/// Where the traps of a recording's means would lie.
pub fn trap_references(loom: &Loom) -> Vec<u32> {
    let tags = loom.words.iter().filter(|(_, word)| **word == TAG_MEAN);
    let data = tags.filter_map(|(address, _)| loom.words.get(&(address + 4)).copied());
    let references: BTreeSet<u32> = data.filter(|data| is_cell(*data)).collect();
    references.into_iter().collect()
}

/// Puts a trap there, whose code says a text of its own.
pub fn put_trap(loom: &mut Loom, reference: u32, index: u64) {
    let (battery, _) = loom.noun(&printer(&format!("site-{index}"), index));
    loom.set(V4.address(reference), &[1, 0, battery, 0]);
}

#[test]
fn all_roads_are_walked_from_the_innermost_out() {
    let mut loom = Loom::with_roads(3);
    let (gall, _) = loom.noun(&spot(["sys", "vane", "gall", "hoon"], 12));
    let (dojo, _) = loom.noun(&spot(["app", "dojo", "hoon"], 984));
    let (long, _) = loom.noun(&spot(["app", "a-name-of-many-letters", "hoon"], 7));
    loom.push(1, "spot", gall);
    loom.push(1, "spot", dojo);
    loom.push(2, "spot", long);
    loom.push_mean(2, &printer("find", 1));
    let stack = walk(&loom);
    assert_eq!(
        (stack.end, stack.event_number, stack.roads.len()),
        (END_WHOLE, 42, 3)
    );
    let mut names = HoonNames::default();
    for frame in &stack.frames {
        names.look_up(&loom, frame);
    }
    let sites = || stack.frames.iter().map(|frame| names.get(frame).ok());
    let lines = fold(sites(), Folding::Line);
    assert_eq!(
        lines[..3],
        [
            "/sys/vane/gall/hoon:12",
            "/app/dojo/hoon:984",
            "/app/a-name-of-many-letters/hoon:7"
        ]
    );
    assert!(lines[3].starts_with("%mean/find@"), "{lines:?}");
    assert_eq!(
        fold(sites(), Folding::Owner),
        ["gall", "/app/dojo", "/app/a-name-of-many-letters"]
    );
}

#[test]
fn a_mean_is_named_by_its_own_place_or_by_its_constants() {
    let tank = |text: &str| {
        Noun::cell(
            Noun::cord("leaf"),
            Noun::list(text.bytes().map(|b| n(b.into()))),
        )
    };
    let hinted = Noun::tuple([
        n(11),
        Noun::cell(Noun::cord("spot"), constant(spot(["lib", "x", "hoon"], 3))),
        constant(tank("error: no")),
    ]);
    for (formula, start) in [
        (printer("redo-match", 4), "%mean/redo-match@"),
        (constant(tank("error-building")), "%mean/error-building@"),
        (hinted, "/lib/x/hoon:3"),
        (Noun::cell(n(0), n(1)), "%mean@"),
        // Autocons: a formula whose head is one.
        (
            Noun::cell(Noun::cell(n(0), n(1)), constant(Noun::cord("tack"))),
            "%mean/tack@",
        ),
    ] {
        let mut loom = Loom::with_roads(2);
        loom.push_mean(1, &formula);
        let frame = walk(&loom).frames[0];
        let line = resolve(&loom, &frame).unwrap().line();
        assert!(line.starts_with(start), "{line} is not {start}");
        // The name is the same without the hash in the code's head, which then is computed.
        let unhashed = HoonFrame { mug: 0, ..frame };
        let own = resolve(&loom, &unhashed).unwrap().line();
        assert!(
            own == line || start.starts_with("/lib"),
            "{own} is not {line}"
        );
    }
}

#[test]
fn texts_and_other_hints_have_names() {
    let mut loom = Loom::with_roads(2);
    let (text, _) = loom.noun(&Noun::cord("gall: bad wire"));
    loom.push(1, "hunk", 0);
    loom.push(1, "lose", 0);
    loom.push(1, "mean", text);
    loom.push(1, "mean", 0x676f64);
    loom.push(1, "what", 0);
    let stack = walk(&loom);
    assert_eq!(stack.frames[0].kind & FRAME_KIND_MASK, FRAME_OTHER);
    assert_eq!(resolve(&loom, &stack.frames[0]), Err(Unresolved::Malformed));
    let lines: Vec<String> = stack.frames[1..]
        .iter()
        .map(|frame| resolve(&loom, frame).unwrap().line())
        .collect();
    assert_eq!(
        lines,
        ["%mean/dog", "%mean/gall: bad wire", "%lose", "%hunk"]
    );
}

#[test]
fn a_noun_that_was_replaced_has_no_name() {
    let mut loom = Loom::with_roads(2);
    let (place, _) = loom.noun(&spot(["app", "dojo", "hoon"], 984));
    loom.push(1, "spot", place);
    let before = walk(&loom).frames[0];
    let (other, _) = loom.noun(&spot(["app", "hood", "hoon"], 1));
    let words: Vec<u32> = (0..4)
        .map(|i| loom.words[&(V4.address(other) + i * 4)])
        .collect();
    loom.set(V4.address(place), &words);
    let mut names = HoonNames::default();
    names.look_up(&loom, &before);
    assert_eq!(names.get(&before), Err(Unresolved::Changed));
    // At the next sample it is another hint, with another hash.
    let after = walk(&loom).frames[0];
    names.look_up(&loom, &after);
    assert_eq!(names.get(&after).unwrap().line(), "/app/hood/hoon:1");
    // A name once found stays right, and is not read again.
    loom.words.clear();
    loom.reads.set(0);
    names.look_up(&loom, &after);
    assert_eq!(loom.reads.get(), 0);
    // The file keeps both, found or not.
    let kept = serde_json::to_string(&names).unwrap();
    assert_eq!(serde_json::from_str::<HoonNames>(&kept).unwrap(), names);
}

#[test]
fn code_without_a_hash_is_forgotten_once_it_is_seen_to_differ() {
    let mut loom = Loom::with_roads(2);
    loom.push_mean(1, &printer("find", 1));
    let frame = HoonFrame {
        mug: 0,
        ..walk(&loom).frames[0]
    };
    let mut names = HoonNames::default();
    names.look_up(&loom, &frame);
    assert!(matches!(names.get(&frame), Ok(Site::Mean(_))));
    let (other, _) = loom.noun(&printer("tack", 2));
    let words: Vec<u32> = (0..4)
        .map(|i| loom.words[&(V4.address(other) + i * 4)])
        .collect();
    loom.set(V4.address(frame.noun), &words);
    names.look_up(&loom, &frame);
    assert_eq!(names.get(&frame), Err(Unresolved::Changed));
    names.look_up(&loom, &frame);
    assert_eq!(
        names.get(&frame),
        Err(Unresolved::Changed),
        "and it stays so"
    );
}

#[test]
fn every_way_to_end_is_told() {
    let end = |loom: &Loom| walk(loom).end;
    assert_eq!(end(&Loom::default()), END_ABSENT);
    let mut unknown = Loom::with_roads(2);
    unknown.set(LOOM_START, &[4]);
    assert_eq!(end(&unknown), END_LAYOUT);
    assert_eq!(end(&Loom::with_roads(MAX_ROADS as u32)), END_WHOLE);
    assert_eq!(end(&Loom::with_roads(MAX_ROADS as u32 + 1)), END_ROADS);

    let mut loops = Loom::with_roads(2);
    loops.set(Loom::road(1) + u64::from(V4.kid), &[0x1000]);
    assert_eq!(end(&loops), END_ROADS);

    let mut lists = Loom::with_roads(2);
    lists.push(1, "hunk", 0);
    let first = lists.words[&(Loom::road(1) + u64::from(V4.tax))];
    lists.set(V4.address(first) + 12, &[first]);
    let stack = walk(&lists);
    assert_eq!((stack.end, stack.frames.len()), (END_FRAMES, MAX_FRAMES));
    lists.set(V4.address(first) + 12, &[7]);
    let stack = walk(&lists);
    assert_eq!((stack.end, stack.frames.len()), (END_MALFORMED, 1));
    lists.set(V4.address(first) + 12, &[0xfff0_0000]);
    assert_eq!(end(&lists), END_ABSENT);
}

#[test]
fn the_work_for_one_stack_is_bounded() {
    let mut loom = Loom::with_roads(MAX_ROADS as u32);
    for _ in 0..=MAX_FRAMES {
        loom.push_mean(MAX_ROADS as u32 - 1, &constant(n(1)));
    }
    loom.reads.set(0);
    let stack = walk(&loom);
    assert_eq!((stack.end, stack.frames.len()), (END_FRAMES, MAX_FRAMES));
    assert!(
        loom.reads.get() as usize <= MAX_READS,
        "{} reads",
        loom.reads.get()
    );
}

#[test]
fn the_work_for_one_name_is_bounded() {
    // A formula that contains itself, and a tree as wide as can be.
    let mut loom = Loom::with_roads(2);
    let at = loom.cell(0, 0, 0);
    loom.set(V4.address(at), &[1, 0, at, at]);
    let shared = (0..40).fold(loom.noun(&constant(n(1))), |(part, mug), _| {
        let mug = noun::murmur3::mug_of_cell(mug, mug);
        (loom.cell(mug, part, part), mug)
    });
    for (noun, mug) in [(at, 0), (at, 7), (shared.0, shared.1), (shared.0, 0)] {
        for kind in 1..=FRAME_OTHER {
            loom.reads.set(0);
            let _ = resolve(&loom, &HoonFrame { kind, noun, mug });
            assert!(
                loom.reads.get() <= nouns::MAX_READS,
                "{} reads",
                loom.reads.get()
            );
        }
    }
    // What is too wide to be searched has a name by its hash all the same.
    let frame = HoonFrame {
        kind: FRAME_MEAN,
        noun: shared.0,
        mug: shared.1,
    };
    assert!(matches!(resolve(&loom, &frame), Ok(Site::Mean(_))));
    let absent = HoonFrame {
        kind: FRAME_MEAN | FRAME_ABSENT,
        ..frame
    };
    assert_eq!(resolve(&loom, &absent), Err(Unresolved::Absent));
}
