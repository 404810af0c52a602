//! `profile now` on the reference ship: in each state that a ship can hang in, what holds it up.

use std::time::Duration;

use harness::faults::{CpuHogs, CpuQuota, IopsLimits, LoopDisk, SlowDisk};
use harness::gate;
use harness::peer::PeerOptions;
use harness::process::poll_until;
use harness::profile::{Outcome, Profile};
use harness::ship::{RunningShip, ShipOptions};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::{DONE, INCOMPLETE, ShipInMemory, Unprivileged, number, process};

/// How long a state may take to show itself: some answers, which take a second each.
const LIMIT: Duration = Duration::from_secs(40);

fn run(ship: &RunningShip) -> Outcome {
    let pier = ship.pier().as_os_str();
    let run = Profile::new(["now".as_ref(), "--ship".as_ref(), pier]);
    run.json().run().unwrap()
}

fn now(ship: &RunningShip) -> Value {
    let outcome = run(ship);
    assert_eq!(outcome.code(), Some(DONE), "{outcome:?}");
    let answer = outcome.json().unwrap();
    assert_eq!(answer["schema_version"], 1);
    answer
}

/// Asks until the verdict is the one: a single look may fall between two events.
fn until(ship: &RunningShip, kind: &str) -> Value {
    until_so(ship, kind, |_| true)
}

/// The same, until the answer is `so`, too.
fn until_so(ship: &RunningShip, kind: &str, so: impl Fn(&Value) -> bool) -> Value {
    poll_until(&format!("the verdict {kind}"), LIMIT, || {
        let answer = now(ship);
        Ok(if answer["verdict"]["kind"] == kind && so(&answer) {
            Ok(answer)
        } else {
            Err(answer.to_string())
        })
    })
    .unwrap()
}

fn sentence(answer: &Value) -> &str {
    answer["verdict"]["sentence"].as_str().unwrap()
}

fn thread<'a>(answer: &'a Value, role: &str) -> &'a Value {
    let threads = answer["threads"].as_array().unwrap();
    threads.iter().find(|one| one["role"] == role).unwrap()
}

#[test]
fn idle_ship_is_held_up_by_nothing() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(0.0),
        ..ShipOptions::default()
    });
    let answer = until(&ship.ship, "idle");
    assert_eq!(answer["event"]["is_running"], false, "{answer:#}");
    assert_eq!(thread(&answer, "mars")["doing"]["waits"], "work");
    assert!(number(&answer["king"]["answered"], "time_ns") > 0);
    assert_eq!(answer["king"]["answered"]["queue"], 0, "{answer:#}");
    assert_eq!(answer["ames"]["known"]["receive_queue_bytes"], 0);
}

#[test]
fn long_event_is_told_while_it_runs() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(0.2),
        compute_us: Some(3_000_000),
        ..ShipOptions::default()
    });
    let answer = until(&ship.ship, "long_event");
    assert_eq!(answer["event"]["is_running"], true, "{answer:#}");
    assert_eq!(number(&answer["event"], "ended_total"), 0, "{answer:#}");
    let next = number(&answer["event"], "done") + 1;
    assert!(
        sentence(&answer).contains(&format!("event {next}")),
        "{answer:#}"
    );
    // Whose code it is, by what the ship says of itself (`tests/ship/src/hoon.rs`).
    let code = &answer["code"];
    let places = [
        "/lib/strand/hoon:31",
        "/sys/vane/ames/hoon:402",
        "%mean/find",
    ];
    let place = code["place"]["name"].as_str().unwrap();
    assert!(
        places.iter().any(|one| place.starts_with(one)),
        "{answer:#}"
    );
    let labels = ["call/gall > on-poke/groups", "call/ames", "take/clay"];
    let label = code["labels"]["name"].as_str().unwrap();
    assert!(labels.contains(&label), "{answer:#}");
    assert!(
        number(code, "discarded_total") * 2 < number(code, "looks_total"),
        "{answer:#}"
    );
    assert!(sentence(&answer).contains(" last seen at "), "{answer:#}");
    // The king says the same: the event that runs is the one that it waits for.
    let king = &answer["king"]["answered"];
    assert_eq!(number(king, "event_number") + 1, next, "{answer:#}");
    assert!(number(king, "queue") >= 1, "{answer:#}");
    let cpu = thread(&answer, "mars")["on_cpu_ratio"].as_f64().unwrap();
    assert!(cpu > 0.3, "{answer:#}");
}

