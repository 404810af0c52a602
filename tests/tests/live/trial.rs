//! `profile trial` on the reference ship: what helps is found and kept, what does nothing is taken back,
//! and so is what a killed trial left.

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::faults::{CpuQuota, LoopDisk};
use harness::gate;
use harness::process::poll_until;
use harness::profile::{Outcome, Profile, RunningProfile};
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use profiler::trial::{Change, DIRECTORY, Host, Place, Property, Undone};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{DONE, FAILED, ShipInMemory, Unprivileged};

/// The setting of the fix that does nothing here: a ship in memory has nothing written back.
const BACKGROUND: &str = "/proc/sys/vm/dirty_background_ratio";
/// What that fix makes of it.
const PROPOSED: &str = "2";

/// A trial of two rounds.
fn trial(fix: &str, ship: &RunningShip, store: &Path, seconds: u64) -> Profile {
    let run = Profile::new(["trial", fix, "--yes", "--rounds", "2", "--settle", "1"]);
    let run = run.arg("--ship").arg(ship.pier());
    let run = run.arg("--store").arg(store);
    run.arg("--seconds")
        .arg(seconds.to_string())
        .json()
        .lasting(Duration::from_secs(4 * seconds + 60))
}

fn setting() -> String {
    fs::read_to_string(BACKGROUND).unwrap().trim().to_owned()
}

fn has_journal() -> bool {
    Path::new(DIRECTORY).join("undo.json").exists()
}

fn outcome(run: &Outcome) -> Value {
    assert_eq!(run.code(), Some(DONE), "{run:?}");
    let outcome = run.json().unwrap();
    assert_eq!(outcome["schema_version"], 1);
    outcome
}

fn busy_ship() -> ShipInMemory {
    ShipInMemory::start(&ShipOptions {
        compute_us: Some(20_000),
        ..ShipOptions::default()
    })
}

#[test]
fn a_quota_that_is_removed_helped_and_stays_away() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = busy_ship();
    let quota = CpuQuota::start(30, &ship.ship.pids()).unwrap();
    let store = Scratch::new("store").unwrap();
    let run = trial("cpu-quota", &ship.ship, store.path(), 5)
        .run()
        .unwrap();
    let outcome = outcome(&run);
    assert_eq!(outcome["diff"]["outcome"], "helped", "{outcome:#}");
    assert_eq!(outcome["kept"], true, "{outcome:#}");
    assert_eq!(outcome["predicted"]["answer"], "would help", "{outcome:#}");
    assert_ne!(outcome["predicted"]["p95"], Value::Null, "{outcome:#}");
    assert_eq!(outcome["windows"].as_array().unwrap().len(), 4);
    let before = quota.throttled().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(quota.throttled().unwrap(), before, "it is there again");
    assert!(!has_journal());
    let journal = Profile::new(["journal", "--format", "json", "--store"]);
    let journal = journal.arg(store.path()).run().unwrap().json().unwrap();
    let entry = &journal["entries"][0][1];
    assert_eq!(entry["fix"], "cpu-quota", "{journal:#}");
    assert_eq!(entry["outcome"], "helped", "{journal:#}");
    // There is no quota by now.
    let again = trial("cpu-quota", &ship.ship, store.path(), 5)
        .run()
        .unwrap();
    assert_eq!(again.code(), Some(FAILED), "{again:?}");
    assert!(again.stderr.contains("already"), "{again:?}");
}

#[test]
fn a_setting_that_does_nothing_is_taken_back() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = busy_ship();
    let store = Scratch::new("store").unwrap();
    let before = setting();
    assert_ne!(before, PROPOSED, "this host has the setting already");
    let run = trial("dirty-ratio", &ship.ship, store.path(), 5)
        .run()
        .unwrap();
    let outcome = outcome(&run);
    let found = outcome["diff"]["outcome"].as_str().unwrap();
    assert!(
        ["no_effect", "not_enough_data"].contains(&found),
        "{outcome:#}"
    );
    assert_eq!(outcome["kept"], false, "{outcome:#}");
    assert_eq!(outcome["left"].as_array().unwrap().len(), 0, "{outcome:#}");
    assert_eq!(outcome["steps"][0]["before"], before.as_str());
    assert_eq!(setting(), before);
    assert!(!has_journal());
}

