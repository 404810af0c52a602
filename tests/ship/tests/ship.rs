//! The reference ship, started for a moment: does it show what `vere.md` says of a 4.6 ship?

#![expect(
    clippy::expect_used,
    reason = "helpers of tests may fail the test like tests themselves"
)]

mod common;
mod serf;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;
use std::time::Duration;

use common::{Ship, cmdline, poll};
use noun::Noun;

const LOOM_BASE: u64 = 0x2_0000_0000;

#[test]
fn processes_look_like_king_and_mars() {
    let ship = Ship::start(&[]);
    let mars = cmdline(ship.mars);
    let pier = ship.pier().canonicalize().expect("the pier exists");
    let pairs: Vec<_> = mars[2..]
        .chunks(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
        .collect();
    assert_eq!(mars[0], cmdline(ship.king)[0]);
    assert_eq!(mars[1], "work");
    let expected = [
        ("--snap-dir", pier.to_str().expect("a path in UTF-8")),
        ("--runtime-config", "128"),
        ("--temporary-cache-size", "50000"),
        ("--loom", "31"),
        ("--toss", "0"),
        ("--persistent-cache-size", "50000"),
        ("--snap-time", "120"),
    ];
    assert_eq!(pairs[..7], expected);
    assert_eq!(pairs[7].0, "--lmdb-map-size");
    for pid in [ship.king, ship.mars] {
        assert_eq!(
            fs::read_to_string(format!("/proc/{pid}/comm")).expect("a process"),
            "reference-ship\n"
        );
    }
    // The pool starts with the first commit.
    poll("four threads of the pool", || {
        ship.thread_names() == ["libuv-worker"; 4]
    });
    let streams = format!("/proc/{}/fd", ship.mars);
    assert!(
        common::links(&streams)
            .iter()
            .filter(|link| link.starts_with("socket:"))
            .count()
            >= 3
    );
}

#[test]
fn mars_holds_the_lock_of_the_pier() {
    let ship = Ship::start(&[]);
    let lock = ship.pier().join(".vere.lock");
    assert_eq!(
        fs::read_to_string(&lock).expect("a lock file"),
        format!("{}\n", ship.mars)
    );
    let inode = fs::metadata(&lock).expect("a lock file").ino();
    let locks = fs::read_to_string("/proc/locks").expect("the kernel's locks");
    let line = locks
        .lines()
        .find(|line| line.contains(&format!(":{inode} ")))
        .expect("the lock is held");
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(
        words[1..5],
        ["POSIX", "ADVISORY", "WRITE", &ship.mars.to_string()]
    );
    assert_eq!(words[6..8], ["0", "0"]);

    let second = Command::new(common::PROGRAM)
        .arg(ship.pier())
        .output()
        .expect("a second start");
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        message.contains(&format!(
            "is in use by process {}: stop that ship first",
            ship.mars
        )),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1, "{message}");
    // The ship that runs is not disturbed.
    assert_eq!(
        ship.ask(&Noun::path(["live"])),
        Noun::cell(Noun::null(), Noun::null())
    );
}

