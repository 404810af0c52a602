//! However a capture ends, it reports what it has, harms nobody, and leaves nothing in the kernel.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use harness::gate;
use harness::peer::PeerOptions;
use harness::process::{is_running, poll_until, threads};
use harness::profile::{Profile, RunningProfile};
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::CapabilitySet;

use crate::kernel::{Footprint, is_capturing, wait_for_capture};
use crate::support::{DONE, INCOMPLETE, NOBODY, Report, deep_dive_under_sudo, names_in, number};

/// Length of a capture that is not meant to reach its end, s.
const LONG: u64 = 60;
/// What every run leaves in its directory.
const FILES: [&str; 3] = ["capture", "on-cpu.svg", "report.json"];

/// Starts a deep dive that prints JSON, and waits until its capture has begun.
fn start(ship: &str, seconds: u64) -> (RunningProfile, Footprint) {
    let profile = Profile::deep_dive(ship, seconds).json().start().unwrap();
    let footprint = wait_for_capture(&profile);
    (profile, footprint)
}

/// The report of a capture whose ship has ended.
fn assert_ship_exited(profile: RunningProfile, footprint: &Footprint) {
    let outcome = profile.finish().unwrap();
    assert_eq!(outcome.code(), Some(INCOMPLETE), "{}", outcome.stderr);
    let report = Report::of(&outcome);
    assert_eq!(report.0["window"]["ended"], "ship_exited", "{report}");
    let incomplete = report.strings("incomplete").join("; ");
    assert!(incomplete.contains("the ship ended"), "{incomplete}");
    assert_eq!(report.finding("ship-exited").unwrap()["severity"], "severe");
    assert!(report.sentence().contains("The ship ended"), "{report}");
    // What it did until then is still told.
    assert!(report.find("threads", "role", "king").is_some(), "{report}");
    assert!(report.find("threads", "role", "mars").is_some(), "{report}");
    footprint.assert_gone();
}

#[test]
fn ship_that_exits_ends_the_capture() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let mut ship = ShipOptions::default().start().unwrap();
    let (profile, footprint) = start(&ship.king_pid().to_string(), LONG);
    assert!(ship.stop().unwrap().success(), "{}", ship.log());
    assert_ship_exited(profile, &footprint);
}

#[test]
fn killed_king_ends_the_capture() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let (profile, footprint) = start(&ship.king_pid().to_string(), LONG);
    ship.king().signal(Signal::KILL).unwrap();
    assert_ship_exited(profile, &footprint);
}

#[test]
fn killed_mars_ends_the_capture() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let (profile, footprint) = start(&ship.king_pid().to_string(), LONG);
    let mars = Pid::from_raw(ship.mars_pid().cast_signed()).unwrap();
    kill_process(mars, Signal::KILL).unwrap();
    assert_ship_exited(profile, &footprint);
}

#[test]
fn interrupted_capture_is_reported_and_written() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let home = Scratch::new("output").unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let output = home.path().join(format!("{signal:?}"));
        let profile = Profile::deep_dive(ship.pier(), LONG).json().output(&output);
        let profile = profile.start().unwrap();
        let footprint = wait_for_capture(&profile);
        profile.signal(signal).unwrap();
        let outcome = profile.finish().unwrap();
        assert_eq!(outcome.code(), Some(INCOMPLETE), "{}", outcome.stderr);
        let report = Report::of(&outcome);
        assert_eq!(report.0["window"]["ended"], "interrupted", "{report}");
        let incomplete = report.strings("incomplete").join("; ");
        assert!(incomplete.contains("ended by a signal"), "{incomplete}");
        let names = names_in(&output);
        assert!(names.contains(&"capture".to_owned()), "{names:?}");
        assert!(names.contains(&"report.json".to_owned()), "{names:?}");
        assert!(
            !names.iter().any(|name| name.ends_with(".partial")),
            "{names:?}"
        );
        footprint.assert_gone();
    }
    assert!(ship.pids().into_iter().all(is_running));
}

#[test]
fn interrupt_is_heard_from_the_first_line_on() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let mut profile = Profile::deep_dive(ship.pier(), LONG)
        .json()
        .start()
        .unwrap();
    // This line says that Ctrl-C ends early and still reports.
    profile.wait_for("Ctrl-C").unwrap();
    profile.signal(Signal::INT).unwrap();
    let outcome = profile.finish().unwrap();
    assert_eq!(outcome.code(), Some(INCOMPLETE), "{}", outcome.stderr);
    assert_eq!(Report::of(&outcome).0["window"]["ended"], "interrupted");
}

