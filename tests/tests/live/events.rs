//! The ship's events against what it says of them itself.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::gate;
use harness::ground_truth::{Outcome, measure};
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use serde_json::Value;

use crate::snapshots::boot_unix_ns;
use crate::support::{DONE, Report, ShipInMemory, number};

/// Length of a capture, s.
const SECONDS: u64 = 5;
/// A bucket of the histograms is this wide, as a share of its bound.
const BUCKET_RATIO: f64 = 0.0625;
/// What lies between a moment that the ship notes and the system call by which we see it, with a switch
/// of threads on a busy machine in between.
const ALLOWANCE_NS: u64 = 400_000;
/// Share of the worst events that may differ by more than that: a thread may be preempted between the
/// note and the call.
const OUTLIERS: usize = 2;

/// What the ship says of an event.
#[derive(Debug, Default, Clone, Copy)]
struct Truth {
    arrived: u64,
    sent: u64,
    computing: (u64, u64),
    released: u64,
}

fn truths(ship: &RunningShip) -> BTreeMap<u64, Truth> {
    let mut truths: BTreeMap<u64, Truth> = BTreeMap::new();
    for line in ship.king_truth().unwrap() {
        if line["event"] == "applied" {
            let truth = truths.entry(number(&line, "number")).or_default();
            truth.arrived = number(&line, "arrival_ktime_ns");
            truth.sent = number(&line, "sent_ktime_ns");
            // A king that commits also releases.
            truth.released = line["released_ktime_ns"].as_u64().unwrap_or(truth.released);
        }
    }
    for line in ship.mars_truth().unwrap() {
        if line["event"] == "computed" {
            let truth = truths.entry(number(&line, "number")).or_default();
            truth.computing = (
                number(&line, "compute_start_ktime_ns"),
                number(&line, "compute_end_ktime_ns"),
            );
        } else if line["event"] == "released" {
            truths.entry(number(&line, "number")).or_default().released =
                number(&line, "released_ktime_ns");
        }
    }
    truths.retain(|_, truth| truth.arrived > 0 && truth.computing.0 > 0 && truth.released > 0);
    truths
}

/// Runs a ship and a deep dive of it; the report, and the truth of the events inside of its window.
fn observe(options: &ShipOptions) -> (Report, BTreeMap<u64, Truth>) {
    observe_later(options, Duration::ZERO)
}

/// The same, once the ship has run for a while.
fn observe_later(options: &ShipOptions, settle: Duration) -> (Report, BTreeMap<u64, Truth>) {
    let mut ship = ShipInMemory::start(options);
    std::thread::sleep(settle);
    let outcome = Profile::deep_dive(ship.ship.pier(), SECONDS)
        .json()
        .run()
        .unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    let report = Report::of(&outcome);
    ship.ship.stop().unwrap();
    let window = &report.0["window"];
    let start = number(window, "start_unix_ns") - boot_unix_ns();
    let end = start + number(window, "duration_ns");
    let mut truths = truths(&ship.ship);
    truths.retain(|_, truth| truth.arrived >= start && truth.released < end);
    (report, truths)
}

fn quantile(sorted: &[u64], ratio: f64) -> u64 {
    sorted[((sorted.len() - 1) as f64 * ratio).round() as usize]
}

/// Nearly all events were followed; one may lie across each end of the window.
fn assert_followed(report: &Report, truths: &BTreeMap<u64, Truth>) {
    let followed = number(&report.0["event_times"]["all"], "count");
    let (unmatched, seen) = (count(report, "unmatched"), truths.len() as u64);
    assert!(
        unmatched <= seen / 50 + 2,
        "{unmatched} of {seen}: {report}"
    );
    assert!(
        followed + unmatched + 2 >= seen,
        "{followed} of {seen}: {report}"
    );
}

/// Durations agree as far as histograms can tell.
fn assert_durations(report: &Report, truths: &BTreeMap<u64, Truth>) {
    let mut durations: Vec<u64> = truths.values().map(|t| t.released - t.arrived).collect();
    durations.sort_unstable();
    let all = &report.0["event_times"]["all"];
    for (field, ratio) in [("p50_ns", 0.5), ("p95_ns", 0.95)] {
        let (ours, truth) = (number(all, field), quantile(&durations, ratio));
        let allowance = (truth as f64 * 2.0 * BUCKET_RATIO) as u64 + ALLOWANCE_NS;
        assert!(
            ours.abs_diff(truth) <= allowance,
            "{field}: {ours}, and {truth} by the ship: {report}"
        );
    }
}

/// The slowest events are the slowest by the ship too, and every phase is as long.
fn assert_worst(report: &Report, truths: &BTreeMap<u64, Truth>) {
    let worst = report.0["event_times"]["worst"].as_array().unwrap();
    assert!(!worst.is_empty(), "{report}");
    let mut far = Vec::new();
    for event in worst {
        let truth = &truths[&number(event, "number")];
        let phase = |name: &str| {
            let phases = event["phases"].as_array().unwrap();
            let found = phases.iter().find(|phase| phase[0] == name);
            found.map_or(0, |phase| phase[1].as_u64().unwrap())
        };
        let after: u64 = ["commit_queue", "commit", "release"]
            .map(phase)
            .iter()
            .sum();
        for (name, ours, truth) in [
            ("king", phase("king"), truth.sent - truth.arrived),
            ("queue", phase("queue"), truth.computing.0 - truth.sent),
            (
                "compute",
                phase("compute"),
                truth.computing.1 - truth.computing.0,
            ),
            ("after", after, truth.released - truth.computing.1),
        ] {
            if ours.abs_diff(truth) > ALLOWANCE_NS + truth / 50 {
                far.push(format!("{name}: {ours}, and {truth} by the ship: {event}"));
            }
        }
    }
    assert!(far.len() <= OUTLIERS, "{far:#?}");
}

