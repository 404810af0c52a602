//! `profile history` as a command, on stores that the library writes.

#![expect(clippy::expect_used, reason = "a test says by a panic what is wrong")]

use std::path::Path;
use std::process::Command;

use profiler::model::{
    Histogram, NS_PER_S, OwnCost, ShipKey, Window, WindowVerdict, histogram_name,
};
use profiler::store::Store;
use tempfile::TempDir;

/// 2026-03-01T00:00:00Z.
const START_UNIX_NS: u64 = 1_772_323_200 * NS_PER_S;

fn window(label: &str, minute: u64) -> Window {
    let mut commits = Histogram::default();
    commits.add_value(38_000_000);
    Window {
        ship: ShipKey {
            label: label.to_owned(),
            pier: format!("/piers/{label}"),
        },
        vere_version: None,
        start_unix_ns: START_UNIX_NS + minute * 60 * NS_PER_S,
        duration_ns: 60 * NS_PER_S,
        clock_step_ns: 0,
        events: None,
        budgets: Default::default(),
        leaves: Default::default(),
        histograms: [(histogram_name::COMMIT.to_owned(), commits)].into(),
        stacks: Default::default(),
        udp: None,
        faults: None,
        loom: None,
        memory: None,
        disk_space: None,
        verdict: WindowVerdict {
            kind: "stalled".to_owned(),
            cause: Some("disk".to_owned()),
            sentence: "Disk.".to_owned(),
        },
        findings: Vec::new(),
        own_cost: OwnCost::default(),
        losses: Default::default(),
        not_measured: vec!["events: their numbers could not be read".to_owned()],
        cut_short: None,
    }
}

/// Exit status, stdout, stderr.
fn history(store: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_profile"))
        .args(["history", "--store"])
        .arg(store)
        .args(["--until", "2026-03-01T02:00:00Z"])
        .args(more)
        .output()
        .expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is UTF-8");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Fails with status 1 and one line that holds `words`.
fn fails(store: &Path, more: &[&str], words: &str) {
    let (status, stdout, stderr) = history(store, more);
    assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(
        stderr.starts_with("profile: ") && stderr.contains(words),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn the_three_formats_agree_and_a_sampler_may_write_meanwhile() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("store.db");
    let mut store = Store::create_or_open(&path).expect("it opens");
    for minute in (0..40).chain(80..120) {
        store
            .append(&window("~zod", minute))
            .expect("there is room");
    }
    let since = ["--since", "2026-02-28T00:00:00Z", "--every", "20m"];
    let of = |more: &[&str]| {
        let (status, stdout, stderr) = history(&path, &[&since[..], more].concat());
        assert_eq!((status, stderr.as_str()), (Some(0), ""));
        stdout
    };
    let text = of(&[]);
    // The time before the first window is not shown: the ship was not sampled yet.
    assert!(
        text.contains("2026-03-01T00:00:00Z to 2026-03-01T02:00:00Z   80 windows"),
        "{text}"
    );
    assert!(text.contains("NO SAMPLER  40 min in one gap"), "{text}");
    assert!(
        text.contains("NOT MEASURED  in 80 windows: events"),
        "{text}"
    );
    let csv = of(&["--csv"]);
    assert_eq!(csv.lines().count(), 7);
    assert_eq!(csv.matches(",gap,").count(), 2);
    assert_eq!(csv, of(&["--format", "csv"]));
    let json = of(&["--json", "--ship", "zod"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(6));
    assert_eq!(
        json["rows"][0]["sum"]["histograms"]["commit_ns"]["count"],
        20
    );
    assert!(json["rows"][0]["sum"]["events"].is_null());
    assert_eq!(json["total"]["windows"], 80);
}

#[test]
fn what_cannot_be_shown_is_one_sentence() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("store.db");
    fails(&path, &[], "there is no store ");
    let mut store = Store::create_or_open(&path).expect("it opens");
    fails(&path, &[], "is empty");
    store.append(&window("~zod", 0)).expect("there is room");
    fails(&path, &["--since", "30m"], "--since must be before --until");
    fails(
        &path,
        &["--since", "2026-03-01T01:00:00Z"],
        "no window of ~zod from 2026-03-01T01:00:00Z",
    );
    fails(&path, &["--ship", "~bus"], "but of ~zod (/piers/~zod)");
    store.append(&window("~bus", 0)).expect("there is room");
    fails(&path, &[], "name one with --ship");
    std::fs::write(folder.path().join("other"), "text").expect("it writes");
    fails(&folder.path().join("other"), &[], "is no store of profile");
    fails(folder.path(), &[], "is a directory");
}
