//! `profile mass` on the reference ship: the account of its loom is shown and kept, no event is written for it,
//! and nothing is asked of the ship without consent.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use harness::gate;
use harness::profile::{Outcome, Profile};
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::ping::event_number;
use crate::support::{DONE, FAILED, ShipInMemory, assert_fails, assert_one_line, number, process};

/// Exit status: wrong usage.
const USAGE: i32 = 2;

/// A ship with no work of its own.
fn quiet_ship() -> ShipInMemory {
    ShipInMemory::start(&ShipOptions {
        events_per_second: Some(0.0),
        heap_pages: Some(2048),
        ..ShipOptions::default()
    })
}

fn run(ship: &RunningShip, more: &[&str]) -> Outcome {
    prepare(ship, more).run().unwrap()
}

fn prepare(ship: &RunningShip, more: &[&str]) -> Profile {
    let run = Profile::new(["mass".as_ref(), "--ship".as_ref(), ship.pier().as_os_str()]);
    more.iter().fold(run, |run, argument| run.arg(argument))
}

/// How often the ship says that it counted its memory.
fn counted(ship: &RunningShip) -> usize {
    let truth = ship.mars_truth().unwrap();
    truth.iter().filter(|line| line["event"] == "mass").count()
}

fn part<'a>(parts: &'a Value, path: &[&str]) -> &'a Value {
    let (name, rest) = path.split_first().unwrap();
    let found = parts.as_array().unwrap().iter();
    let found = found.clone().find(|part| part["name"] == *name).unwrap();
    match rest {
        [] => found,
        rest => part(&found["parts"], rest),
    }
}

#[test]
fn the_account_is_shown_and_kept_and_no_event_is_written() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let mut ship = quiet_ship();
    let before = event_number(&ship.ship);
    let home = Scratch::new("mass").unwrap();
    let file = home.path().join("mass.json");
    let kept = [
        "--yes",
        "--format",
        "json",
        "--output",
        file.to_str().unwrap(),
    ];
    let outcome = run(&ship.ship, &kept);
    assert_eq!(outcome.code(), Some(DONE), "{outcome:?}");
    assert!(outcome.stderr.contains("stands still"), "{outcome:?}");
    assert!(outcome.stderr.contains("about "), "{outcome:?}");
    let mass = outcome.json().unwrap();
    assert_eq!(mass["schema_version"], 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), outcome.stdout);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let marked = number(&mass, "marked_bytes");
    let owners = mass["parts"].as_array().unwrap();
    let sum: u64 = owners.iter().map(|part| number(part, "bytes")).sum();
    assert_eq!(sum, marked, "{mass:#}");
    let path = ["arvo", "vane", "gall", "active", "groups"];
    assert!(number(part(&mass["parts"], &path), "bytes") > marked / 20);

    let text = run(&ship.ship, &["--yes"]);
    assert_eq!(text.code(), Some(DONE), "{text:?}");
    for words in ["      active", "groups", "LARGEST AGENTS", " % of the heap"] {
        assert!(text.stdout.contains(words), "{text:?}");
    }
    let wide = text.stdout.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None);
    let shallow = run(&ship.ship, &["--yes", "--depth", "2"]);
    assert!(!shallow.stdout.contains("\n    gall"), "{shallow:?}");

    let free = run(&ship.ship, &["--fragmentation", "--format", "json"]);
    assert_eq!(free.code(), Some(DONE), "{free:?}");
    let free = free.json().unwrap();
    assert_eq!(number(&free, "idle_bytes"), number(&mass, "idle_bytes"));
    assert!(number(&free, "open_bytes") > number(&free, "heap_bytes"));
    let free = run(&ship.ship, &["--fragmentation"]);
    assert!(free.stdout.contains("holes in the heap"), "{free:?}");

    let audit = [
        "audit",
        "--format",
        "json",
        "--mass",
        file.to_str().unwrap(),
        "--ship",
    ];
    let audit = Profile::new(audit).arg(ship.ship.pier()).run().unwrap();
    let checks = &audit.json().unwrap()["checks"];
    let apps = checks.as_array().unwrap().iter();
    let apps = apps.clone().find(|check| check["id"] == "apps").unwrap();
    assert!(apps["evidence"].as_str().unwrap().contains("%groups "));

    assert_eq!(event_number(&ship.ship), before);
    ship.ship.stop().unwrap();
    assert_eq!(counted(&ship.ship), 3);
}

