//! Instants of a live 4.6 ship, each stopped while it computed: `../shared/fixtures/loom`.

use std::collections::BTreeMap;
use std::path::Path;

use profiler_common::hoon::{
    END_WHOLE, FRAME_KIND_MASK, FRAME_MEAN, FRAME_ROAD_SHIFT, FRAME_SPOT, FRAME_TEXT, MAX_READS,
};
use serde_json::Value;

use super::super::resolve::resolve;
use super::super::{Site, SpinStack, Unresolved, walk};
use super::loom::Loom;

/// Name, memory and what is known of each.
pub fn recordings() -> Vec<(String, Loom, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/loom");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: no recordings in {}", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let value: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let mut loom = Loom::default();
        for chunk in value["memory"].as_array().unwrap() {
            let address = chunk[0].as_str().unwrap().trim_start_matches("0x");
            let address = u64::from_str_radix(address, 16).unwrap();
            for (index, word) in bytes(&chunk[1]).chunks(4).enumerate() {
                let word = u32::from_le_bytes(word.try_into().unwrap());
                loom.set(address + index as u64 * 4, &[word]);
            }
        }
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            loom,
            value,
        )
    };
    paths.iter().map(read).collect()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[test]
fn every_recording_decodes_to_what_was_expected() {
    for (name, loom, recording) in recordings() {
        let expected = &recording["expected"];
        let stack = walk(&loom);
        assert!(loom.reads.get() as usize <= MAX_READS, "{name}");
        assert_eq!(stack.end, END_WHOLE, "{name}");
        assert_eq!(
            Some(stack.event_number),
            expected["event"].as_u64(),
            "{name}"
        );
        let roads: Vec<String> = stack
            .roads
            .iter()
            .map(|road| format!("{road:#x}"))
            .collect();
        assert_eq!(serde_json::json!(roads), expected["roads"], "{name}");

        let frames = expected["frames_innermost_first"].as_array().unwrap();
        assert_eq!(stack.frames.len(), frames.len(), "{name}");
        for (frame, expected) in stack.frames.iter().zip(frames) {
            assert_eq!(
                Some(u64::from(frame.kind >> FRAME_ROAD_SHIFT)),
                expected["road"].as_u64(),
                "{name}"
            );
            let kind = frame.kind & FRAME_KIND_MASK;
            if expected["tag"] == "mean" {
                assert!(matches!(kind, FRAME_MEAN | FRAME_TEXT), "{name}");
                // The walk that recorded them did not read what a mean is of.
                assert_eq!(resolve(&loom, frame), Err(Unresolved::Absent), "{name}");
                continue;
            }
            assert_eq!(
                (kind, &expected["tag"]),
                (FRAME_SPOT, &serde_json::json!("spot"))
            );
            let Ok(Site::Spot(spot)) = resolve(&loom, frame) else {
                panic!("{name}: {:?}, not {expected}", resolve(&loom, frame));
            };
            assert_eq!(
                serde_json::json!({
                    "tag": "spot", "road": expected["road"], "path": spot.path,
                    "start": [spot.line, spot.column], "end": [spot.end_line, spot.end_column],
                }),
                *expected,
                "{name}"
            );
            assert_ne!(frame.mug, 0, "{name}: every place in code is hashed");
        }
    }
}

#[test]
fn every_recorded_spin_page_holds_the_root_alone() {
    for (name, _, recording) in recordings() {
        let page = bytes(&recording["spin_page_head_hex"]);
        let stack = SpinStack::parse(&page).unwrap();
        assert_eq!((stack.labels.len(), stack.overflowed), (0, 0), "{name}");
    }
}

/// The recordings hold no code of means. With code put where they refer to, each has a name, the
/// same wherever it is met.
#[test]
fn recorded_means_get_names_that_tell_them_apart() {
    let mut lines: BTreeMap<u32, String> = BTreeMap::new();
    for (name, mut loom, _) in recordings() {
        let means: Vec<u32> = super::made::trap_references(&loom);
        for (index, reference) in means.iter().enumerate() {
            super::made::put_trap(&mut loom, *reference, index as u64);
        }
        let stack = walk(&loom);
        let means = stack
            .frames
            .iter()
            .filter(|frame| frame.kind & FRAME_KIND_MASK == FRAME_MEAN);
        for frame in means {
            let line = resolve(&loom, frame).unwrap().line();
            assert!(line.starts_with("%mean/"), "{name}: {line}");
            let known = lines.entry(frame.mug).or_insert_with(|| line.clone());
            assert_eq!(*known, line, "{name}");
        }
    }
    let names: std::collections::BTreeSet<&String> = lines.values().collect();
    assert_eq!(names.len(), lines.len());
}
