//! Ranking, conflicts, overlaps, and how sure a gain is.

use std::io::Cursor;

use super::*;
use crate::aggregate::aggregate;
use crate::attribute::{Leaf, Part, attribute};
use crate::capture::file;
use crate::model::{Capture, NS_PER_S};

fn capture(bytes: &[u8]) -> Capture {
    file::read(&mut Cursor::new(bytes)).unwrap()
}

const DISK: &[u8] = include_bytes!("../../tests/fixtures/disk.capture");
const CPU: &[u8] = include_bytes!("../../tests/fixtures/cpu.capture");
const QUOTA: &[u8] = include_bytes!("../../tests/fixtures/quota.capture");

fn fix(id: &'static str, gain: Option<(f64, f64)>, risk: Risk, restart: Restart) -> Fix {
    Fix {
        id,
        title: "",
        assessment: Assessment {
            answer: Answer::WouldHelp(Gain::StalledTime {
                low_ns: 0,
                high_ns: 1,
            }),
            ..Assessment::default()
        },
        recommended: true,
        gain_ratio: gain,
        p95: None,
        confidence: None,
        overlaps: Vec::new(),
        yields_to: None,
        trial: None,
        cause: Cause::Disk,
        restart,
        risk,
        source: "",
    }
}

#[test]
fn the_middle_of_the_gain_ranks_then_risk_then_restart_then_the_name() {
    let mut fixes = [
        fix("z", Some((0.2, 0.4)), Risk::None, Restart::None),
        fix("y", Some((0.0, 0.9)), Risk::Medium, Restart::Host),
        fix("x", Some((0.3, 0.3)), Risk::Low, Restart::None),
        fix("w", Some((0.3, 0.3)), Risk::None, Restart::Ship),
        fix("b", Some((0.1, 0.1)), Risk::None, Restart::None),
        fix("a", Some((0.1, 0.1)), Risk::None, Restart::None),
        fix("v", None, Risk::None, Restart::None),
    ];
    fixes[6].assessment.answer = Answer::NoEvidence;
    fixes.sort_by(|a, b| order(a, b, VerdictKind::Stalled, &[]));
    let ids: Vec<&str> = fixes.iter().map(|fix| fix.id).collect();
    assert_eq!(ids, ["y", "z", "w", "x", "a", "b", "v"]);
}

#[test]
fn a_gain_is_as_sure_as_its_bounds_are_near() {
    for (low, high, weak, sure) in [
        (100, 100, false, Confidence::High),
        (80, 100, false, Confidence::High),
        (79, 100, false, Confidence::Medium),
        (40, 100, false, Confidence::Medium),
        (39, 100, false, Confidence::Low),
        (0, 100, false, Confidence::Low),
        (100, 100, true, Confidence::Medium),
        (50, 100, true, Confidence::Low),
        (0, 0, false, Confidence::Low),
    ] {
        assert_eq!(Confidence::of(low, high, weak), sure, "{low} {high} {weak}");
    }
}

/// What is advised, with `leaves` in seconds put into the attribution.
fn advised(capture: &Capture, leaves: &[(Leaf, u64)]) -> Advised {
    let summaries = aggregate(capture);
    let mut attribution = attribute(capture, &summaries);
    for (leaf, seconds) in leaves {
        let part = Part {
            total_ns: seconds * NS_PER_S,
            ..Part::default()
        };
        attribution.wall_ns += part.total_ns;
        attribution.parts.insert(*leaf, part);
    }
    let situation = Situation {
        capture,
        summaries: &summaries,
        attribution: &attribution,
    };
    recommend(&situation, VerdictKind::Stalled, &[])
}

fn recommended(advised: &Advised) -> Vec<&Fix> {
    advised.fixes.iter().filter(|fix| fix.recommended).collect()
}

#[test]
fn the_p95_after_a_fix_is_that_of_the_events_without_what_it_removes() {
    // All throttled time goes, and with it the line: what is left of each event is its computing.
    let advised = advised(&capture(QUOTA), &[]);
    let first = recommended(&advised)[0];
    let p95 = first.p95.unwrap();
    assert_eq!(first.id, "cpu-quota");
    assert_eq!(p95.low_ns, p95.high_ns);
    let left = p95.low_ns as f64 / p95.before_ns as f64;
    assert!((0.02..0.08).contains(&left), "{p95:?}");
    assert_eq!(first.confidence, Some(Confidence::Medium));
    // Nothing at the least: the upper end is what it is now.
    let disk = self::advised(&capture(DISK), &[]);
    let p95 = recommended(&disk)[0].p95.unwrap();
    assert_eq!(p95.high_ns, p95.before_ns);
    assert!(p95.low_ns < p95.before_ns / 10, "{p95:?}");
}

#[test]
fn gains_of_the_same_time_are_not_added() {
    let advised = advised(&capture(CPU), &[]);
    let found = recommended(&advised);
    let [nice, affinity] = [found[0], found[1]];
    assert_eq!((nice.id, affinity.id), ("nice", "affinity"));
    assert_eq!(affinity.overlaps, ["nice"]);
    let together = advised.together.unwrap();
    // Never more than the run queue holds, which the larger of both removes by itself.
    let best = found
        .iter()
        .filter_map(|fix| fix.p95)
        .map(|p95| p95.low_ns)
        .min();
    assert!(together.low_ns <= best.unwrap());
    let both: f64 = found
        .iter()
        .filter_map(|fix| fix.gain_ratio)
        .map(|(_, high)| high)
        .sum();
    assert!(both > 1.0, "their sum is no share: {both}");
}

#[test]
fn one_of_two_that_contradict_each_other_is_advised() {
    let mut capture = capture(DISK);
    let crate::host::Reading::Known(memory) = &mut capture.meta.host.kernel.memory else {
        panic!("the fixture knows its memory");
    };
    memory.swap_total_bytes = 1 << 30;
    memory.swap_free_bytes = 1 << 30;
    let advised = advised(&capture, &[(Leaf::SwapIn, 50)]);
    let of = |id| advised.fixes.iter().find(|fix| fix.id == id).unwrap();
    let (off, less) = (of("swap-off"), of("swappiness"));
    assert!(off.recommended != less.recommended, "{off:?} {less:?}");
    let loser = if off.recommended { less } else { off };
    assert!(loser.yields_to.is_some());
}

#[test]
fn conflicts_are_of_fixes_that_there_are_and_no_report_advises_both() {
    for entry in ENTRIES {
        for other in entry.conflicts {
            assert!(
                ENTRIES.iter().any(|one| one.id == *other),
                "{}: {other}",
                entry.id
            );
            assert_ne!(entry.id, *other);
        }
    }
    for bytes in [DISK, CPU, QUOTA] {
        let heavy = [
            (Leaf::SwapIn, 20),
            (Leaf::PageInAfterEviction, 10),
            (Leaf::Compaction, 5),
            (Leaf::Stolen, 5),
        ];
        let advised = advised(&capture(bytes), &heavy);
        let found = recommended(&advised);
        for (at, fix) in found.iter().enumerate() {
            let entry = |id| ENTRIES.iter().find(|entry| entry.id == id).unwrap();
            for other in &found[at + 1..] {
                assert!(
                    !contradict(entry(fix.id), entry(other.id)),
                    "{} {}",
                    fix.id,
                    other.id
                );
            }
        }
    }
}
