//! Tests that whatever ends a run, nothing of it stays on the machine.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::faults::{CpuHogs, IopsLimits, LoopDisk, SlowDisk};
use crate::process::{Process, Terminal, is_running, poll_until, wait_until_ended};
use crate::{gate, scratch};

/// Run by the other tests in a process of their own: changes the machine and waits to be ended.
#[test]
#[ignore = "runs until it is ended"]
fn victim() {
    let disk = LoopDisk::new(64 << 20).unwrap();
    let limits = IopsLimits {
        read: None,
        write: Some(100),
    };
    let _slow = SlowDisk::start(&disk, limits, &[]).unwrap();
    let hogs = CpuHogs::start(1, &[]).unwrap();
    println!("\nready {} {}", disk.path().display(), hogs.pids()[0]);
    std::thread::sleep(Duration::from_secs(60));
}

struct Victim {
    process: Process,
    mount_point: String,
    hog: u32,
}

fn start_victim(directory: &Path) -> Victim {
    let log = directory.join("log");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "interrupt::victim", "--ignored", "--nocapture"]);
    command
        .stdout(fs::File::create(&log).unwrap())
        .stderr(Stdio::null());
    let process = Process::spawn(&mut command, Terminal::Own).unwrap();
    let (mount_point, hog) = poll_until("the victim", Duration::from_secs(20), || {
        let text = fs::read_to_string(&log).unwrap();
        let words = text.split_once("ready ").and_then(|(_, rest)| {
            let (mount_point, hog) = rest.split_once('\n')?.0.split_once(' ')?;
            Some((mount_point.to_owned(), hog.parse().unwrap()))
        });
        Ok(words.ok_or(text))
    })
    .unwrap();
    assert!(is_running(hog));
    Victim {
        process,
        mount_point,
        hog,
    }
}

fn traces_of(pid: u32) -> String {
    let mark = format!("profile-harness-{pid}-");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let temporary = std::env::temp_dir();
    let cgroups = ["/sys/fs/cgroup", "/sys/fs/cgroup/blkio"].map(Path::new);
    let directories = [temporary.as_path(), cgroups[0], cgroups[1]]
        .into_iter()
        .filter_map(|path| fs::read_dir(path).ok())
        .flatten()
        .map(|entry| entry.unwrap().path().display().to_string());
    let all: Vec<String> = mounts
        .lines()
        .map(str::to_owned)
        .chain(directories)
        .collect();
    all.into_iter()
        .filter(|line| line.contains(&mark))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn interrupt_leaves_nothing() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let log = scratch::Scratch::new("log").unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let mut victim = start_victim(log.path());
        assert!(traces_of(victim.process.pid()).contains(&victim.mount_point));
        victim.process.signal(signal).unwrap();
        let status = victim.process.wait(Duration::from_secs(20)).unwrap();
        assert_eq!(status.code(), Some(130));
        assert_eq!(traces_of(victim.process.pid()), "");
        assert!(!is_running(victim.hog));
    }
}

#[test]
fn next_run_removes_what_a_killed_one_left() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let log = scratch::Scratch::new("log").unwrap();
    let mut victim = start_victim(log.path());
    let pid = victim.process.pid();
    victim.process.signal(Signal::KILL).unwrap();
    victim.process.wait(Duration::from_secs(20)).unwrap();
    assert!(traces_of(pid).contains(&victim.mount_point));
    scratch::remove_stale();
    assert_eq!(traces_of(pid), "");
    wait_until_ended(victim.hog, Duration::from_secs(10)).unwrap();
}
