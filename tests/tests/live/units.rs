//! The systemd units: that systemd understands them, and that what they allow is enough.
//!
//! They are not started here: that needs systemd as the first process of the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::gate;
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use harness::workspace;
use serde_json::Value;

use crate::sampler::history;
use crate::support::{DONE, ShipInMemory, names_in, number};

/// The program that the units start.
const INSTALLED: &str = "/usr/local/bin/profile";
/// The store that they name.
const STORE: &str = "/var/lib/profile/ships.db";

fn folder() -> PathBuf {
    workspace::root().join("packaging/systemd")
}

/// Each unit by its name.
fn units() -> Vec<(String, String)> {
    let text = |name: String| {
        let text = fs::read_to_string(folder().join(&name)).unwrap();
        (name, text)
    };
    names_in(&folder()).into_iter().map(text).collect()
}

/// All values of a setting.
fn values<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    let lines = unit.lines();
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix('=');
    lines.filter_map(value).collect()
}

#[test]
fn every_line_of_a_unit_is_a_section_a_setting_or_a_comment() {
    let units = units();
    assert_eq!(units.len(), 3);
    for (name, text) in &units {
        let mut sections = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(section) = line.strip_prefix('[') {
                assert!(sections.insert(section), "{name}: {line}");
            } else if !line.starts_with('#') {
                let (key, _) = line.split_once('=').unwrap();
                assert!(!sections.is_empty(), "{name}: {line} is in no section");
                assert!(
                    key.bytes().all(|b| b.is_ascii_alphanumeric()),
                    "{name}: {line}"
                );
            }
        }
        for command in values(text, "ExecStart") {
            assert!(command.starts_with(INSTALLED), "{name}: {command}");
            assert!(command.contains(STORE), "{name}: {command}");
        }
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let home = Scratch::new("units").unwrap();
    // It looks whether the program is there, so here they name one that is.
    let program = workspace::profile_binary().unwrap();
    let program = program.to_str().unwrap();
    let copies: Vec<PathBuf> = units()
        .into_iter()
        .map(|(name, text)| {
            let copy = home.path().join(name);
            fs::write(&copy, text.replace(INSTALLED, program)).unwrap();
            copy
        })
        .collect();
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&copies)
        .output();
    let output = match verify {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("not run: there is no systemd-analyze here");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    // What it says of units of this machine is not about ours.
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("profile-"))
        .collect();
    assert_eq!(ours, [""; 0]);
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_capabilities_of_the_units_are_enough() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    let program = workspace::profile_binary().unwrap();
    for (name, text) in units() {
        let [command] = values(&text, "ExecStart")[..] else {
            // A timer.
            continue;
        };
        let home = Scratch::in_memory("store").unwrap();
        let store = home.path().join("ships.db");
        let set = values(&text, "CapabilityBoundingSet").concat();
        let set = set.replace("CAP_", "+").to_lowercase().replace(' ', ",");
        // What it starts, with a window of a second, on this ship.
        let arguments = command.split_whitespace().skip(1).map(|word| match word {
            STORE => store.to_str().unwrap(),
            "60" => "1",
            word => word,
        });
        let mut run = Command::new("setpriv");
        run.arg(format!("--bounding-set=-all,{set}"))
            .args(["--inh-caps=-all", "--no-new-privs", "--"])
            .arg(program)
            .args(arguments);
        if !command.contains("--once") {
            run.arg("--once");
        }
        let output = match run.output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("not run: there is no setpriv here");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(DONE), "{name}: {said}");
        let kept = history(&store).unwrap();
        assert_eq!(number(&kept, "windows"), 1, "{name}: {kept:#}");
        let lacks = by_right(&kept["not_measured"]);
        assert_eq!(lacks, by_right(&without(&ship, &home)), "{name}");
    }
}

/// What is not measured for want of a right: not the events that were under way when sampling began.
fn by_right(not_measured: &Value) -> Vec<String> {
    let lacks = not_measured.as_object().unwrap().keys();
    lacks
        .filter(|lack| !lack.starts_with("how long some events took"))
        .cloned()
        .collect()
}

/// What a sampler with all capabilities cannot measure here either.
fn without(ship: &ShipInMemory, home: &Scratch) -> Value {
    let store = home.path().join("all.db");
    let once = Profile::new(["sampler", "--once", "--interval", "1", "--ship"])
        .arg(ship.ship.pier())
        .arg("--store")
        .arg(Path::new(&store));
    let outcome = once.run().unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    history(&store).unwrap()["not_measured"].take()
}
