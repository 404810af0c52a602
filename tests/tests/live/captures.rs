//! Captures that cannot be read: none is taken for a whole one, and none makes `profile` fall over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::gate;
use harness::profile::{Outcome, Profile};
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use harness::workspace;

use crate::support::{DONE, FAILED, assert_fails};

/// A small capture, and damaged copies of it.
struct Capture {
    bytes: Vec<u8>,
    report: String,
    copy: PathBuf,
    _home: Scratch,
}

/// Head of a capture file: magic, version, four bytes for later.
const HEAD_BYTES: usize = 16;
/// Head of a section: name, length, checksum, four bytes for later.
const SECTION_HEAD_BYTES: usize = 24;

impl Capture {
    fn take() -> Self {
        let ship = ShipOptions::default().start().unwrap();
        let home = Scratch::new("capture").unwrap();
        let output = home.path().join("run");
        let outcome = Profile::deep_dive(ship.pier(), 1)
            .output(&output)
            .run()
            .unwrap();
        assert_eq!(outcome.code(), Some(DONE), "{outcome:?}");
        Self {
            bytes: fs::read(output.join("capture")).unwrap(),
            report: outcome.stdout,
            copy: home.path().join("copy"),
            _home: home,
        }
    }

    /// Runs `profile report` on other bytes.
    fn report_of(&self, bytes: &[u8]) -> Outcome {
        fs::write(&self.copy, bytes).unwrap();
        let outcome = Profile::new(["report".as_ref(), self.copy.as_os_str()]).run();
        outcome.unwrap()
    }

    /// It cannot be read, because of `words`.
    fn assert_unreadable(&self, bytes: &[u8], words: &[&str]) {
        let outcome = self.report_of(bytes);
        assert_fails(&outcome, words);
        assert_fails(
            &outcome,
            &["cannot read the capture", self.copy.to_str().unwrap()],
        );
    }

    /// Name, first byte of the payload, and length of every section.
    fn sections(&self) -> Vec<(String, usize, usize)> {
        let mut sections = Vec::new();
        let mut at = HEAD_BYTES;
        while at < self.bytes.len() {
            let head = &self.bytes[at..at + SECTION_HEAD_BYTES];
            let name = String::from_utf8(head[..8].to_vec()).unwrap();
            let length = u64::from_le_bytes(head[8..16].try_into().unwrap()) as usize;
            at += SECTION_HEAD_BYTES;
            sections.push((name.trim_end_matches('\0').to_owned(), at, length));
            at += length;
        }
        sections
    }
}

#[test]
fn capture_that_is_cut_damaged_or_none() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let capture = Capture::take();
    let whole = &capture.bytes;
    assert_eq!(capture.report_of(whole).stdout, capture.report);
    let sections = capture.sections();
    assert_eq!(sections.last().map(|(name, ..)| name.as_str()), Some("end"));

    for cut in [0, 1, 8, HEAD_BYTES - 1] {
        capture.assert_unreadable(&whole[..cut], &["it is not a capture"]);
    }
    for (name, start, length) in &sections {
        let head = start - SECTION_HEAD_BYTES;
        for cut in [head, head + 1, start - 1] {
            capture.assert_unreadable(&whole[..cut], &["truncated", "between two sections"]);
        }
        if *length == 0 {
            continue;
        }
        let within = format!("within its section {name:?}");
        capture.assert_unreadable(&whole[..start + length / 2], &["truncated", &within]);
        let mut damaged = whole.clone();
        damaged[start + length / 2] ^= 0x10;
        let checksum = format!("the checksum of its section {name:?} does not fit");
        capture.assert_unreadable(&damaged, &["damaged", &checksum]);
    }

    let mut newer = whole.clone();
    let format = newer[8];
    newer[8] += 1;
    let (theirs, ours) = (
        format!("it has format {}", format + 1),
        format!("reads formats {} and {format}", format - 1),
    );
    capture.assert_unreadable(&newer, &[&theirs, &ours, "the version"]);
    let text = "a text file, and longer than the head of a capture\n";
    capture.assert_unreadable(text.as_bytes(), &["it is not a capture"]);
}

#[test]
fn no_flipped_bit_changes_a_report() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let capture = Capture::take();
    let heads = capture.sections().into_iter().flat_map(|(_, start, _)| {
        let head = start - SECTION_HEAD_BYTES;
        [head, head + 7, head + 8, head + 15, head + 16, head + 20]
    });
    let positions: Vec<usize> = (0..HEAD_BYTES).chain(heads).collect();
    for position in positions {
        let mut damaged = capture.bytes.clone();
        damaged[position] ^= 0x80;
        let outcome = capture.report_of(&damaged);
        match outcome.code() {
            Some(FAILED) => assert_fails(&outcome, &["cannot read the capture"]),
            _ => assert_eq!(
                outcome.stdout, capture.report,
                "byte {position}: {outcome:?}"
            ),
        }
    }
}

#[test]
fn capture_that_is_not_there() {
    let home = Scratch::new("errors").unwrap();
    let report = |path: &Path| {
        Profile::new(["report".as_ref(), path.as_os_str()])
            .run()
            .unwrap()
    };
    let absent = home.path().join("absent");
    let path = absent.to_str().unwrap();
    assert_fails(
        &report(&absent),
        &["cannot open the capture", path, "No such file"],
    );
    assert_fails(
        &report(home.path()),
        &["the capture", home.path().to_str().unwrap(), "directory"],
    );
}

#[test]
fn reader_that_goes_away_is_no_failure() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let capture = Capture::take();
    fs::write(&capture.copy, &capture.bytes).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(workspace::profile_binary().unwrap());
    command.arg("report").arg(&capture.copy).stdout(writer);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(DONE));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
