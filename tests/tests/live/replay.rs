//! A capture gives the same report again, to anybody and without the ship: byte for byte, twice.

use std::collections::BTreeSet;

use harness::faults::{IopsLimits, LoopDisk, SlowDisk};
use harness::gate;
use harness::scratch::Scratch;
use harness::ship::ShipOptions;

use crate::support::{DONE, NOBODY, Unprivileged, deep_dive_under_sudo};

#[test]
fn capture_gives_the_same_report_to_everybody() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipOptions::default().start().unwrap();
    let home = Scratch::new("output").unwrap();
    std::os::unix::fs::chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let output = home.path().join("run");
    let first = deep_dive_under_sudo(ship.pier(), 3, &output, Some(NOBODY));
    assert_eq!(first.code(), Some(DONE), "{}", first.stderr);
    let json = std::fs::read_to_string(output.join("report.json")).unwrap();
    drop(ship);
    let capture = output.join("capture");
    let user = Unprivileged::new();
    for _ in 0..2 {
        for (format, expected) in [("text", &first.stdout), ("json", &json)] {
            let arguments = [
                "report".as_ref(),
                capture.as_os_str(),
                "--format".as_ref(),
                format.as_ref(),
            ];
            let again = user.run(&arguments);
            assert_eq!(again.code(), first.code(), "{}", again.stderr);
            assert_eq!(again.stdout, *expected);
            assert_eq!(again.stderr, "");
        }
    }
}

#[test]
fn flamegraphs_name_the_code_of_ship_and_kernel() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // A disk, so that there are commits to wait for, and a slow one, so that all are recorded.
    let disk = LoopDisk::new(256 << 20).unwrap();
    let ship = ShipOptions {
        compute_us: Some(10_000),
        ..ShipOptions::default()
    };
    let ship = ship.start_in(disk.path()).unwrap();
    let limits = IopsLimits {
        read: None,
        // Fewer than the ship asks for: some sixty.
        write: Some(40),
    };
    let _slow = SlowDisk::start(&disk, limits, &ship.pids()).unwrap();
    let home = Scratch::new("output").unwrap();
    let output = home.path().join("run");
    let outcome = deep_dive_under_sudo(ship.pier(), 4, &output, None);
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    for (name, functions) in [
        // The computation of an event, from the ship's `main` on.
        ("on-cpu.svg", &["Computer", "main"][..]),
        // LMDB's commit in the ship, and its way through the kernel.
        (
            "off-cpu.svg",
            &["mdb_txn_commit", "fdatasync", "ext4_sync_file"],
        ),
        ("block-io.svg", &["mdb_", "submit_bio"]),
    ] {
        let svg = std::fs::read_to_string(output.join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}: {outcome:?}"));
        let frames = frames(&svg);
        for function in functions {
            assert!(
                frames.iter().any(|frame| frame.contains(function)),
                "{name} has no frame with {function}: {frames:#?}"
            );
        }
        let unknown = |frame: &&String| frame.starts_with("0x") || frame.starts_with("[unknown]");
        let known = frames.iter().filter(|frame| !unknown(frame)).count();
        assert!(
            known * 2 > frames.len(),
            "{name} hardly has names: {frames:#?}"
        );
    }
}

/// Names of all frames of a flamegraph, which must be well-formed XML and an SVG.
fn frames(svg: &str) -> BTreeSet<String> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    let document = roxmltree::Document::parse_with_options(svg, options).unwrap();
    assert_eq!(document.root_element().tag_name().name(), "svg");
    // A frame is a group with a title such as "name (12 ms, 3.45%)".
    let titles = document.descendants().filter(|node| {
        node.has_tag_name(("http://www.w3.org/2000/svg", "title"))
            && node
                .parent()
                .is_some_and(|parent| parent.tag_name().name() == "g")
    });
    let name = |title: &str| title.rsplit_once(" (").map(|(name, _)| name.to_owned());
    titles.filter_map(|title| name(title.text()?)).collect()
}
