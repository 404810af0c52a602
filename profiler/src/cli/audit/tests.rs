//! Every check on made hosts, in each of the outcomes that it can have.

mod cpu;
mod memory;
mod network;
mod storage;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::audit::Audit;
use crate::catalogue::tests::host::{Edit, MARS, PIER, host};
use crate::host::block::{Backing, device};
use crate::host::filesystem::SpaceFacts;
use crate::ship::loom::{LoomAnswer, LoomHome};

use Edit::{Put, Remove, Replace};
use Outcome::{CannotTell, Failed, NotApplicable, Passed};

type Change = fn(&mut Facts);

/// One host, and what a check has to come to.
struct Row(&'static str, Outcome, Vec<Edit>, Change);

fn audited(edits: &[Edit], change: Change) -> Audit {
    let (tree, roots) = host(edits);
    let ship = discover(&roots, &Selector::Pid(MARS)).unwrap();
    let mut facts = facts(&roots, ship, &Reading::Known(Ruleset::default()));
    // A test's own directory lies on any disk; the tree's is meant.
    facts.host.storage.backing = match device(&roots, 8, 0) {
        Ok(disk) => Backing::Devices(vec![disk]),
        Err(error) => Backing::Unknown {
            reason: error.to_string(),
        },
    };
    facts.host.storage.space = Reading::Known(room(10));
    facts.loom = home(1500);
    change(&mut facts);
    assert!(tree.path(PIER).is_dir());
    audit::audit(&facts)
}

/// A disk that is full to so many per cent.
fn room(used: u64) -> SpaceFacts {
    SpaceFacts {
        total_bytes: 100 << 30,
        available_bytes: (100 - used) << 30,
        free_bytes: (100 - used) << 30,
        free_inodes: 0,
        total_inodes: 0,
    }
}

/// A loom with so many MiB free.
fn home(mib: u64) -> LoomAnswer {
    LoomAnswer::Home(LoomHome {
        event_number: 9,
        heap_bytes: 1 << 30,
        free_gap_bytes: mib << 20,
        event_in_progress: false,
    })
}

fn same(_: &mut Facts) {}

const SWAP: Edit = Replace("proc/meminfo", "SwapTotal: 0", "SwapTotal: 1000000");
const ALWAYS: Edit = Put(
    "sys/kernel/mm/transparent_hugepage/enabled",
    "[always] madvise never\n",
);
const CRON: Edit = Put(
    "etc/crontab",
    "0 4 * * 0 u urbit pack /piers/zod && urbit meld /piers/zod\n",
);
const HUGE: Edit = Put(
    "proc/2386/smaps",
    "200000000-200200000 rw-p 00000000 00:00 0\nRss: 2048 kB\nAnonHugePages: 2048 kB\n",
);

#[test]
fn every_check_has_each_of_its_outcomes() {
    let mut seen: BTreeMap<&str, BTreeSet<Outcome>> = BTreeMap::new();
    let groups = [
        storage::rows(),
        cpu::rows(),
        memory::rows(),
        network::rows(),
        upkeep::rows(),
    ];
    for (at, Row(id, expected, edits, change)) in groups.into_iter().flatten().enumerate() {
        let audit = audited(&edits, change);
        let check = audit.checks.iter().find(|check| check.id == id).unwrap();
        assert_eq!(check.outcome, expected, "row {at}: {check:?}");
        assert!(!check.evidence.is_empty());
        seen.entry(id).or_default().insert(expected);
    }
    let all = audited(&[], same);
    let ids: Vec<&str> = all.checks.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), seen.len(), "{ids:?}");
    for id in ids {
        assert!(seen.contains_key(id), "{id}");
    }
}

#[test]
fn the_checklist_fits_its_columns_and_names_fixes_that_there_are() {
    let audit = audited(&[SWAP, CRON], |facts| facts.loom = home(100));
    let text = render::audit::text(&audit);
    assert!(
        text.lines()
            .all(|line| line.chars().count() <= 80 || line.starts_with("         mkdir ")),
        "{text}"
    );
    assert!(text.contains("run by hand, or a script"), "{text}");
    assert!(text.contains("FAILED   loom large enough"), "{text}");
    for check in &audit.checks {
        let known = |fix: &str| {
            crate::catalogue::ENTRIES
                .iter()
                .any(|entry| entry.id == fix)
        };
        assert!(check.fix.is_none_or(known), "{check:?}");
        assert!(check.title.chars().count() <= 30, "{}", check.title);
    }
    // One line or two each.
    let lines: Vec<&str> = text.lines().collect();
    let deep = |two: &[&str]| two.iter().all(|line| line.starts_with("          "));
    assert!(!lines.windows(2).any(deep), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&render::audit::json(&audit).unwrap()).unwrap();
    assert_eq!(json["schema_version"], 1);
    assert_eq!(json["checks"][0]["outcome"], "passed");
}
