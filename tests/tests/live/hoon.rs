//! Hoon stacks, against what the ship says that its computing is under.

use std::collections::BTreeMap;
use std::fs;

use harness::gate;
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use profiler::hoon::Folding;

use crate::support::{DONE, Report, ShipInMemory, number};

/// Length of the capture, s.
const SECONDS: u64 = 16;
/// Computing of an event, µs. Events follow each other as regularly as samples do, so the same parts of
/// each may be hit: that is wrong by at most one sample an event, of 59. The capture's ends cut events:
/// at most a quarter of one of its 26.
const COMPUTE_US: u64 = 600_000;
/// By how much a share may be wrong, of one.
const TOLERANCE: f64 = 0.03;
/// Frames that are followed (`profiler_common::hoon::MAX_FRAMES`).
const MAX_FRAMES: u64 = 512;
/// Fewer samples say nothing about shares.
const MIN_SAMPLES: u64 = 100;

/// Length of the capture of lists that change all the time, s, and how many samples it must have.
const CHURN_SECONDS: u64 = 12;
const CHURN_SAMPLES: u64 = 10_000;

/// A deep dive of so many seconds, at so many samples a second; its files are in `run` there.
fn dive(ship: &ShipInMemory, seconds: u64, hz: &str) -> (Scratch, Report) {
    let home = Scratch::in_memory("out").unwrap();
    let outcome = Profile::deep_dive(ship.ship.pier(), seconds)
        .arg("--frequency")
        .arg(hz)
        .json()
        .output(&home.path().join("run"))
        .run()
        .unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    let report = Report::of(&outcome);
    (home, report)
}

/// What the ship says that its computing is under, outermost first, and for how many per cent of it. It
/// is stopped.
fn pieces(ship: &mut ShipInMemory) -> Vec<(Vec<String>, f64)> {
    ship.ship.stop().unwrap();
    let truth = ship.ship.mars_truth().unwrap();
    let truth = truth.iter().find(|line| line["event"] == "hoon").unwrap();
    let pieces = truth["pieces"].as_array().unwrap().iter();
    let piece = pieces.map(|piece| {
        let names = piece["outermost_first"].as_array().unwrap().iter();
        let names = names.map(|name| name.as_str().unwrap().to_owned());
        (names.collect(), piece["percent"].as_f64().unwrap())
    });
    piece.collect()
}

#[test]
fn hoon_shares_are_those_of_the_ship() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let mut ship = ShipInMemory::start(&ShipOptions {
        // It rests between events: which message is which would not show in one that never does.
        events_per_second: Some(1.3),
        compute_us: Some(COMPUTE_US),
        ..ShipOptions::default()
    });
    let (home, report) = dive(&ship, SECONDS, "99");
    let hoon = &report.0["hoon"];
    let computing = number(hoon, "computing");
    assert!(computing >= MIN_SAMPLES, "{hoon}");
    assert_eq!(hoon["incomplete"], serde_json::json!({}), "{hoon}");
    assert_eq!(hoon["unresolved"], serde_json::json!({}), "{hoon}");

    let picture = fs::read_to_string(home.path().join("run/hoon.svg")).unwrap();
    let mut told = 0;
    for (names, percent) in pieces(&mut ship) {
        for name in &names {
            assert!(
                picture.contains(name.as_str()),
                "{name} is not in the picture"
            );
        }
        let owner = names.iter().rev().find_map(|name| owner(name)).unwrap();
        let samples = hoon["owners"]
            .as_array()
            .unwrap()
            .iter()
            .find_map(|entry| (entry[0] == *owner).then(|| entry[1].as_u64().unwrap()));
        let share = samples.unwrap_or(0) as f64 / computing as f64;
        let expected = percent / 100.0;
        println!("{owner}: {share:.3} of {computing} samples, {expected:.3} by the ship");
        assert!((share - expected).abs() <= TOLERANCE, "{owner}: {hoon}");
        told += samples.unwrap_or(0);
    }
    agents(&report.0, computing);
    // Between two pieces no hint is on the list; hardly a sample falls there.
    assert!(computing - told <= computing / 50, "{hoon}");
}