#[test]
fn the_loom_holds_the_home_struct() {
    let ship = Ship::start(&["--events-per-second", "50", "--heap-pages", "256"]);
    let memory = fs::File::open(format!("/proc/{}/mem", ship.mars)).expect("the memory of mars");
    let u64_at = |offset| {
        let mut bytes = [0; 8];
        memory
            .read_exact_at(&mut bytes, LOOM_BASE + offset)
            .expect("the home page");
        u64::from_le_bytes(bytes)
    };
    let u32_at = |offset| (u64_at(offset & !7) >> (offset % 8 * 8)) as u32;
    assert_eq!((u64_at(0), u64_at(8)), (5, 0x54));
    let (hat, mat, rut) = (u32_at(0x30), u32_at(0x34), u32_at(0x38));
    assert_eq!((hat, mat, rut), (257 * 4096, 0x1fff_fffc, 0x1000));
    poll("an event number", || u64_at(16) > 3);
    // While an event computes it has a road of its own, whose parent is the home road.
    poll("an event in progress", || {
        let kid = u64::from(u32_at(0x24));
        kid != 0 && u32_at(kid * 4) == 8
    });
    let before = u64_at(16);
    poll("a later event number", || u64_at(16) > before);

    let maps = fs::read_to_string(format!("/proc/{}/maps", ship.mars)).expect("the maps of mars");
    let loom: Vec<_> = maps
        .lines()
        .filter(|line| line.starts_with('2') && line.find('-') == Some(9))
        .collect();
    assert!(
        loom.iter()
            .any(|line| line.contains("r--p") && line.ends_with("/.urb/chk/image.bin")),
        "{maps}"
    );
    assert_eq!(
        loom.iter().filter(|line| line.contains("---p")).count(),
        1,
        "one guard page: {maps}"
    );
    let spin = format!("/dev/shm/spin_stack_page_~zod_{}", ship.king);
    assert!(
        maps.lines()
            .any(|line| line.contains("rw-s") && line.ends_with(&spin)),
        "{maps}"
    );
    // What is in use may be more: an event may be under way.
    let page = fs::read(spin).expect("the spin stack");
    assert_eq!(&page[4..16], b"\0\0\0\0root\x04\0\0\0");
}

#[test]
fn conn_sock_answers_as_4_6_does() {
    let ship = Ship::start(&["--ship", "~sampel-palnet"]);
    let some = |answer| Noun::cell(Noun::null(), answer);
    assert_eq!(ship.ask(&Noun::path(["v"])), some(Noun::cord("4.6")));
    assert_eq!(
        ship.ask(&Noun::path(["who"])),
        some(Noun::from(1_624_961_343_u64))
    );
    assert_eq!(
        ship.ask(&Noun::path(["port", "ames"])),
        some(Noun::from(u64::from(ship.port)))
    );
    assert_eq!(ship.ask(&Noun::path(["no-such"])), Noun::null());
    let info = format!("{:?}", ship.ask(&Noun::path(["info"])));
    assert!(info.contains("%lord") && info.contains("%event"), "{info}");
    // A group is `[name %| list]`, a value `[name %& value]`.
    for part in [
        "[%work 1 [%auto 1 [%http 1 [",
        "[%moat 1 [%pending-inbound 0 0] 0]",
    ] {
        assert!(info.contains(part), "{part} in {info}");
    }

    let once = Noun::tuple([
        Noun::from(1_u64),
        Noun::cord("once"),
        Noun::null(),
        Noun::null(),
        Noun::path(["zen", "lag"]),
    ]);
    let answer = ship.request("peek", once);
    let [tag, unit, omen, _path, mark, lag] =
        answer.as_tuple().expect("[%peek ~ %omen path mark noun]");
    assert!(tag.is_cord("peek") && unit.is_null() && omen.is_cord("omen") && mark.is_cord("noun"));
    assert_eq!(lag.as_u64(), Some(1));
    assert_eq!(
        ship.request("peek", Noun::null()),
        Noun::cell(Noun::cord("peek"), Noun::null())
    );

    let bail = ship.request("nonsense", Noun::null());
    let [tag, code, text] = bail.as_tuple().expect("[%bail code text]");
    assert!(tag.is_cord("bail") && text.is_cord("tag-unknown"));
    assert_eq!(code.as_u64(), Some(u64::from(-3_i32 as u32)));

    let work = Noun::tuple([
        Noun::cord("work"),
        Noun::from(5000_u64),
        Noun::from(3_u64),
        Noun::from(1_u64),
    ]);
    let ovum = Noun::tuple([
        Noun::null(),
        Noun::path(["", "test"]),
        Noun::cell(Noun::cord("test"), work),
    ]);
    assert_eq!(
        ship.request("ovum", ovum),
        Noun::cell(Noun::cord("news"), Noun::cord("done"))
    );
}

