//! `profile ping` on the reference ship: both ways answer, and what does not answer is said.

use std::fs;
use std::os::unix::net::UnixListener;

use harness::gate;
use harness::process::wait_until_ended;
use harness::profile::{Outcome, Profile};
use harness::ship::{RunningShip, ShipOptions};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::{DONE, FAILED, ShipInMemory, assert_fails, assert_one_line, number, process};

/// A ship with no work of its own, whose answers are quick.
fn quiet_ship() -> ShipInMemory {
    ShipInMemory::start(&ShipOptions {
        events_per_second: Some(0.0),
        ..ShipOptions::default()
    })
}

fn ping(ship: &RunningShip, more: &[&str]) -> Outcome {
    let run = Profile::new(["ping".as_ref(), "--ship".as_ref(), ship.pier().as_os_str()]);
    let run = more.iter().fold(run, |run, argument| run.arg(argument));
    run.run().unwrap()
}

fn summary(outcome: &Outcome, way: &str) -> Value {
    let json = outcome.json().unwrap();
    assert_eq!(json["schema_version"], 1);
    let summaries = json["summaries"].as_array().unwrap();
    let one = summaries.iter().find(|one| one["way"] == way).unwrap();
    one.clone()
}

/// The last event that mars computed, as `profile now` reads it.
pub fn event_number(ship: &RunningShip) -> u64 {
    let run = Profile::new(["now".as_ref(), "--ship".as_ref(), ship.pier().as_os_str()]);
    let answer = run.json().run().unwrap().json().unwrap();
    number(&answer["event"], "done")
}

#[test]
fn king_and_nock_answer_and_no_event_is_written() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = quiet_ship();
    let before = event_number(&ship.ship);
    let outcome = ping(&ship.ship, &["--count", "2", "--format", "json"]);
    assert_eq!(outcome.code(), Some(DONE), "{outcome:?}");
    for way in ["king", "nock"] {
        let summary = summary(&outcome, way);
        assert_eq!(number(&summary, "asked_total"), 2, "{summary}");
        assert_eq!(number(&summary, "answered_total"), 2, "{summary}");
        assert_eq!(number(&summary, "lost_total"), 0, "{summary}");
        let times = &summary["times"];
        assert!(number(times, "min_ns") > 0, "{summary}");
        assert!(number(times, "min_ns") <= number(times, "p50_ns"));
        assert!(number(times, "p99_ns") <= number(times, "max_ns"));
    }
    assert_eq!(event_number(&ship.ship), before);

    let text = ping(&ship.ship, &["--count", "1"]);
    assert_eq!(text.code(), Some(DONE), "{text:?}");
    for words in ["king     1  ", "nock     1  ", "p99", "lost"] {
        assert!(text.stdout.contains(words), "{text:?}");
    }
}

#[test]
fn ctrl_c_ends_it_with_a_summary() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = quiet_ship();
    let pier = ship.ship.pier().as_os_str();
    let run = Profile::new(["ping".as_ref(), "--ship".as_ref(), pier]);
    let running = run.arg("--count").arg("0").start().unwrap();
    // It listens before it asks; the first answers come within a second.
    std::thread::sleep(std::time::Duration::from_secs(2));
    running.signal(Signal::INT).unwrap();
    let outcome = running.finish().unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{outcome:?}");
    assert!(outcome.stdout.contains("p99"), "{outcome:?}");
}

#[test]
fn who_does_not_answer_is_named() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = quiet_ship();
    let arguments = ["--count", "1", "--timeout", "0.5"];
    let mars = process(ship.ship.mars_pid()).unwrap();
    kill_process(mars, Signal::STOP).unwrap();
    let outcome = ping(&ship.ship, &arguments);
    kill_process(mars, Signal::CONT).unwrap();
    assert_eq!(outcome.code(), Some(FAILED), "{outcome:?}");
    assert_one_line(&outcome, &["nothing came back through Nock within 0.5 s"]);
    assert!(outcome.stdout.contains("no answer in time"), "{outcome:?}");

    let king = process(ship.ship.king_pid()).unwrap();
    kill_process(king, Signal::STOP).unwrap();
    let outcome = ping(&ship.ship, &arguments);
    kill_process(king, Signal::CONT).unwrap();
    assert_eq!(outcome.code(), Some(FAILED), "{outcome:?}");
    assert_one_line(&outcome, &["the king answered nothing within 0.5 s"]);
}

#[test]
fn a_ship_that_cannot_be_asked_says_why() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let mut ship = quiet_ship();
    let socket = ship.ship.pier().join(".urb/conn.sock");
    // Someone else's socket in the place of the king's.
    fs::rename(&socket, socket.with_extension("king")).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let words = ["which is not this ship's king"];
    assert_fails(&ping(&ship.ship, &[]), &words);
    drop(listener);
    assert_fails(&ping(&ship.ship, &[]), &["nobody listens on"]);
    // As with --no-conn.
    fs::remove_file(&socket).unwrap();
    assert_fails(
        &ping(&ship.ship, &[]),
        &["has no control socket", "--no-conn"],
    );
    fs::write(&socket, "").unwrap();
    assert_fails(&ping(&ship.ship, &[]), &["is no socket"]);

    // A directory that is no pier, a lock that was left over, a ship that has ended.
    let home = ship.ship.pier().parent().unwrap().to_path_buf();
    let run = Profile::new(["ping".as_ref(), "--ship".as_ref(), home.as_os_str()]);
    assert_fails(&run.run().unwrap(), &["no pier"]);
    for pid in ship.ship.pids() {
        kill_process(process(pid).unwrap(), Signal::KILL).unwrap();
    }
    // Killed, so its lock stays. The king is waited for; mars is not our child.
    let limit = std::time::Duration::from_secs(10);
    ship.ship.wait(limit).ok();
    wait_until_ended(ship.ship.mars_pid(), limit).unwrap();
    assert_fails(
        &ping(&ship.ship, &[]),
        &["no ship runs on the pier", ".vere.lock"],
    );
}