#[test]
fn on_a_terminal_the_ship_is_asked_only_after_a_yes() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let mut ship = quiet_ship();
    let asked = || {
        let (mut running, keyboard) = prepare(&ship.ship, &[]).start_on_terminal().unwrap();
        running.wait_for("Go on? [y/N]").unwrap();
        (running, keyboard)
    };
    for answer in [Some("no"), Some(""), None] {
        let (running, keyboard) = asked();
        keyboard.answer(answer).unwrap();
        let refused = running.finish().unwrap();
        assert_eq!(refused.code(), Some(FAILED), "{answer:?}: {refused:?}");
        assert!(refused.stderr.contains("asked nothing"), "{refused:?}");
        assert_eq!(refused.stdout, "");
    }
    for yes in ["y", "yes"] {
        let (running, keyboard) = asked();
        keyboard.line(yes).unwrap();
        let done = running.finish().unwrap();
        assert_eq!(done.code(), Some(DONE), "{yes}: {done:?}");
        assert!(done.stdout.contains("LARGEST AGENTS"), "{done:?}");
    }
    ship.ship.stop().unwrap();
    assert_eq!(counted(&ship.ship), 2);
}

#[test]
fn nothing_is_asked_without_consent_or_room_for_the_answer() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let mut ship = quiet_ship();
    // The harness gives no terminal.
    let outcome = run(&ship.ship, &[]);
    assert_eq!(outcome.code(), Some(USAGE), "{outcome:?}");
    assert_one_line(&outcome, &["no terminal", "--yes"]);
    assert_eq!(outcome.stdout, "");
    let home = Scratch::new("mass").unwrap();
    let (link, target) = (home.path().join("link"), home.path().join("target"));
    symlink(&target, &link).unwrap();
    let inside = ship.ship.pier().join("mass.json");
    for (path, words) in [
        (&link, "already holds"),
        (&inside, "lies in the ship's pier"),
    ] {
        let outcome = run(&ship.ship, &["--yes", "--output", path.to_str().unwrap()]);
        assert_fails(&outcome, &[words]);
    }
    assert!(!target.exists() && !inside.exists());
    ship.ship.stop().unwrap();
    assert_eq!(counted(&ship.ship), 0);
}

#[test]
fn a_ship_that_does_not_answer_ends_it_in_one_sentence() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = quiet_ship();
    let mars = process(ship.ship.mars_pid()).unwrap();
    kill_process(mars, Signal::STOP).unwrap();
    let outcome = run(&ship.ship, &["--fragmentation", "--timeout", "1"]);
    assert_fails(&outcome, &["did not answer within 1 s"]);

    // It goes while it is waited for.
    let running = prepare(&ship.ship, &["--fragmentation"]).start().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    for pid in ship.ship.pids() {
        kill_process(process(pid).unwrap(), Signal::KILL).unwrap();
    }
    let outcome = running.finish().unwrap();
    assert_eq!(outcome.code(), Some(FAILED), "{outcome:?}");
    assert_fails(&outcome, &["closed the connection"]);
}

#[test]
fn a_socket_that_is_none_is_named() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = quiet_ship();
    let socket = ship.ship.pier().join(".urb/conn.sock");
    fs::remove_file(&socket).unwrap();
    let outcome = run(&ship.ship, &["--yes"]);
    assert_fails(&outcome, &["has no control socket", "--no-conn"]);
    fs::write(&socket, "").unwrap();
    assert_fails(&run(&ship.ship, &["--yes"]), &["is no socket"]);
}
