//! Upkeep of the loom, snapshots and the replay of the log, against what the ship says of them itself.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use harness::gate;
use harness::process::{is_running, poll_until};
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use noun::{Noun, newt};
use rustix::process::Signal;
use serde_json::Value;

use crate::kernel::wait_for_capture;
use crate::snapshots::boot_unix_ns;
use crate::support::{DONE, INCOMPLETE, Report, number};

/// Length of the capture, s.
const SECONDS: u64 = 8;
/// What lies between a moment that the ship notes and the system call by which we see it, with the
/// reading of the message, and turns of others on a busy machine.
const ALLOWANCE_NS: u64 = 30_000_000;
/// The clocks of report and ship are compared by way of the real time, which is set.
const CLOCKS_NS: u64 = 50_000_000;
/// How long the king is kept from taking what mars sends.
const HELD_UP: Duration = Duration::from_millis(1500);
/// How long a ship may take to begin its replay, and mars to end.
const LIMIT: Duration = Duration::from_secs(60);

/// Asks the king something over `conn.sock`, and waits for the answer.
fn ask(ship: &RunningShip, tag: &str, data: Noun) {
    let mut socket = UnixStream::connect(ship.pier().join(".urb/conn.sock")).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let question = Noun::tuple([Noun::from(1_u64), Noun::cord(tag), data]);
    socket.write_all(&newt::encode(&question).unwrap()).unwrap();
    let mut header = [0; 5];
    socket.read_exact(&mut header).unwrap();
}

/// Beginning and end of what the ship says it did, inside of a window.
fn truths(ship: &RunningShip, event: &str, window: (u64, u64)) -> Vec<Value> {
    let inside = |line: &Value| {
        line["event"] == event
            && number(line, "start_ktime_ns") >= window.0
            && number(line, "end_ktime_ns") < window.1
    };
    let truths = ship.mars_truth().unwrap().into_iter();
    truths.filter(inside).collect()
}

fn window(report: &Report) -> (u64, u64) {
    let window = &report.0["window"];
    let start = number(window, "start_unix_ns") - boot_unix_ns();
    (start, start + number(window, "duration_ns"))
}

/// Each span of a kind is one of the ship's, and the other way round. Returns how many there were.
fn assert_spans(report: &Report, ship: &RunningShip, kind: &str, event: &str) -> usize {
    let window = window(report);
    let truths = truths(ship, event, window);
    let spans = report.0["mars_spans"]["longest"].as_array().unwrap();
    let spans: Vec<&Value> = spans.iter().filter(|span| span["kind"] == kind).collect();
    assert!(spans.len() >= truths.len(), "{kind}: {truths:#?}: {report}");
    for truth in &truths {
        let start = number(truth, "start_ktime_ns");
        let (since, took) = (start - window.0, number(truth, "end_ktime_ns") - start);
        // The event behind which it was.
        let number_of = |value: &Value, field: &str| value[field].as_u64();
        let event = number_of(truth, "number").filter(|_| event == "reclaim");
        let is_it = |span: &&Value| {
            let (ours, ns) = (number(span, "start_ns"), number(span, "duration_ns"));
            ours.abs_diff(since) <= CLOCKS_NS
                && ns.abs_diff(took) <= ALLOWANCE_NS
                && event.is_none_or(|event| number_of(span, "events") == Some(event))
        };
        assert!(
            spans.iter().any(is_it),
            "{kind} from {since} for {took} is none of {spans:#?}"
        );
    }
    truths.len()
}

#[test]
fn upkeep_during_traffic_is_told_and_charged_to_who_waits() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // On a disk: snapshots in memory are not seen.
    let home = Scratch::new("pier").unwrap();
    let options = ShipOptions {
        events_per_second: Some(300.0),
        compute_us: Some(300),
        dirty_pages: Some(1),
        heap_pages: Some(4096),
        snap_seconds: Some(3),
        ..ShipOptions::default()
    };
    let mut ship = options.start_in(home.path()).unwrap();
    let running = Profile::deep_dive(ship.pier(), SECONDS).json();
    let running = running.start().unwrap();
    wait_for_capture(&running);
    ask(&ship, "urth", Noun::cord("pack"));
    // Its answer comes after the pack.
    ask(&ship, "peel", Noun::path(["mass"]));
    let outcome = running.finish().unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    let report = Report::of(&outcome);
    ship.stop().unwrap();
    assert_eq!(assert_spans(&report, &ship, "pack", "pack"), 1);
    assert_eq!(assert_spans(&report, &ship, "mass", "mass"), 1);
    assert!(assert_spans(&report, &ship, "snapshot", "snapshot") >= 1);
    assert!(assert_spans(&report, &ship, "reclaim", "reclaim") >= 1);
    // Events waited behind it, and none of it is left to computing.
    let behind = report.0["event_times"]["behind"].as_array().unwrap();
    let behind = behind.iter().find(|line| line["leaf"] == "collection");
    assert!(number(behind.unwrap(), "total_ns") > 0, "{report}");
    assert!(report.leaf_ratio("collection") > 0.0, "{report}");
    assert!(report.leaf_ratio("snapshot") > 0.0, "{report}");
    let times = &report.0["event_times"];
    let followed = number(&times["all"], "count");
    assert!(
        number(times, "unmatched") <= followed / 20 + 2,
        "{followed} followed: {report}"
    );
    // The questions do not count as computed by anybody.
    assert_eq!(times["questions"], Value::Null, "{report}");
}

