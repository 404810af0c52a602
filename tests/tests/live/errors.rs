//! What can go wrong: each with one sentence that says what to do, its exit status, and nothing
//! half-written left.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::faults::FullDisk;
use harness::gate;
use harness::process::{Process, Terminal, poll_until, wait_until_ended};
use harness::profile::{Outcome, Profile};
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use rustix::process::Signal;

use crate::kernel::{is_capturing, wait_for_capture};
use crate::support::{FAILED, Report, Unprivileged, assert_fails, assert_one_line, names_in};

const MIB: u64 = 1 << 20;
/// How long a process may take to begin or to end.
const LIMIT: Duration = Duration::from_secs(20);
/// What a capture may need beside its records (`OTHER_FILES_BYTES` of the deep dive).
const OTHER_FILES_BYTES: u64 = 32 * MIB;

/// The deep dive of what is no ship.
fn dive(ship: impl AsRef<std::ffi::OsStr>) -> Outcome {
    Profile::deep_dive(ship, 1).run().unwrap()
}

#[test]
fn no_ship_under_that_name() {
    let home = Scratch::new("errors").unwrap();
    let absent = home.path().join("absent");
    let path = absent.to_str().unwrap();
    assert_fails(
        &dive(&absent),
        &["there is no directory", path, "give the path of a pier"],
    );
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let path = file.to_str().unwrap();
    assert_fails(
        &dive(&file),
        &[path, "is a file, not a pier", "give the pier's directory"],
    );
    let path = home.path().to_str().unwrap();
    assert_fails(
        &dive(home.path()),
        &[path, "no pier", "it has no .urb in it"],
    );
    assert_fails(
        &dive("~nobody-has-this"),
        &["no running ship is called ~nobody-has-this"],
    );
    // Above the largest possible pid (PID_MAX_LIMIT, 2^22), so never alive.
    assert_fails(
        &dive("4194305"),
        &["there is no process 4194305", "it may have ended"],
    );
    let other = Process::spawn(Command::new("sleep").arg("60"), Terminal::Own).unwrap();
    let pid = other.pid().to_string();
    // A new process bears its parent's name for a moment.
    poll_until("`sleep` to have its name", LIMIT, || {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        Ok(if name == "sleep\n" { Ok(()) } else { Err(name) })
    })
    .unwrap();
    let words = [&format!("process {pid} (sleep)"), "is not part of a ship"];
    assert_fails(&dive(&pid), &words);
}

#[test]
fn ship_that_is_down() {
    let mut ship = ShipOptions::default().start().unwrap();
    let pier = ship.pier().to_owned();
    let path = pier.to_str().unwrap();
    ship.stop().unwrap();
    assert_fails(
        &dive(&pier),
        &["no ship runs on the pier", path, "start it"],
    );
    let king = ship.king_pid().to_string();
    assert_fails(&dive(&king), &[&format!("there is no process {king}")]);
}

#[test]
fn lock_of_a_killed_ship_is_stale() {
    let mut ship = ShipOptions::default().start().unwrap();
    let pier = ship.pier().to_owned();
    let mars = ship.mars_pid();
    for process in [mars, ship.king_pid()] {
        let pid = rustix::process::Pid::from_raw(process.cast_signed()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
    ship.wait(LIMIT).unwrap();
    wait_until_ended(mars, LIMIT).unwrap();
    assert!(pier.join(".vere.lock").exists());
    let number = format!("(pid {mars})");
    let words = [
        "no ship runs on the pier",
        ".vere.lock is left over",
        &number,
        "start the ship again",
    ];
    assert_fails(&dive(&pier), &words);
    fs::write(pier.join(".vere.lock"), "").unwrap();
    assert_fails(&dive(&pier), &["is empty or damaged", "remove that file"]);
}

#[test]
fn several_ships_have_to_be_told_apart() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ships = ["~zod", "~nec"].map(|name| {
        let options = ShipOptions {
            ship: Some(name.into()),
            ..ShipOptions::default()
        };
        options.start().unwrap()
    });
    let outcome = Profile::new(["--seconds", "1"]).run().unwrap();
    let pids = ships
        .each_ref()
        .map(|ship| format!("(pid {}, pier", ship.king_pid()));
    assert_fails(
        &outcome,
        &[
            "ships fit, say which one with --ship",
            "~zod",
            "~nec",
            &pids[0],
            &pids[1],
        ],
    );
}

#[test]
fn no_privilege() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let user = Unprivileged::new();
    let king = ship.king_pid().to_string();
    let pier = ship.pier().to_str().unwrap();
    for name in [king.as_str(), pier, "~zod"] {
        let outcome = user.run(&["--ship", name, "--seconds", "1"]);
        assert_fails(&outcome, &["root"]);
    }
    let outcome = user.run(&["--seconds", "1"]);
    assert_fails(&outcome, &["root"]);
    let doctor = user.run(&["doctor"]);
    assert_eq!(doctor.code(), Some(FAILED), "{doctor:?}");
    assert!(doctor.stdout.contains("LACK"), "{doctor:?}");
}

