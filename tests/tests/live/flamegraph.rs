//! Flamegraphs from the command line, and names that a hostile neighbour chose.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use harness::faults::CpuHogs;
use harness::gate;
use harness::profile::{Outcome, Profile};
use harness::scratch::Scratch;
use harness::ship::ShipOptions;

use crate::support::{DONE, FAILED, ShipInMemory, assert_fails};

/// What neighbours call themselves; the kernel keeps 15 bytes.
const HOSTILE: [&str; 2] = ["<script>alert(1)", "\u{1b}[31mred\u{7}\u{9b}2J"];

fn flamegraph(capture: &Path, arguments: &[&str]) -> Outcome {
    let mut run = Profile::new(["flamegraph".as_ref(), capture.as_os_str()]);
    for argument in arguments {
        run = run.arg(argument);
    }
    run.run().unwrap()
}

fn deep_dive(pier: &Path, seconds: u64, output: &Path) -> Outcome {
    let run = Profile::deep_dive(pier, seconds).output(output).run();
    let outcome = run.unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    outcome
}

#[test]
fn flamegraphs_are_drawn_from_the_capture_and_compared() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(20.0),
        compute_us: Some(20_000),
        ..ShipOptions::default()
    });
    let home = Scratch::in_memory("out").unwrap();
    let (first, second) = (home.path().join("1"), home.path().join("2"));
    deep_dive(ship.ship.pier(), 8, &first);
    deep_dive(ship.ship.pier(), 8, &second);
    let (first, second) = (first.join("capture"), second.join("capture"));

    let file = home.path().join("mixed.svg");
    let name = file.to_str().unwrap();
    let drawn = flamegraph(&first, &["--kind", "mixed", "--by", "agent", "-o", name]);
    assert_eq!(
        (drawn.code(), drawn.stdout.as_str()),
        (Some(DONE), ""),
        "{drawn:?}"
    );
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let svg = fs::read_to_string(&file).unwrap();
    for frame in ["/app/groups (", "main (", "Computer"] {
        assert!(svg.contains(frame), "{frame}");
    }
    // Nothing is overwritten, and no link is followed.
    assert_fails(
        &flamegraph(&first, &["--kind", "hoon", "-o", name]),
        &["mixed.svg"],
    );
    let link = home.path().join("link.svg");
    symlink(home.path().join("target"), &link).unwrap();
    let name = link.to_str().unwrap();
    assert_fails(
        &flamegraph(&first, &["--kind", "hoon", "-o", name]),
        &["link.svg"],
    );
    assert!(!home.path().join("target").exists());

    // To stdout, the same as the deep dive drew.
    let again = flamegraph(&first, &["--kind", "hoon"]);
    let drawn = fs::read_to_string(first.with_file_name("hoon.svg")).unwrap();
    assert!(again.stdout == drawn);
    assert_eq!(
        flamegraph(&first, &["--kind", "off-cpu", "--by", "line"]).code(),
        Some(2)
    );
    let lacking = flamegraph(&first, &["--kind", "page-fault"]);
    if lacking.code() != Some(DONE) {
        assert_fails(&lacking, &["the capture holds no major page fault"]);
        assert_eq!(lacking.code(), Some(FAILED));
    }

    // The same ship twice: hardly anything is outside of noise.
    for kind in ["on-cpu", "mixed", "hoon"] {
        let baseline = first.to_str().unwrap();
        let compared = flamegraph(&second, &["--kind", kind, "--baseline", baseline]);
        assert_eq!(compared.code(), Some(DONE), "{compared:?}");
        let frames = compared.stdout.matches(" an event before, ").count();
        let noise = compared.stdout.matches(", within noise").count();
        println!("{kind}: {noise} of {frames} frames are within noise");
        assert!(
            frames > 3 && noise * 10 >= frames * 8,
            "{kind}: {noise} of {frames}"
        );
    }
}

#[test]
fn neighbours_with_hostile_names_are_shown_and_do_nothing() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // Before anything competes for the CPU.
    harness::workspace::profile_binary().unwrap();
    let home = Scratch::new("hostile").unwrap();
    let shells: Vec<PathBuf> = [0, 1, 0, 1]
        .iter()
        .map(|which| {
            let shell = home.path().join(HOSTILE[*which]);
            fs::copy("/bin/sh", &shell).unwrap();
            shell
        })
        .collect();
    let ship = ShipInMemory::start(&ShipOptions {
        compute_us: Some(100_000),
        ..ShipOptions::default()
    });
    let _hogs = CpuHogs::start_as(&shells, &ship.ship.pids()).unwrap();
    let output = home.path().join("run");
    let outcome = deep_dive(ship.ship.pier(), 4, &output);
    let report = fs::read_to_string(output.join("report.json")).unwrap();
    let off_cpu = fs::read_to_string(output.join("off-cpu.svg")).unwrap();
    for (what, text) in [
        ("the screen", &outcome.stdout),
        ("report.json", &report),
        ("off-cpu.svg", &off_cpu),
    ] {
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(control), "{what} holds a control character");
    }
    assert!(report.contains("<script>alert(1"), "{report}");
    assert!(report.contains("\\u001b[31mred"), "{report}");
    assert!(
        off_cpu.contains("behind &lt;script&gt;alert(1 ("),
        "{off_cpu}"
    );
    assert!(off_cpu.contains("behind \\u{1b}[31mred\\u{7}"), "{off_cpu}");
    assert!(!off_cpu.contains("<script>alert"));
    let named =
        outcome.stdout.contains("<script>alert(1") || outcome.stdout.contains("\\u{1b}[31mred");
    assert!(named, "{}", outcome.stdout);
}