fn count(report: &Report, field: &str) -> u64 {
    number(&report.0["event_times"], field)
}

#[test]
fn events_of_a_ship_are_followed_from_arrival_to_release() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let (report, truths) = observe(&ShipOptions {
        events_per_second: Some(100.0),
        snap_seconds: Some(2),
        bail_share: Some(0.1),
        ..ShipOptions::default()
    });
    assert_followed(&report, &truths);
    let kinds = report.0["event_times"]["kinds"].as_array().unwrap();
    let kinds: Vec<&Value> = kinds.iter().map(|kind| &kind["kind"]).collect();
    assert_eq!(kinds, ["timer"], "{report}");
    assert_durations(&report, &truths);
    assert_worst(&report, &truths);
}

#[test]
fn events_of_a_ship_that_never_rests_are_told_by_the_kings_limit() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let (report, truths) = observe(&ShipOptions {
        events_per_second: Some(2_000.0),
        compute_us: Some(2_000),
        ..ShipOptions::default()
    });
    let (unmatched, seen) = (count(&report, "unmatched"), truths.len() as u64);
    assert!(
        unmatched <= seen / 20 + 2,
        "{unmatched} of {seen}: {report}"
    );
    assert_queue(&report, &truths);
}

/// More is to do than mars can, but not for so long that the king is at its limit: only the king knows how
/// many of its messages are under way.
#[test]
fn events_of_a_ship_that_never_rests_are_told_by_what_its_king_says() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let options = ShipOptions {
        events_per_second: Some(10.7),
        compute_us: Some(100_000),
        dirty_pages: Some(0),
        ..ShipOptions::default()
    };
    let (report, truths) = observe_later(&options, Duration::from_secs(3));
    assert_followed(&report, &truths);
    assert_queue(&report, &truths);
}

/// The wait for mars is as long as the ship says. Not of the very same events: waits in a queue that is
/// never empty are alike for as long as it is.
fn assert_queue(report: &Report, truths: &BTreeMap<u64, Truth>) {
    let queue = report.0["event_times"]["phases"].as_array().unwrap();
    let queue = queue
        .iter()
        .find(|phase| phase["phase"] == "queue")
        .unwrap();
    let mut waits: Vec<u64> = truths.values().map(|t| t.computing.0 - t.sent).collect();
    waits.sort_unstable();
    let (ours, truth) = (number(&queue["times"], "p50_ns"), quantile(&waits, 0.5));
    let allowance = (truth as f64 * 4.0 * BUCKET_RATIO) as u64 + ALLOWANCE_NS;
    assert!(
        ours.abs_diff(truth) <= allowance,
        "{ours}, and {truth} by the ship: {report}"
    );
}

/// Counts only: what times should be is measured by `cargo xtask bench events`.
fn assert_found(options: &ShipOptions, seconds: u64) -> Outcome {
    let home = Scratch::in_memory("pier").unwrap();
    let outcome = measure(options, home.path(), seconds).unwrap();
    assert_eq!((outcome.lost, outcome.invented), (0, 0), "{outcome:#?}");
    // One may lie across each end of the window.
    assert!(
        outcome.found + 2 + outcome.events / 1000 >= outcome.events,
        "{outcome:#?}"
    );
    outcome
}

#[test]
fn every_event_is_found_at_any_rate() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    for generation in ["mars", "serf"] {
        for rate in [1.0, 100.0, 1000.0] {
            let outcome = assert_found(
                &ShipOptions {
                    generation: Some(generation),
                    events_per_second: Some(rate),
                    compute_us: Some(300),
                    dirty_pages: Some(1),
                    ..ShipOptions::default()
                },
                SECONDS,
            );
            assert!(outcome.events > 0, "{outcome:#?}");
        }
    }
}

#[test]
fn events_of_a_ship_whose_king_commits_are_followed_to_their_release() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let (report, truths) = observe(&ShipOptions {
        generation: Some("serf"),
        events_per_second: Some(100.0),
        snap_seconds: Some(2),
        bail_share: Some(0.1),
        ..ShipOptions::default()
    });
    assert_followed(&report, &truths);
    // Numbers are what the serf says, its loom is of no layout that we know.
    let events = &report.0["events"];
    let (first, last) = (truths.keys().next(), truths.keys().next_back());
    assert!(number(events, "before") < *first.unwrap(), "{report}");
    assert!(number(events, "last") >= *last.unwrap(), "{report}");
    assert_durations(&report, &truths);
    assert_worst(&report, &truths);
    // A snapshot is no packing, although the serf answers both alike.
    let spans = report.0["mars_spans"]["longest"].as_array().unwrap();
    let is_upkeep =
        |span: &&Value| ["pack", "meld", "upkeep"].contains(&span["kind"].as_str().unwrap());
    assert_eq!(spans.iter().find(is_upkeep), None, "{report}");
}
