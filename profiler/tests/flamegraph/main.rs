//! Flamegraphs of recorded captures: whole, well-formed, harmless whatever the names in them, and
//! grey where nothing changed.

#![expect(clippy::expect_used, reason = "a test says by a panic what is wrong")]

mod chromium;
mod made;

use made::{AMES, GALL, add_hoon, capture, hostile};
use profiler::aggregate::stacks::{FoldOptions, Folded, StackKind, fold};
use profiler::hoon::Folding;
use profiler::render::flamegraph::{FlamegraphError, KINDS, Picture, render};
use profiler::render::{json, text};
use profiler::report::report;

const SVG: &str = "http://www.w3.org/2000/svg";
/// Colour of what is within noise.
const NOISE: &str = "rgb(222,222,222)";

/// A frame of a picture.
#[derive(Debug, Clone, PartialEq)]
struct Drawn {
    title: String,
    fill: String,
    width: u64,
    y: u64,
}

fn draw(picture: &Picture<'_>) -> Option<String> {
    match render(picture) {
        Ok(svg) => Some(String::from_utf8(svg).expect("text")),
        Err(FlamegraphError::Lacks(why)) => {
            assert!(
                why.starts_with("the capture holds no ") && why.contains(": "),
                "{why}"
            );
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The frames of a picture, which must be well-formed and hold no script but inferno's.
fn frames(svg: &str) -> Vec<Drawn> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    let document = roxmltree::Document::parse_with_options(svg, options).expect("XML");
    let scripts = document
        .descendants()
        .filter(|node| node.has_tag_name((SVG, "script")));
    assert_eq!(scripts.count(), 1);
    let groups = document
        .descendants()
        .filter(|node| node.has_tag_name((SVG, "g")));
    groups
        .map(|group| {
            let child = |name| group.children().find(|node| node.has_tag_name((SVG, name)));
            let rect = child("rect").expect("a box");
            let number = |name: &str| {
                let mut attributes = rect.attributes();
                let found = attributes.find(|attribute| attribute.name() == name);
                found
                    .expect("an attribute")
                    .value()
                    .parse()
                    .expect("a number")
            };
            Drawn {
                title: child("title")
                    .and_then(|t| t.text())
                    .expect("a title")
                    .to_owned(),
                fill: rect.attribute("fill").expect("a colour").to_owned(),
                width: number("w"),
                y: rect
                    .attribute("y")
                    .expect("a height")
                    .parse()
                    .expect("a number"),
            }
        })
        .collect()
}

#[test]
fn pictures_hold_all_the_time_of_their_stacks() {
    let options = FoldOptions {
        folding: Folding::Line,
        by_role: false,
    };
    let mut drawn = Vec::new();
    for name in ["disk", "cold", "cpu"] {
        let mut capture = capture(name);
        add_hoon(&mut capture, &[GALL, AMES]);
        for (kind, file) in KINDS {
            let mut folded = Folded::default();
            fold(&capture, kind, options, &mut folded, 0);
            let svg = draw(&Picture::of(&capture, kind));
            assert_eq!(svg.is_none(), folded.is_empty(0), "{name}: {file}");
            let Some(svg) = svg else { continue };
            let frames = frames(&svg);
            let all = frames
                .iter()
                .find(|frame| frame.title.starts_with("all ("))
                .expect("all");
            assert_eq!(all.width, folded.total()[0].total, "{name}: {file}");
            for frame in &frames {
                for words in [", vere 4.6, 4.0", " 0 lost)"] {
                    assert!(
                        frame.title.contains(words),
                        "{name}: {file}: {}",
                        frame.title
                    );
                }
            }
            drawn.push(kind);
        }
    }
    for (kind, file) in KINDS {
        assert!(drawn.contains(&kind), "no fixture has a {file}");
    }
}

#[test]
fn hoon_stands_over_the_c_that_ran_it() {
    let mut capture = capture("cpu");
    add_hoon(&mut capture, &[GALL, AMES]);
    let options = |folding| FoldOptions {
        folding,
        by_role: true,
    };
    let stacks = |kind, folding| {
        let mut folded = Folded::default();
        fold(&capture, kind, options(folding), &mut folded, 0);
        let stacks = folded.stacks().into_iter();
        let named = stacks.map(|(frames, weight)| {
            let names: Vec<&str> = frames.iter().map(|frame| frame.name.as_str()).collect();
            (names.join(" "), weight.count)
        });
        named.collect::<Vec<_>>()
    };
    let mixed = stacks(StackKind::Mixed, Folding::Owner);
    let both = mixed
        .iter()
        .filter(|(names, _)| names.contains(" main ") && names.contains("/app/dojo"));
    assert!(both.clone().count() > 0, "{mixed:#?}");
    for (names, _) in both {
        let at = |name: &str| names.find(name);
        assert!(at(" main ") < at(" gall /app/dojo"), "{names}");
    }
    let samples = |stacks: &[(String, u64)]| stacks.iter().map(|(_, n)| n).sum::<u64>();
    assert_eq!(
        samples(&mixed),
        samples(&stacks(StackKind::OnCpu, Folding::Line))
    );
    let by_line = stacks(StackKind::Hoon, Folding::Line);
    let by_owner = stacks(StackKind::Hoon, Folding::Owner);
    let names =
        |stacks: &[(String, u64)]| stacks.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    assert_eq!(
        names(&by_line),
        [
            "mars /sys/vane/ames/hoon:3",
            "mars /sys/vane/gall/hoon:3 /app/dojo/hoon:3"
        ]
    );
    assert_eq!(names(&by_owner), ["mars ames", "mars gall /app/dojo"]);
    assert_eq!(samples(&by_line), samples(&by_owner));
}

#[test]
fn a_capture_differs_from_itself_by_nothing() {
    for (name, per) in [
        ("disk", "per event"),
        ("cpu", "per event"),
        ("healthy", "per event"),
    ] {
        let mut capture = capture(name);
        add_hoon(&mut capture, &[GALL, AMES]);
        for (kind, file) in KINDS {
            let mut picture = Picture::of(&capture, kind);
            picture.baseline = Some(&capture);
            let Some(svg) = draw(&picture) else { continue };
            assert!(svg.contains(per), "{name}: {file}");
            for frame in frames(&svg)
                .iter()
                .filter(|frame| !frame.title.starts_with("all ("))
            {
                assert_eq!(frame.fill, NOISE, "{name}: {file}: {}", frame.title);
            }
        }
    }
}

#[test]
fn what_one_capture_alone_has_is_shown_and_coloured() {
    let (mut before, mut after) = (capture("cpu"), capture("cpu"));
    add_hoon(&mut before, &[AMES]);
    add_hoon(&mut after, &[GALL, GALL, AMES]);
    let mut picture = Picture::of(&after, StackKind::Hoon);
    picture.baseline = Some(&before);
    let frames = frames(&draw(&picture).expect("a picture"));
    let of = |name: &str| {
        let found = frames.iter().find(|frame| frame.title.starts_with(name));
        found.unwrap_or_else(|| panic!("no {name}: {frames:#?}"))
    };
    let (dojo, ames) = (of("/app/dojo/hoon:3 ("), of("/sys/vane/ames/hoon:3 ("));
    assert!(dojo.title.contains(": new;"), "{}", dojo.title);
    assert!(dojo.fill.starts_with("rgb(245,"), "{dojo:?}");
    assert!(ames.title.contains(": -6"), "{}", ames.title);
    assert!(ames.fill.ends_with(",245)"), "{ames:?}");
    // Means of 0 and 2 thirds, of 1 and 1 third.
    let ratio = dojo.width as f64 / ames.width as f64;
    assert!((0.48..0.52).contains(&ratio), "{ratio}");
    // Gone altogether: there too, in blue.
    std::mem::swap(&mut before, &mut after);
    let mut picture = Picture::of(&after, StackKind::Hoon);
    picture.baseline = Some(&before);
    let svg = draw(&picture).expect("a picture");
    let gone = self::frames(&svg)
        .into_iter()
        .find(|frame| frame.title.contains(": gone;"));
    assert!(gone.expect("what is gone").fill.ends_with(",245)"));
}

#[test]
fn without_event_numbers_shares_are_compared() {
    let (before, mut after) = (capture("disk"), capture("cpu"));
    after.meta.loom_end = after.meta.loom_start.clone();
    let mut picture = Picture::of(&after, StackKind::OnCpu);
    picture.baseline = Some(&before);
    let svg = draw(&picture).expect("a picture");
    assert!(svg.contains("as shares"), "{}", &svg[..3000]);
}

#[test]
fn hostile_names_are_shown_and_do_nothing() {
    let capture = hostile();
    let harmless = |what: &str, text: &str| {
        let unsafe_char = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{fffe}');
        let found = text.chars().position(unsafe_char);
        assert!(
            found.is_none(),
            "{what} holds a control character at {found:?}"
        );
    };
    let report = report(&capture);
    harmless("the screen", &text::render(&report));
    harmless("JSON", &json::render(&report).expect("JSON"));
    let mut shown = 0;
    for (kind, file) in KINDS {
        for baseline in [None, Some(&capture)] {
            let mut picture = Picture::of(&capture, kind);
            picture.baseline = baseline;
            let Some(svg) = draw(&picture) else { continue };
            harmless(file, &svg);
            assert!(!svg.contains("<script>alert"), "{file}");
            let hostile = |frame: &&Drawn| frame.title.contains("<script>alert(1)</script>\\u{1b}");
            shown += frames(&svg).iter().filter(hostile).count();
        }
    }
    assert!(shown > 10, "{shown}");
}

#[test]
fn the_screen_names_agents_where_computing_matters() {
    let mut capture = capture("healthy");
    add_hoon(&mut capture, &[GALL, AMES, GALL]);
    let report = report(&capture);
    let agents = report.agents.as_ref().expect("agents");
    let basis = report.agents_basis.as_ref().expect("their basis");
    let on_cpu: u64 = agents.iter().map(|agent| agent.on_cpu_ns).sum();
    assert_eq!(on_cpu, basis.computing_ns);
    let events = agents.iter().filter_map(|agent| agent.events).sum::<u64>();
    assert_eq!(Some(events), basis.events);
    let screen = text::render(&report);
    println!("{screen}");
    assert!(
        screen.contains("WHO COMPUTES (all ~)") && screen.contains("\n/app/dojo "),
        "{screen}"
    );
    assert!(screen.lines().count() <= 45);
    assert!(
        screen
            .lines()
            .all(|line| line.chars().count() <= 80 || line.starts_with("    "))
    );
    // Nothing that matters on this disk.
    let mut disk = made::capture("disk");
    add_hoon(&mut disk, &[GALL, AMES]);
    assert!(!text::render(&profiler::report::report(&disk)).contains("WHO COMPUTES"));
}