/// The table of agents: sums are exact, and of each event most is one agent's.
fn agents(report: &serde_json::Value, computing: u64) {
    let agents = report["agents"].as_array().unwrap();
    let basis = &report["agents_basis"];
    let all = |what: &str| -> u64 { agents.iter().map(|one| number(one, what)).sum() };
    assert_eq!(all("samples"), computing, "{agents:#?}");
    assert_eq!(
        all("on_cpu_ns"),
        number(basis, "computing_ns"),
        "{agents:#?}"
    );
    assert_eq!(all("events"), number(basis, "events"), "{agents:#?}");
    let computed = number(basis, "computing_ns") as f64 / 1e9;
    let sampled = computing as f64 / 99.0;
    println!("computing {computed:.2} s, by samples {sampled:.2} s: {agents:#?}");
    // The one that had begun before the capture is not among the computations.
    let cut = COMPUTE_US as f64 / 1e6;
    assert!(
        (computed - sampled).abs() < 0.05 * sampled + cut,
        "{computed} {sampled}"
    );
    let first = agents
        .iter()
        .find(|one| one["agent"] == "/app/groups")
        .unwrap();
    let ratio = |what: &str| first[what].as_f64().unwrap();
    assert!((ratio("on_cpu_ratio") - 0.5).abs() <= TOLERANCE, "{first}");
    assert!(ratio("events_ratio") > 0.9, "{first}");
}

/// Memory that is damaged: the walk in the kernel ends and says how, every time.
#[test]
fn damaged_lists_of_hints_end_in_counted_errors() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    for (shape, reason) in [
        ("loop", "too_many_frames"),
        ("many", "too_many_frames"),
        ("unmapped", "not_in_memory"),
        ("number", "malformed"),
        ("roads", "too_many_roads"),
        ("layout", "unknown_layout"),
    ] {
        let ship = ShipInMemory::start(&ShipOptions {
            events_per_second: Some(2.0),
            compute_us: Some(COMPUTE_US),
            hints: Some(shape),
            ..ShipOptions::default()
        });
        let outcome = Profile::deep_dive(ship.ship.pier(), 2).json().run();
        let outcome = outcome.unwrap();
        assert_eq!(outcome.code(), Some(DONE), "{shape}: {}", outcome.stderr);
        let report = Report::of(&outcome);
        let hoon = &report.0["hoon"];
        let (samples, ended) = (number(hoon, "samples"), number(&hoon["incomplete"], reason));
        println!("{shape}: {ended} of {samples} samples {reason}");
        // The rest is what runs beside computations.
        assert!(ended >= samples / 2 && ended > 0, "{shape}: {hoon}");
        let others = hoon["incomplete"].as_object().unwrap().len();
        assert_eq!(others, 1, "{shape}: {hoon}");
        let frames = number(hoon, "frames");
        assert!(
            frames <= ended * MAX_FRAMES + samples * 3,
            "{shape}: {hoon}"
        );
        assert_eq!(hoon["unresolved"], serde_json::json!({}), "{shape}: {hoon}");
    }
}

/// Lists that change as fast as they can: what is read at a sample is a list as it was at some moment,
/// with the names of what it was under, or with none.
#[test]
fn no_stack_is_torn_while_the_ship_writes_at_full_speed() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let mut ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(2.0),
        compute_us: Some(COMPUTE_US),
        hints: Some("churn"),
        ..ShipOptions::default()
    });
    let (home, report) = dive(&ship, CHURN_SECONDS, "999");
    let pieces = pieces(&mut ship);

    let mut file = fs::File::open(home.path().join("run/capture")).unwrap();
    let capture = profiler::capture::file::read(&mut file).unwrap();
    let mut counts: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for (_, mut names) in profiler::aggregate::hoon::stacks(&capture, Folding::Line) {
        // Nothing was computed, or between two pieces.
        names.retain(|name| !["[no computation]", "[no hints]"].contains(&name.as_str()));
        *counts.entry(names).or_default() += 1;
    }
    // A stack may end anywhere: between two hints that are pushed. A mean's name goes on with its hash.
    let is_of = |names: &[String], piece: &[String]| {
        names.len() <= piece.len()
            && names
                .iter()
                .zip(piece)
                .all(|(name, of)| name.starts_with(of.as_str()) || name == "[unresolved]")
    };
    let torn: Vec<_> = counts
        .iter()
        .filter(|(names, _)| !pieces.iter().any(|(piece, _)| is_of(names, piece)))
        .collect();
    println!("{counts:#?} {}", report.0["hoon"]);
    assert!(torn.is_empty(), "{torn:#?} of {counts:#?}");
    assert!(counts.values().sum::<u64>() >= CHURN_SAMPLES);
}

/// Agent or vane of a place of the ship's.
fn owner(name: &str) -> Option<String> {
    let knots: Vec<&str> = name.split('/').collect();
    match knots[..] {
        ["", "app", agent, ..] => Some(format!("/app/{agent}")),
        ["", "sys", "vane", vane, ..] => Some(vane.to_owned()),
        _ => None,
    }
}