#[test]
fn killed_profiler_leaves_nothing() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let home = Scratch::new("output").unwrap();
    let output = home.path().join("killed");
    let run = Profile::deep_dive(ship.pier(), LONG).output(&output);
    let profile = run.start().unwrap();
    let footprint = wait_for_capture(&profile);
    profile.signal(Signal::KILL).unwrap();
    let outcome = profile.finish().unwrap();
    assert_eq!(outcome.code(), None, "it was killed");
    footprint.assert_gone();
    assert_eq!(names_in(&output), [""; 0]);
    assert!(ship.pids().into_iter().all(is_running));
    // And the same directory can be used again.
    assert_eq!(
        Profile::deep_dive(ship.pier(), 1)
            .output(&output)
            .run()
            .unwrap()
            .code(),
        Some(DONE)
    );
}

#[test]
fn only_documented_privileges_stay() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let (profile, footprint) = start(&ship.king_pid().to_string(), LONG);
    // `profiler/src/capture/privileges.rs` gives the reason for each.
    let kept = CapabilitySet::BPF
        | CapabilitySet::SYS_PTRACE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::SYSLOG;
    let tids = threads(profile.pid()).unwrap();
    for tid in tids {
        let status = fs::read_to_string(format!("/proc/{}/task/{tid}/status", profile.pid()));
        let status = status.unwrap();
        let field = |name: &str| {
            let mut lines = status.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .trim()
        };
        let capabilities = |name| u64::from_str_radix(field(name), 16).unwrap();
        assert_eq!(capabilities("CapEff:"), kept.bits(), "{status}");
        assert_eq!(capabilities("CapPrm:"), kept.bits(), "{status}");
        assert_eq!(capabilities("CapInh:"), 0, "{status}");
        assert_eq!(capabilities("CapAmb:"), 0, "{status}");
        assert_eq!(field("NoNewPrivs:"), "1", "{status}");
    }
    profile.signal(Signal::INT).unwrap();
    assert_eq!(profile.finish().unwrap().code(), Some(INCOMPLETE));
    footprint.assert_gone();
}

#[test]
fn files_belong_to_the_caller_of_sudo_alone() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let home = Scratch::new("output").unwrap();
    // A parent directory that this user may write to, as their own home is.
    std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    for (caller, owner) in [(None, 0), (Some(NOBODY), NOBODY)] {
        let output = home.path().join(owner.to_string());
        let outcome = deep_dive_under_sudo(ship.pier(), 1, &output, caller);
        assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
        let names = names_in(&output);
        for name in FILES {
            assert!(names.contains(&name.to_owned()), "{names:?}");
        }
        assert_owned(&output, owner, 0o700);
        for name in names {
            assert_owned(&output.join(name), owner, 0o600);
        }
    }
}

#[test]
fn thread_that_starts_meanwhile_is_followed() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // The first event of all lets mars start its commit workers.
    let idle = ShipOptions {
        events_per_second: Some(0.0),
        ..ShipOptions::default()
    };
    let ship = idle.start().unwrap();
    let before = threads(ship.mars_pid()).unwrap();
    let (profile, footprint) = start(&ship.mars_pid().to_string(), LONG);
    let peer = PeerOptions {
        packets_per_second: 50.0,
        bytes: 500,
        seconds: 1,
        bursts: None,
    };
    peer.start(ship.udp_port()).unwrap().wait().unwrap();
    poll_until("mars to start threads", Duration::from_secs(10), || {
        let now = threads(ship.mars_pid())?.len();
        Ok(if now > before.len() {
            Ok(())
        } else {
            Err(format!("it has {now}"))
        })
    })
    .unwrap();
    assert!(is_capturing(&profile, &footprint));
    profile.signal(Signal::INT).unwrap();
    let report = Report::of(&profile.finish().unwrap());
    let new: Vec<_> = report
        .list("threads")
        .iter()
        .filter(|thread| thread["role"] == "commit_worker")
        .collect();
    assert_eq!(
        new.len(),
        threads(ship.mars_pid()).unwrap().len() - before.len(),
        "{report}"
    );
    let window_ns = number(&report.0["window"], "duration_ns");
    for thread in &new {
        assert_eq!(thread["comm"], "libuv-worker");
        assert!(number(thread, "wall_ns") < window_ns, "{thread:#}");
    }
    let has_synced = |thread: &&&serde_json::Value| {
        let waits = thread["blocked"].as_array().unwrap();
        waits.iter().any(|wait| wait["syscall"] == "fdatasync")
    };
    assert!(new.iter().any(|thread| has_synced(&thread)), "{report}");
}

fn assert_owned(path: &Path, owner: u32, mode: u32) {
    let metadata = fs::metadata(path).unwrap();
    assert_eq!(
        (metadata.uid(), metadata.gid()),
        (owner, owner),
        "{}",
        path.display()
    );
    assert_eq!(
        metadata.permissions().mode() & 0o7777,
        mode,
        "{}",
        path.display()
    );
}