#[test]
fn replay_at_the_start_is_told() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let home = Scratch::in_memory("pier").unwrap();
    let options = ShipOptions {
        events_per_second: Some(100.0),
        compute_us: Some(8_000),
        snap_seconds: Some(1000),
        ..ShipOptions::default()
    };
    let ship = options.start_in(home.path()).unwrap();
    let (pier, pids) = (ship.pier().to_owned(), ship.pids());
    std::thread::sleep(Duration::from_secs(8));
    ship.king().signal(Signal::KILL).unwrap();
    poll_until("the ship to end", LIMIT, || {
        let ended = !pids.into_iter().any(is_running);
        Ok(if ended {
            Ok(())
        } else {
            Err("it runs".to_owned())
        })
    })
    .unwrap();
    drop(ship);
    let again = std::thread::spawn(move || {
        options
            .start_in(home.path())
            .map(|ship| (ship, home))
            .unwrap()
    });
    poll_until("the replay", LIMIT, || {
        let now = Profile::new(["now".as_ref(), "--ship".as_ref(), pier.as_os_str()]);
        let outcome = now.json().run()?;
        let told = outcome.stdout.contains("replays its log");
        Ok(if told { Ok(()) } else { Err(outcome.stdout) })
    })
    .unwrap();
    let outcome = Profile::deep_dive(&pier, 2).json().run().unwrap();
    assert!(
        [Some(DONE), Some(INCOMPLETE)].contains(&outcome.code()),
        "{}",
        outcome.stderr
    );
    let report = Report::of(&outcome);
    let (ship, _home) = again.join().unwrap();
    drop(ship);
    let span = &report.0["mars_spans"]["longest"][0];
    assert_eq!(span["kind"], "replay", "{report}");
    assert!(number(span, "events") > 10, "{report}");
    assert!(number(span, "duration_ns") > 0, "{report}");
    assert_eq!(report.verdict().0, "not_up", "{report}");
    assert!(report.sentence().contains("replay"), "{report}");
    assert_eq!(report.0["ship"]["state"], "replaying", "{report}");
}

#[test]
fn a_king_that_takes_nothing_from_mars_is_told() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let home = Scratch::in_memory("pier").unwrap();
    // Ten events are under way at most: together they print more than the socket holds.
    let options = ShipOptions {
        events_per_second: Some(50.0),
        print_bytes: Some(64 << 10),
        snap_seconds: Some(1000),
        ..ShipOptions::default()
    };
    let mut ship = options.start_in(home.path()).unwrap();
    let running = Profile::deep_dive(ship.pier(), SECONDS).json();
    let running = running.start().unwrap();
    wait_for_capture(&running);
    ship.king().signal(Signal::STOP).unwrap();
    std::thread::sleep(HELD_UP);
    ship.king().signal(Signal::CONT).unwrap();
    let outcome = running.finish().unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    let report = Report::of(&outcome);
    ship.stop().unwrap();
    let (start, end) = window(&report);
    let printed = ship.mars_truth().unwrap().into_iter().filter_map(|line| {
        let printed = line["printed_ktime_ns"].as_array()?;
        let (from, to) = (printed[0].as_u64()?, printed[1].as_u64()?);
        (from >= start && to < end).then(|| (to - from, from - start))
    });
    let (took, since) = printed.max().unwrap();
    let spans = report.0["mars_spans"]["longest"].as_array().unwrap();
    let is_it = |span: &&Value| {
        span["kind"] == "king_busy"
            && number(span, "start_ns").abs_diff(since) <= CLOCKS_NS
            && number(span, "duration_ns").abs_diff(took) <= ALLOWANCE_NS
    };
    assert!(
        spans.iter().any(|span| is_it(&span)),
        "{took} from {since} is none of {spans:#?}"
    );
    // And the events that waited are charged for it.
    assert!(report.leaf_ratio("king_held_up") > 0.0, "{report}");
}