#[test]
fn wrong_usage() {
    let cases: [&[&str]; 5] = [
        &["--seconds", "0"],
        &["--seconds", "soon"],
        &["--no-such-option"],
        &["report"],
        &["report", "capture", "--format", "poem"],
    ];
    for arguments in cases {
        let outcome = Profile::new(arguments).run().unwrap();
        assert_eq!(outcome.code(), Some(2), "{outcome:?}");
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn output_directory_that_cannot_be_used() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let home = Scratch::new("errors").unwrap();
    let fails = |output: &Path, words: &[&str]| {
        let outcome = Profile::deep_dive(ship.pier(), 1)
            .output(output)
            .run()
            .unwrap();
        assert_fails(&outcome, words);
    };
    let file = home.path().join("file");
    fs::write(&file, "mine").unwrap();
    fails(&file, &[file.to_str().unwrap(), "is no directory", "-o"]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");

    let real = home.path().join("real");
    let link = home.path().join("link");
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    fails(&link, &[link.to_str().unwrap(), "is no directory", "-o"]);
    assert_eq!(names_in(&real), [""; 0]);

    let occupied = home.path().join("occupied");
    fs::create_dir(&occupied).unwrap();
    fs::write(occupied.join("report.json"), "mine").unwrap();
    fails(
        &occupied,
        &["already holds report.json", "nothing is overwritten"],
    );
    assert_eq!(names_in(&occupied), ["report.json"]);
    assert_eq!(fs::read(occupied.join("report.json")).unwrap(), b"mine");

    let orphan = home.path().join("no/parent");
    fails(
        &orphan,
        &["cannot use the output directory", orphan.to_str().unwrap()],
    );
}

#[test]
fn full_output_disk_is_seen_before_the_capture() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let disk = FullDisk::new(64 * MIB).unwrap();
    let output = disk.disk().path().join("run");
    let outcome = Profile::deep_dive(ship.pier(), 1)
        .output(&output)
        .run()
        .unwrap();
    let path = output.to_str().unwrap();
    assert_fails(
        &outcome,
        &[
            "the file system of",
            path,
            "bytes free",
            "a capture may need",
        ],
    );
    assert_eq!(names_in(&output), [""; 0]);
}

#[test]
fn output_disk_that_fills_up_meanwhile() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let disk = FullDisk::new(OTHER_FILES_BYTES + 64 * MIB).unwrap();
    let output = disk.disk().path().join("run");
    let run = Profile::deep_dive(ship.pier(), 60)
        .json()
        .arg("--max-size")
        .arg("1");
    let profile = run.output(&output).start().unwrap();
    let footprint = wait_for_capture(&profile);
    disk.fill(64 << 10).unwrap();
    fill_to_the_last_block(disk.disk().path());
    assert!(is_capturing(&profile, &footprint));
    profile.signal(Signal::INT).unwrap();
    let outcome = profile.finish().unwrap();
    assert_eq!(outcome.code(), Some(FAILED), "{}", outcome.stderr);
    let path = output.join("capture");
    let words = [
        "cannot write",
        path.to_str().unwrap(),
        "nothing is left half-written",
    ];
    assert_one_line(&outcome, &words);
    // What they waited for is not lost.
    assert_eq!(Report::of(&outcome).0["window"]["ended"], "interrupted");
    assert_eq!(names_in(&output), [""; 0]);
    footprint.assert_gone();
}

/// Takes what [`FullDisk::fill`] has to leave for the file system's own use.
pub fn fill_to_the_last_block(directory: &Path) {
    let mut file = fs::File::create(directory.join("rest")).unwrap();
    while file
        .write_all(&[1; 4096])
        .and_then(|()| file.sync_all())
        .is_ok()
    {}
}
