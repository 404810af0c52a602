//! `profile audit` on the reference ship: the checklist with what is read of a real host.

use harness::faults::{CpuHogs, CpuQuota};
use harness::gate;
use harness::process::poll_until;
use harness::profile::{Outcome, Profile};
use harness::ship::{RunningShip, ShipOptions};
use serde_json::Value;
use std::time::Duration;

use crate::support::{DONE, INCOMPLETE, ShipInMemory, Unprivileged};

/// How long a fault may take to show in counters.
const LIMIT: Duration = Duration::from_secs(40);

fn run(ship: &RunningShip) -> Outcome {
    let pier = ship.pier().as_os_str();
    let run = Profile::new(["audit".as_ref(), "--ship".as_ref(), pier]);
    run.json().run().unwrap()
}

fn audit(ship: &RunningShip) -> Value {
    let outcome = run(ship);
    assert!(
        matches!(outcome.code(), Some(DONE | INCOMPLETE)),
        "{outcome:?}"
    );
    outcome.json().unwrap()
}

fn check<'a>(audit: &'a Value, id: &str) -> &'a Value {
    let checks = audit["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap()
}

#[test]
fn the_checklist_is_read_from_a_running_ship() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    let audit = audit(&ship.ship);
    assert_eq!(audit["schema_version"], 1);
    // What root is needed for could be read: the loom's head, and the socket's buffer.
    for (id, words) in [
        ("loom-size", "of heap"),
        ("rmem-max", "socket"),
        ("max-map-count", "mars has"),
        ("epochs", "epoch"),
        ("ram", "can be had"),
    ] {
        let found = check(&audit, id);
        assert_ne!(found["outcome"], "cannot_tell", "{found:#}");
        assert!(
            found["evidence"].as_str().unwrap().contains(words),
            "{found:#}"
        );
    }
    // The exit status says whether something could not be told.
    let checks = audit["checks"].as_array().unwrap();
    let unknown = checks.iter().any(|check| check["outcome"] == "cannot_tell");
    let expected = if unknown { INCOMPLETE } else { DONE };
    assert_eq!(run(&ship.ship).code(), Some(expected));
}

#[test]
fn a_quota_and_rivals_for_the_cpu_fail_their_checks() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions {
        compute_us: Some(300_000),
        ..ShipOptions::default()
    });
    let before = audit(&ship.ship);
    assert_eq!(
        check(&before, "cpu-quota")["outcome"],
        "passed",
        "{before:#}"
    );
    let hogs = CpuHogs::start(4, &ship.ship.pids()).unwrap();
    fails(&ship.ship, "nice");
    drop(hogs);
    let _quota = CpuQuota::start(20, &ship.ship.pids()).unwrap();
    fails(&ship.ship, "cpu-quota");
}

/// Waits until a check fails.
fn fails(ship: &RunningShip, id: &str) {
    poll_until(&format!("{id} fails"), LIMIT, || {
        let audit = audit(ship);
        let found = check(&audit, id);
        Ok(match found["outcome"] == "failed" {
            true => Ok(()),
            false => Err(found.to_string()),
        })
    })
    .unwrap();
}

#[test]
fn without_rights_it_says_what_cannot_be_told() {
    let Some(_live) = gate::need_root() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    let king = ship.ship.king_pid().to_string();
    let arguments = ["audit", "--ship", king.as_str(), "--format", "json"];
    let outcome = Unprivileged::new().run(&arguments);
    assert_eq!(outcome.code(), Some(INCOMPLETE), "{outcome:?}");
    let audit = outcome.json().unwrap();
    let loom = check(&audit, "loom-size");
    assert_eq!(loom["outcome"], "cannot_tell", "{loom:#}");
    assert!(
        loom["evidence"].as_str().unwrap().contains("root"),
        "{loom:#}"
    );
    // Most of it needs no rights.
    assert_ne!(check(&audit, "ram")["outcome"], "cannot_tell");
    assert_ne!(check(&audit, "swappiness")["outcome"], "cannot_tell");
}