#[test]
fn upkeep_is_done_when_asked_for() {
    let ship = Ship::start(&["--events-per-second", "0", "--heap-pages", "256"]);
    // The answer comes before the work, and the read waits for that.
    assert_eq!(
        ship.request("urth", Noun::cord("pack")),
        Noun::loobean(true)
    );
    let answer = ship.ask(&Noun::path(["mass"]));
    let [tag, quac, list] = answer.as_tuple().expect("[%peel %quac list]");
    assert!(tag.is_cord("peel") && quac.is_cord("quac") && list.as_list().is_some());
    let truth = ship.stop();
    for event in ["pack", "mass"] {
        let found = truth.mars.iter().filter(|line| line["event"] == event);
        assert_eq!(found.count(), 1, "{event}");
    }
}

#[test]
fn a_snapshot_leaves_the_heap_in_the_image() {
    let ship = Ship::start(&[
        "--snap-seconds",
        "1",
        "--heap-pages",
        "128",
        "--events-per-second",
        "50",
    ]);
    let image = fs::File::open(ship.pier().join(".urb/chk/image.bin")).expect("an image");
    let saved = || {
        let mut bytes = [0; 8];
        image
            .read_exact_at(&mut bytes, 16)
            .expect("the event number in the image");
        u64::from_le_bytes(bytes)
    };
    poll("a snapshot with events", || saved() > 0);
    assert_eq!(image.metadata().expect("an image").len(), 129 * 16384);
    let pier = ship.stop();
    let last = pier
        .mars
        .iter()
        .filter(|line| line["event"] == "computed")
        .count() as u64;
    assert_eq!(saved(), last);
    let names: Vec<_> = common::file_names(pier.path().join(".urb/chk"));
    assert_eq!(names, ["image.bin"]);
    let snapshots: Vec<_> = pier
        .mars
        .iter()
        .filter(|line| line["event"] == "snapshot")
        .collect();
    assert_eq!(snapshots[0]["pages"], 129);
    // At exit there is another one if there was an event since.
    assert!(snapshots.len() >= 2, "one to begin with, one by the timer");
}

#[test]
fn ground_truth_is_consistent() {
    let ship = Ship::start(&[
        "--events-per-second",
        "100",
        "--bail-share",
        "0.1",
        "--compute-us",
        "3000",
    ]);
    std::thread::sleep(Duration::from_secs(2));
    let truth = ship.stop();
    let applied: Vec<_> = truth
        .king
        .iter()
        .filter(|line| line["event"] == "applied")
        .collect();
    let computed: Vec<_> = truth
        .mars
        .iter()
        .filter(|line| line["event"] == "computed")
        .collect();
    let released: Vec<_> = truth
        .mars
        .iter()
        .filter(|line| line["event"] == "released")
        .collect();
    assert!(applied.len() > 100, "{} events", applied.len());
    let exit = truth.king.last().expect("a line");
    assert_eq!(
        (&exit["event"], &exit["clean"]),
        (&"exit".into(), &true.into())
    );
    let ns = |line: &serde_json::Value, key: &str| {
        line[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key} in {line}"))
    };
    for (index, ((king, mars), release)) in applied.iter().zip(&computed).zip(&released).enumerate()
    {
        assert_eq!(
            (ns(king, "number"), ns(mars, "number")),
            (index as u64 + 1, index as u64 + 1)
        );
        let commit = truth
            .mars
            .iter()
            .filter(|line| line["event"] == "commit")
            .find(|line| {
                (ns(line, "first_event")..)
                    .take(ns(line, "events") as usize)
                    .any(|number| number == index as u64 + 1)
            })
            .expect("a commit of the event");
        let times = [
            ns(king, "arrival_ktime_ns"),
            ns(king, "sent_ktime_ns"),
            ns(mars, "received_ktime_ns"),
            ns(mars, "compute_start_ktime_ns"),
            ns(mars, "compute_end_ktime_ns"),
            ns(mars, "commit_queued_ktime_ns"),
            ns(commit, "start_ktime_ns"),
            ns(commit, "data_sync_start_ktime_ns"),
            ns(commit, "data_sync_end_ktime_ns"),
            ns(commit, "end_ktime_ns"),
            ns(release, "released_ktime_ns"),
            ns(king, "applied_ktime_ns"),
        ];
        assert!(times.is_sorted(), "event {}: {times:?}", index + 1);
    }
    let bailed = computed
        .iter()
        .filter(|line| line["bailed"] == true)
        .count();
    assert!(
        (computed.len() / 10).abs_diff(bailed) <= 1,
        "{bailed} of {}",
        computed.len()
    );
}

