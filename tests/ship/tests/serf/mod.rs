//! The reference ship as one of vere 3.5: does it show what `vere.md` says of those?

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::common::{Ship, cmdline, file_names, poll};

const SERF: [&str; 2] = ["--generation", "serf"];

fn ns(line: &Value, key: &str) -> u64 {
    line[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {line}"))
}

fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn the_king_has_the_lock_the_log_and_the_workers() {
    let ship = Ship::start(&SERF);
    let serf = cmdline(ship.mars);
    let pier = ship.pier().canonicalize().expect("the pier exists");
    assert_eq!(serf[1], "serf");
    assert_eq!(serf[2], pier.to_str().expect("a path in UTF-8"));
    assert_eq!(serf[4..], ["128", "50000", "31", "0", "0", "0", "50000"]);
    let lock = fs::read_to_string(ship.pier().join(".vere.lock")).expect("a lock file");
    assert_eq!(lock, format!("{}\n", ship.king));
    poll("four threads of the king's pool", || {
        let threads = file_names(format!("/proc/{}/task", ship.king));
        let name = |tid| fs::read_to_string(format!("/proc/{}/task/{tid}/comm", ship.king));
        let names = threads.iter().filter_map(|tid| name(tid).ok());
        names.filter(|name| name == "libuv-worker\n").count() == 4
    });
    assert_eq!(ship.thread_names(), [""; 0]);
}

#[test]
fn effects_wait_for_the_commit_and_the_serf_does_not() {
    let options = ["--events-per-second", "100", "--bail-share", "0.1"];
    let ship = Ship::start(&[&SERF[..], &options].concat());
    std::thread::sleep(Duration::from_secs(2));
    let truth = ship.stop();
    let (applied, computed) = (of(&truth.king, "applied"), of(&truth.mars, "computed"));
    let commits = of(&truth.king, "commit");
    assert!(applied.len() > 100, "{} events", applied.len());
    assert_eq!(applied.len(), computed.len());
    assert!(computed.iter().any(|line| line["bailed"] == true));
    assert_eq!(of(&truth.mars, "commit"), [] as [&Value; 0]);
    for (index, (king, serf)) in applied.iter().zip(&computed).enumerate() {
        let number = index as u64 + 1;
        assert_eq!((ns(king, "number"), ns(serf, "number")), (number, number));
        let holds = |commit: &&&Value| {
            let first = ns(commit, "first_event");
            (first..first + ns(commit, "events")).contains(&number)
        };
        let commit = commits.iter().find(holds).expect("a commit");
        let way = [
            ns(king, "arrival_ktime_ns"),
            ns(king, "sent_ktime_ns"),
            ns(serf, "compute_start_ktime_ns"),
            ns(serf, "compute_end_ktime_ns"),
            ns(serf, "answered_ktime_ns"),
            ns(king, "commit_queued_ktime_ns"),
            ns(commit, "start_ktime_ns"),
            ns(commit, "end_ktime_ns"),
            ns(king, "released_ktime_ns"),
        ];
        assert!(way.is_sorted(), "{way:?}");
    }
}

#[test]
fn a_killed_king_feeds_its_serf_what_the_snapshot_lacks() {
    let mut ship = Ship::start(&[&SERF[..], &["--events-per-second", "100"]].concat());
    poll("some events", || ship.event_number() >= 20);
    ship.kill();
    let ship = ship.restart(&[&SERF[..], &["--events-per-second", "0"]].concat());
    let number = ship.event_number();
    assert!(number >= 10, "{number}");
    let truth = ship.stop();
    // The snapshot at the end is the first since then.
    let snapshots = of(&truth.mars, "snapshot");
    assert_eq!(ns(snapshots.last().expect("one"), "number"), number);
}