/// Starts a trial and waits until its change is made.
fn until_applied(ship: &RunningShip, store: &Path) -> RunningProfile {
    let run = trial("dirty-ratio", ship, store, 4).start().unwrap();
    poll_until("the change", Duration::from_secs(40), || {
        let now = setting();
        Ok(if now == PROPOSED { Ok(()) } else { Err(now) })
    })
    .unwrap();
    run
}

#[test]
fn however_a_trial_ends_its_change_is_taken_back() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = busy_ship();
    let store = Scratch::new("store").unwrap();
    let before = setting();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let run = until_applied(&ship.ship, store.path());
        run.signal(signal).unwrap();
        let ended = run.finish().unwrap();
        assert_eq!(ended.code(), Some(FAILED), "{ended:?}");
        assert!(
            ended.stderr.contains("every value is as it was"),
            "{ended:?}"
        );
        assert_eq!(setting(), before);
        assert!(!has_journal());
    }

    // Nobody can take it back who is killed.
    let run = until_applied(&ship.ship, store.path());
    run.signal(Signal::KILL).unwrap();
    run.finish().unwrap();
    assert_eq!(setting(), PROPOSED);
    // Anybody is told; only root can.
    let told = Unprivileged::new().run(&["catalogue", "ram"]);
    assert_eq!(told.code(), Some(DONE), "{told:?}");
    assert!(told.stderr.contains("profile trial --undo"), "{told:?}");
    assert_eq!(setting(), PROPOSED);
    let undone = Profile::new(["trial", "--undo"]).run().unwrap();
    assert_eq!(undone.code(), Some(DONE), "{undone:?}");
    assert_eq!(setting(), before, "{undone:?}");
    assert!(!has_journal());

    // The next command of root does it too. A trial that runs is left alone by both.
    let run = until_applied(&ship.ship, store.path());
    let busy = Profile::new(["trial", "--undo"]).run().unwrap();
    assert_eq!(busy.code(), Some(FAILED), "{busy:?}");
    Profile::new(["catalogue", "ram"]).run().unwrap();
    assert_eq!(setting(), PROPOSED);
    run.signal(Signal::KILL).unwrap();
    run.finish().unwrap();
    let next = Profile::new(["catalogue", "ram"]).run().unwrap();
    assert_eq!(next.code(), Some(DONE), "{next:?}");
    assert!(next.stderr.contains("took back"), "{next:?}");
    assert_eq!(setting(), before);
}

