//! Recorded captures in, golden reports out: no root, no clock, no ship.
//!
//! `UPDATE_GOLDEN=1 cargo test -p profiler --test golden` writes them anew; look at the difference
//! before you commit it. How the captures were recorded: tests/fixtures/README.md.

#![expect(clippy::expect_used, reason = "a test says by a panic what is wrong")]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use profiler::attribute::{Leaf, Party};
use profiler::capture::file::{self, FileError};
use profiler::host::Reading;
use profiler::model::Capture;
use profiler::render::detail::{self, Detail};
use profiler::render::flamegraph::{self, Picture, render};
use profiler::render::{json, text};
use profiler::report::{Report, report};

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// The recorded captures, by name.
fn captures() -> Vec<(String, Vec<u8>)> {
    let mut captures: Vec<(String, Vec<u8>)> = fs::read_dir(directory("fixtures"))
        .expect("the fixtures are there")
        .flatten()
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "capture")
        })
        .map(|entry| {
            let name = entry
                .path()
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (name, fs::read(entry.path()).expect("a fixture can be read"))
        })
        .collect();
    captures.sort();
    assert!(!captures.is_empty());
    captures
}

fn read(bytes: &[u8]) -> Result<Capture, FileError> {
    file::read(&mut Cursor::new(bytes))
}

fn compare(name: &str, found: &str) {
    let path = directory("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).expect("a golden report can be written");
        return;
    }
    let golden = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; see the top of this file", path.display()));
    assert!(
        golden == found,
        "{name} differs from the golden one; see the top of this file\n{found}"
    );
}

#[test]
fn reports_are_the_golden_ones() {
    for (name, bytes) in captures() {
        let capture = read(&bytes).expect("a fixture is a capture");
        let report = report(&capture);
        compare(&format!("{name}.txt"), &text::render(&report));
        compare(
            &format!("{name}.json"),
            &json::render(&report).expect("JSON"),
        );
    }
}

#[test]
fn tables_are_the_golden_ones() {
    for (name, detail, table) in [
        ("quota", Detail::Fixes, "fixes"),
        ("ames", Detail::Events, "events"),
        ("ames", Detail::Ames, "ames"),
        ("disk", Detail::Files, "files"),
    ] {
        let text = detail::render(&report(&recorded(name)), detail);
        for line in text.lines() {
            let command = line.starts_with("    do   ") || line.starts_with("    undo ");
            assert!(command || line.chars().count() <= 80, "{name}: {line}");
        }
        compare(&format!("{name}-{table}.txt"), &text);
    }
}

#[test]
fn the_readme_shows_a_real_screen() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).expect("a README");
    let screen = fs::read_to_string(directory("golden").join("disk.txt")).expect("a golden report");
    assert!(
        readme.contains(&screen),
        "copy golden/disk.txt into README.md"
    );
}

fn healthy() -> Capture {
    recorded("healthy")
}

fn recorded(name: &str) -> Capture {
    let found = captures().into_iter().find(|(found, _)| found == name);
    read(&found.expect("a fixture").1).expect("a capture")
}

#[test]
fn what_could_not_be_attached_is_named_and_never_zero() {
    let mut capture = healthy();
    let lost = "udp_fail_queue_rcv_skb";
    let probe = capture
        .meta
        .probes
        .iter_mut()
        .find(|probe| probe.name == lost);
    probe.expect("a probe").error = Some("this kernel has no such tracepoint".to_owned());
    let report = report(&capture);
    let named = |line: &String| line.starts_with("not measured: ") && line.contains(lost);
    assert!(
        report.incomplete.iter().any(named),
        "{:?}",
        report.incomplete
    );
    assert_eq!(report.udp.as_ref().and_then(|udp| udp.dropped), None);
    let not_the_cause = report.not_the_cause.join(" ");
    assert!(!not_the_cause.contains("lost datagrams"), "{not_the_cause}");
    assert!(text::render(&report).contains("INCOMPLETE  not measured: "));
}

#[test]
fn a_ship_that_is_not_up_is_never_called_healthy() {
    let mut down = healthy();
    down.meta.ship.mars = None;
    let mut booting = healthy();
    booting.meta.ship.booting = true;
    for (capture, words) in [(down, "no Nock process"), (booting, "is booting")] {
        let report = report(&capture);
        let sentence = &report.verdict.sentence;
        assert!(sentence.contains(words), "{sentence}");
        assert!(!text::render(&report).contains("Nothing is wrong"));
    }
}

#[test]
fn the_same_capture_gives_the_same_bytes() {
    for (name, bytes) in captures() {
        let once = || {
            let capture = read(&bytes).expect("a fixture is a capture");
            let svgs = flamegraph::KINDS.map(|(kind, _)| render(&Picture::of(&capture, kind)).ok());
            (json::render(&report(&capture)).expect("JSON"), svgs)
        };
        assert!(once() == once(), "{name}");
    }
}

fn all_reports() -> Vec<(String, Report)> {
    let read = |(name, bytes): (String, Vec<u8>)| (name, report(&read(&bytes).expect("a capture")));
    captures().into_iter().map(read).collect()
}

#[test]
fn every_thread_budget_sums_to_its_wall_time() {
    for (name, report) in all_reports() {
        for thread in &report.threads {
            let blocked: u64 = thread.blocked.iter().map(|line| line.total_ns).sum();
            let sum = thread.on_cpu_ns + thread.run_queue_ns + blocked + thread.unexplained_ns;
            assert_eq!(sum, thread.wall_ns, "{name}, thread {}", thread.tid);
        }
    }
}