#[test]
fn packets_become_events_and_are_acknowledged() {
    let ship = Ship::start(&["--events-per-second", "0", "--compute-us", "500"]);
    let peer = Command::new(common::PROGRAM)
        .args([
            "peer",
            "--port",
            &ship.port.to_string(),
            "--packets-per-second",
            "100",
            "--seconds",
            "1",
            "--bursts",
            "4",
        ])
        .output()
        .expect("the peer runs");
    let counts: serde_json::Value = serde_json::from_slice(&peer.stdout).expect("JSON");
    let truth = ship.stop();
    let exit = truth.king.last().expect("a line");
    assert_eq!(counts["sent"], 100);
    assert_eq!(
        (&exit["packets_received"], &exit["packets_acknowledged"]),
        (&counts["sent"], &counts["acknowledged"])
    );
    assert_eq!(exit["number"], 100);
    assert_eq!(
        (&exit["packets_invalid"], &exit["packets_dropped"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn a_clean_exit_leaves_nothing_behind() {
    let ship = Ship::start(&[]);
    let (king, socket) = (ship.king, ship.pier().join(".urb/conn.sock"));
    assert!(socket.exists());
    let truth = ship.stop();
    assert!(!socket.exists() && !truth.path().join(".vere.lock").exists());
    assert!(
        !fs::exists(format!("/dev/shm/spin_stack_page_~zod_{king}")).expect("a look into /dev/shm")
    );
}

#[test]
fn a_killed_ship_replays_what_the_snapshot_lacks() {
    let mut ship = Ship::start(&["--events-per-second", "100"]);
    poll("some events", || ship.event_number() >= 20);
    let before = ship.event_number();
    ship.kill();
    assert!(ship.pier().join(".vere.lock").exists(), "a stale lock");
    let ship = ship.restart(&["--events-per-second", "0"]);
    assert!(
        ship.event_number() >= before,
        "{} of {before}",
        ship.event_number()
    );
    let lock = fs::read_to_string(ship.pier().join(".vere.lock")).expect("a lock file");
    assert_eq!(
        lock.lines().count(),
        2,
        "the line of the dead and that of the living"
    );
    let truth = ship.stop();
    let replay = truth
        .mars
        .iter()
        .find(|line| line["event"] == "replay")
        .expect("a replay");
    assert_eq!(replay["first_event"], 1);
}

#[test]
fn a_crash_of_mars_ends_the_king() {
    let mut ship = Ship::start(&[]);
    common::signal(ship.mars, "KILL");
    let (status, mut errors) = ship.wait();
    let mut message = String::new();
    errors.read_to_string(&mut message).expect("text");
    assert_eq!(status.code(), Some(1));
    assert!(
        message.contains("mars unexpectedly shut down (signal: 9"),
        "{message}"
    );
}

#[test]
fn wrong_paths_are_told_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("a file");
    let output = Command::new(common::PROGRAM)
        .arg(&file)
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("is not a directory: name a pier"),
        "{message}"
    );
}