#[test]
fn what_is_only_shown_changes_nothing_and_what_is_not_confirmed_is_refused() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = busy_ship();
    let king = ship.ship.king_pid().to_string();
    let run = |arguments: &[&str]| {
        let all = ["trial", "--ship", &king];
        let all = all.iter().chain(arguments);
        Profile::new(all.map(|one| (*one).to_owned()))
            .run()
            .unwrap()
    };
    let shown = run(&["nice", "--dry-run", "--format", "json"]);
    let intent = outcome(&shown);
    assert_eq!(intent["steps"].as_array().unwrap().len(), 2, "{intent:#}");
    assert_eq!(intent["steps"][0]["before"], "0", "{intent:#}");
    assert_eq!(intent["steps"][0]["applied"], "-10", "{intent:#}");
    assert_eq!(intent["windows"].as_array().unwrap().len(), 6);
    let other = Unprivileged::new().run(&["trial", "--ship", &king, "nice", "--dry-run"]);
    assert_eq!(other.code(), Some(DONE), "{other:?}");
    assert!(other.stdout.contains("→ -10"), "{other:?}");
    for (arguments, words) in [
        (["nice", "--seconds=1"], "--yes"),
        (["snap-time", "--yes"], "restart of the ship"),
        (["chop", "--yes"], "profile diff"),
    ] {
        let refused = run(&arguments);
        assert_eq!(refused.code(), Some(FAILED), "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    assert!(!has_journal());
}

#[test]
fn on_a_terminal_nothing_is_changed_before_somebody_types_yes() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = busy_ship();
    let store = Scratch::new("store").unwrap();
    let before = setting();
    let run = Profile::new(["trial", "dirty-ratio", "--rounds", "1", "--seconds", "2"]);
    let run = run.arg("--ship").arg(ship.ship.pier());
    let run = run.arg("--store").arg(store.path());
    let asked = || {
        let (mut running, keyboard) = run.start_on_terminal().unwrap();
        running.wait_for("Type yes").unwrap();
        assert_eq!(setting(), before);
        (running, keyboard)
    };
    for answer in [Some("no"), Some("y"), Some(""), None] {
        let (running, keyboard) = asked();
        keyboard.answer(answer).unwrap();
        let refused = running.finish().unwrap();
        assert_eq!(refused.code(), Some(FAILED), "{answer:?}: {refused:?}");
        assert!(
            refused.stderr.contains("nothing was changed"),
            "{refused:?}"
        );
        assert_eq!(setting(), before);
        assert!(!has_journal());
    }
    let (mut running, keyboard) = asked();
    keyboard.line("yes").unwrap();
    running.wait_for("window 2 of 2").unwrap();
    assert_eq!(setting(), PROPOSED);
    let done = running.finish().unwrap();
    assert_eq!(done.code(), Some(DONE), "{done:?}");
    assert!(done.stdout.contains("VERDICT"), "{done:?}");
}

/// Makes a change on this kernel and takes it back.
fn there_and_back(place: Place, before: &str, applied: &str) {
    let host = Host::default();
    let change = Change {
        place,
        before: before.to_owned(),
        applied: applied.to_owned(),
    };
    let now = || change.now(&host).unwrap();
    assert_eq!(now().as_deref(), Some(before), "{change:?}");
    change.apply(&host).unwrap();
    assert_eq!(now().as_deref(), Some(applied), "{change:?}");
    assert_eq!(change.undo(&host).unwrap(), Undone::Restored);
    assert_eq!(now().as_deref(), Some(before), "{change:?}");
}

#[test]
fn every_kind_of_change_can_be_taken_back_on_this_kernel() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let disk = LoopDisk::new(64 << 20).unwrap();
    let ship = ShipOptions::default().start_in(disk.path()).unwrap();
    let (pid, start) = (ship.mars_pid(), start_ticks(ship.mars_pid()));
    let thread = |property| Place::Thread {
        tgid: pid,
        process_start_ticks: start,
        tid: pid,
        thread_start_ticks: start,
        property,
    };
    there_and_back(thread(Property::Nice), "0", "-10");
    let cpus = fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    if cpus.trim() != "0" {
        there_and_back(thread(Property::Cpus), cpus.trim(), "0");
    }
    let quota = CpuQuota::start(50, &[pid]).unwrap();
    let group = quota.cpu_stat();
    let (file, before, applied) = match group.with_file_name("cpu.max").exists() {
        true => ("cpu.max", "50000 100000", "max 100000"),
        false => ("cpu.cfs_quota_us", "50000", "-1"),
    };
    let path = group.with_file_name(file).display().to_string();
    there_and_back(Place::File { path }, before, applied);
    let device = rustix::fs::stat(disk.path()).unwrap().st_dev;
    let mount = Place::Mount {
        mount_point: disk.path().display().to_string(),
        device: (rustix::fs::major(device), rustix::fs::minor(device)),
    };
    there_and_back(mount.clone(), "relatime", "noatime");
    there_and_back(mount, "relatime", "strictatime");
}

/// When a process was started: field 22 of its `stat`.
fn start_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(19).unwrap().parse().unwrap()
}