#[test]
fn shares_sum_to_the_busy_time_and_parts_to_their_cause() {
    for (name, report) in all_reports() {
        let total: u64 = report.shares.iter().map(|share| share.total_ns).sum();
        assert_eq!(total, report.busy_ns, "{name}");
        for share in &report.shares {
            let parts: u64 = share.parts.iter().map(|part| part.total_ns).sum();
            assert_eq!(parts, share.total_ns, "{name}, {:?}", share.cause);
        }
    }
}

/// A capture with a hypervisor that took `stolen_ns`, and idle time that did not rise.
fn stolen_from(name: &str, stolen_ns: u64) -> Capture {
    let found = captures().into_iter().find(|(one, _)| one == name);
    let (_, bytes) = found.expect("a fixture of this name");
    let mut capture = read(&bytes).expect("a capture");
    let meta = &mut capture.meta;
    let before = meta.counters_start.scheduler.known().cloned();
    let mut after = before.expect("the fixture knows its counters");
    after.steal_ns_by_cpu[0] += stolen_ns;
    meta.counters_end.scheduler = Reading::Known(after);
    capture
}

#[test]
fn stolen_time_is_the_providers_fault() {
    let capture = stolen_from("cpu", 7_000_000_000);
    let report = report(&capture);
    let total: u64 = report.shares.iter().map(|share| share.total_ns).sum();
    assert_eq!(total, report.busy_ns);
    let mut parts = report.shares.iter().flat_map(|share| &share.parts);
    let stolen = parts.find(|part| part.leaf == Leaf::Stolen);
    let stolen = stolen.expect("a leaf");
    assert!(stolen.estimated && stolen.ratio > 0.8, "{stolen:?}");
    let sentence = &report.verdict.sentence;
    assert!(
        sentence.contains("your provider, not your ship"),
        "{sentence}"
    );
    assert_eq!(report.ship_or_host.parts[0].party, Party::Hypervisor);
    let parts = report.ship_or_host.parts.iter();
    let split: u64 = parts.map(|part| part.total_ns).sum();
    assert_eq!(split, report.ship_or_host.stalled_ns);
}

#[test]
fn steal_that_is_not_told_is_not_none() {
    let told = |report: &Report| {
        report
            .not_the_cause
            .iter()
            .any(|line| line == "steal (none)")
    };
    let none = report(&stolen_from("healthy", 0));
    assert!(told(&none), "{:?}", none.not_the_cause);
    assert_eq!(none.neighbours.steal.map(|steal| steal.stolen_ns), Some(0));
    let mut capture = stolen_from("healthy", 0);
    capture.meta.counters_end.scheduler = Reading::unknown("/proc/stat could not be read");
    let unknown = report(&capture);
    assert!(!told(&unknown), "{:?}", unknown.not_the_cause);
    assert!(unknown.neighbours.steal.is_none());
}

#[test]
fn the_text_fits_the_screen_except_for_commands() {
    for (name, report) in all_reports() {
        let text = text::render(&report);
        assert!(text.lines().count() <= 45, "{name} is longer than a screen");
        for line in text.lines() {
            let command = line.starts_with("    do   ") || line.starts_with("    undo ");
            assert!(command || line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn a_capture_cut_anywhere_is_refused_and_never_half_read() {
    let (name, bytes) = &captures()[0];
    let step = (bytes.len() / 500).max(1);
    for length in (0..bytes.len())
        .step_by(step)
        .chain(bytes.len() - 30..bytes.len())
    {
        let error = read(&bytes[..length]).expect_err("a cut capture");
        let expected = matches!(error, FileError::Truncated { .. } | FileError::NotACapture);
        assert!(expected, "{name} cut at {length}: {error}");
    }
}

#[test]
fn a_flipped_bit_is_noticed_by_the_checksums() {
    let (name, bytes) = &captures()[0];
    let step = (bytes.len() / 200).max(1);
    for at in (0..bytes.len()).step_by(step) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        // Padding is not covered; what is read must then be the same.
        if let Ok(capture) = read(&damaged) {
            let whole = read(bytes).expect("a capture");
            assert_eq!(
                json::render(&report(&capture)).expect("JSON"),
                json::render(&report(&whole)).expect("JSON"),
                "{name}: byte {at}"
            );
        }
    }
}

/// Checksums keep out accidents, not malice: whoever makes a file can make its checksums too.
#[test]
fn a_hostile_capture_with_right_checksums_ends_in_an_error_or_a_report() {
    let (_, bytes) = &captures()[0];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..200 {
        let mut hostile = bytes.clone();
        for _ in 0..20 {
            let at = 16 + (random() as usize) % (hostile.len() - 16);
            hostile[at] = random() as u8;
        }
        mend_checksums(&mut hostile);
        if let Ok(capture) = read(&hostile) {
            let report = report(&capture);
            let text = text::render(&report);
            assert!(!text.contains('\u{1b}'), "a terminal escape got through");
            json::render(&report).expect("JSON");
            for (kind, _) in flamegraph::KINDS {
                let _ = render(&Picture::of(&capture, kind));
            }
        }
    }
}

fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 16;
    while let Some(head) = bytes.get(at..at + 24) {
        let length = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes")) as usize;
        let Some(payload) = at
            .checked_add(24)
            .and_then(|start| bytes.get(start..start.checked_add(length)?))
        else {
            return;
        };
        let checksum = crc32fast::hash(payload);
        bytes[at + 16..at + 20].copy_from_slice(&checksum.to_le_bytes());
        at += 24 + length;
    }
}