#[test]
fn commit_on_a_slow_disk_is_told() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let disk = LoopDisk::new(256 << 20).unwrap();
    let ship = ShipOptions::default().start_in(disk.path()).unwrap();
    let limits = IopsLimits {
        read: None,
        write: Some(8),
    };
    let _slow = SlowDisk::start(&disk, limits, &ship.pids()).unwrap();
    let answer = until(&ship, "log_commit");
    assert!(sentence(&answer).contains("data.mdb"), "{answer:#}");
    let threads = answer["threads"].as_array().unwrap();
    let disk_waits = threads.iter().filter(|thread| {
        let shares = thread["shares"].as_array().unwrap();
        let waits = shares.iter().any(|share| share["doing"]["waits"] == "disk");
        thread["role"] == "commit_worker" && waits
    });
    assert!(disk_waits.count() > 0, "{answer:#}");
}

#[test]
fn snapshot_on_a_slow_disk_holds_mars_up() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let disk = LoopDisk::new(512 << 20).unwrap();
    let ship = ShipOptions {
        dirty_pages: Some(64),
        snap_seconds: Some(2),
        ..ShipOptions::default()
    };
    let ship = ship.start_in(disk.path()).unwrap();
    let limits = IopsLimits {
        read: None,
        write: Some(8),
    };
    let _slow = SlowDisk::start(&disk, limits, &ship.pids()).unwrap();
    let answer = until(&ship, "snapshot");
    assert_eq!(answer["has_snapshot_files"], true, "{answer:#}");
}

#[test]
fn busy_king_is_told_from_a_busy_mars() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(1.0),
        compute_us: Some(100),
        king_compute_us: Some(20_000),
        ..ShipOptions::default()
    });
    let packets = PeerOptions {
        packets_per_second: 300.0,
        bytes: 1000,
        seconds: 2 * LIMIT.as_secs(),
        bursts: None,
    };
    let _peer = packets.start(ship.ship.udp_port()).unwrap();
    // Packets come faster than they are taken, but the first finds an empty queue.
    until_so(&ship.ship, "king_busy", |answer| {
        number(&answer["ames"]["known"], "receive_queue_bytes") > 0
    });
}

#[test]
fn stopped_processes_and_silent_kings_are_named() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    for (pid, name) in [
        (ship.ship.mars_pid(), "mars"),
        (ship.ship.king_pid(), "king"),
    ] {
        kill_process(process(pid).unwrap(), Signal::STOP).unwrap();
        let answer = now(&ship.ship);
        kill_process(process(pid).unwrap(), Signal::CONT).unwrap();
        assert_eq!(answer["verdict"]["kind"], "stopped", "{answer:#}");
        assert!(sentence(&answer).contains(name), "{answer:#}");
        assert!(sentence(&answer).contains(&format!("kill -CONT {pid}")));
        let is_silent = answer["king"].get("silent").is_some();
        assert_eq!(is_silent, name == "king", "{answer:#}");
    }
}

#[test]
fn mars_without_a_cpu_is_not_said_to_compute() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        compute_us: Some(3_000_000),
        ..ShipOptions::default()
    });
    let hogs = CpuHogs::start(4, &ship.ship.pids()).unwrap();
    let answer = until(&ship.ship, "waits_for_cpu");
    assert!(sentence(&answer).contains("; meanwhile "), "{answer:#}");
    let busiest = answer["ahead"]["busiest"].as_array().unwrap();
    let is_hog = |one: &Value| hogs.pids().contains(&(number(one, "tgid") as u32));
    assert!(busiest.iter().any(is_hog), "{answer:#}");
    drop(hogs);
    let _quota = CpuQuota::start(10, &ship.ship.pids()).unwrap();
    let answer = until(&ship.ship, "waits_for_cpu");
    assert!(
        sentence(&answer).contains("; the CPU quota of "),
        "{answer:#}"
    );
}

#[test]
fn without_rights_it_says_what_it_could_not_see() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    let king = ship.ship.king_pid().to_string();
    let arguments = ["now", "--ship", king.as_str(), "--format", "json"];
    let outcome = Unprivileged::new().run(&arguments);
    assert_eq!(outcome.code(), Some(INCOMPLETE), "{outcome:?}");
    let answer = outcome.json().unwrap();
    assert!(!answer["incomplete"].as_array().unwrap().is_empty());
    assert_eq!(answer["event"], Value::Null, "{answer:#}");
    assert_ne!(answer["verdict"]["kind"], "idle", "{answer:#}");
}
