//! Each entry on a recorded capture of a quiet ship, with one thing changed.

pub(crate) mod host;
mod on_hosts;

use std::collections::BTreeMap;
use std::io::Cursor;

use profiler_common::neighbour::{AheadKey, AheadTotals, KERNEL_THREAD};

use super::*;
use crate::aggregate::aggregate;
use crate::attribute::{Part, attribute};
use crate::capture::file;
use crate::host::Reading;
use crate::host::cgroup::MemoryLimit;
use crate::host::neighbours::{NeighbourFacts, OtherShip};
use crate::model::{Capture, NS_PER_S, NeighbourTotals};

const HEALTHY: &[u8] = include_bytes!("../../tests/fixtures/healthy.capture");

fn entry(id: &str) -> &'static Entry {
    ENTRIES.iter().find(|entry| entry.id == id).unwrap()
}

/// Asks an entry, with `leaves` in seconds put into the attribution.
fn ask(id: &str, leaves: &[(Leaf, u64)], change: impl FnOnce(&mut Capture)) -> Assessment {
    let mut capture = file::read(&mut Cursor::new(HEALTHY)).unwrap();
    change(&mut capture);
    let summaries = aggregate(&capture);
    answer(id, &capture, &summaries, leaves)
}

fn answer(
    id: &str,
    capture: &Capture,
    summaries: &crate::aggregate::Summaries,
    leaves: &[(Leaf, u64)],
) -> Assessment {
    let mut attribution = attribute(capture, summaries);
    for (leaf, seconds) in leaves {
        let part = Part {
            total_ns: seconds * NS_PER_S,
            ..Part::default()
        };
        match leaf {
            Leaf::RunQueue => attribution.run_queue_ns = part.total_ns,
            Leaf::Throttled => attribution.throttled_ns = part.total_ns,
            _ => {}
        }
        attribution.parts.insert(*leaf, part);
    }
    let situation = Situation {
        capture,
        summaries,
        attribution: &attribution,
    };
    (entry(id).assess)(&situation)
}

fn texts(steps: &[Step]) -> Vec<String> {
    steps.iter().map(Step::text).collect()
}

fn stalled(low_s: f64, high_s: f64) -> Answer {
    let ns = |seconds: f64| (seconds * NS_PER_S as f64) as u64;
    Answer::WouldHelp(Gain::StalledTime {
        low_ns: ns(low_s),
        high_ns: ns(high_s),
    })
}

fn mappings(capture: &mut Capture, count: u64) {
    let mars = capture.meta.ship.mars.as_ref().unwrap().tgid;
    capture.meta.mappings.get_mut(&mars).unwrap().count = count;
}

fn with_swap(capture: &mut Capture) {
    let Reading::Known(memory) = &mut capture.meta.host.kernel.memory else {
        panic!("the fixture knows its memory");
    };
    memory.swap_total_bytes = 1 << 30;
}

fn set_sysctl(capture: &mut Capture, name: &str, value: &str) {
    let value = Reading::Known(value.to_owned());
    let sysctls = &mut capture.meta.host.kernel.sysctls;
    sysctls.insert(name.to_owned(), value);
}

/// The group hits a limit of 1 GiB 7 times; `v2` takes its v1 memory hierarchy away.
fn limited(capture: &mut Capture, v2: bool) {
    let meta = &mut capture.meta;
    let limit = |group: &str, gib: u64, used: u64| MemoryLimit {
        group: group.into(),
        limit_bytes: gib << 30,
        used_bytes: Reading::Known(used << 30),
    };
    meta.host.cgroup.memory_limits =
        Reading::Known(vec![limit("/a b/ship", 1, 1), limit("/a b", 8, 2)]);
    for (counters, hits) in [(&mut meta.counters_start, 3), (&mut meta.counters_end, 10)] {
        let Reading::Known(memory) = &mut counters.group_memory else {
            panic!("the fixture knows its group");
        };
        memory.limit_hits_total = Some(hits);
    }
    let Reading::Known(groups) = &mut meta.ship.cgroups else {
        panic!("the fixture knows its groups");
    };
    if v2 {
        groups.remove("memory");
    }
}

#[test]
fn ids_are_unique_sorted_and_plain() {
    let ids: Vec<&str> = ENTRIES.iter().map(|entry| entry.id).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids, sorted);
    assert!(
        ids.iter()
            .all(|id| id.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
    );
}

#[test]
fn every_entry_says_all_of_itself() {
    for entry in ENTRIES {
        for text in [entry.title, entry.why, entry.gain, entry.source] {
            assert!(!text.is_empty() && !text.contains("  "), "{}", entry.id);
        }
        assert_eq!(
            entry.apply.is_empty(),
            entry.undo.is_empty(),
            "{}",
            entry.id
        );
        // The first is of its cause; neighbours hold up more than one.
        let first = entry.shrinks.first();
        assert!(
            first.is_none_or(|leaf| leaf.cause() == entry.cause),
            "{}",
            entry.id
        );
    }
}

#[test]
fn versions_are_compared_by_their_numbers() {
    for (version, is) in [("4.6", true), ("3.2", true), ("3.1", false), ("10.0", true)] {
        assert_eq!(is_at_least(Some(version), (3, 2)), Some(is), "{version}");
    }
    assert_eq!(is_at_least(None, (3, 2)), None);
    assert_eq!(is_at_least(Some("edge"), (3, 2)), None);
}

#[test]
fn bbr_is_never_advised() {
    let found = ask("bbr", &[], |_| {});
    assert_eq!(found.answer, Answer::NoEvidence);
    assert_eq!(found.current.as_deref(), Some("bbr"));
    assert!(found.reason.contains("UDP") && found.apply.is_empty());
}

#[test]
fn mappings_are_a_reason_from_half_of_the_limit_on() {
    let at = |count| ask("max-map-count", &[], |capture| mappings(capture, count));
    assert_eq!(at(32_764).answer, Answer::NoEvidence);
    let near = at(32_765);
    assert_eq!(
        near.answer,
        Answer::WouldHelp(Gain::Finding { id: "map-count" })
    );
    assert!(near.reason.contains("32,765") && near.reason.contains("65,530"));
    assert_eq!(near.apply[0].text(), "sysctl -w vm.max_map_count=262144");
    assert!(
        near.undo[1]
            .text()
            .starts_with("sysctl -w vm.max_map_count=65530")
    );
    // The finding that it names is there from the same number on.
    let mut capture = file::read(&mut Cursor::new(HEALTHY)).unwrap();
    mappings(&mut capture, 32_765);
    let report = crate::report::report(&capture);
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.id == "map-count")
    );
    assert!(report.fixes[0].recommended && report.fixes[0].id == "max-map-count");
    // A healthy ship is told so, and still what will end it.
    let text = crate::render::text::render(&report);
    assert!(text.contains("VERDICT  Nothing is wrong"), "{text}");
    assert!(text.contains("1 max-map-count"), "{text}");
    assert!(text.contains("  finding map-count "), "{text}");
}

#[test]
fn the_limit_of_mappings_is_never_lowered() {
    let at = |count, limit: &str| {
        ask("max-map-count", &[], |capture| {
            mappings(capture, count);
            set_sysctl(capture, "vm.max_map_count", limit);
        })
    };
    assert_eq!(at(100, "1048576").answer, Answer::AlreadySo);
    let large = at(600_000, "1048576");
    assert_eq!(large.apply[0].text(), "sysctl -w vm.max_map_count=2097152");
    let most = at(2_000_000_000, "2147483647");
    assert_eq!((most.answer, most.apply.len()), (Answer::NoEvidence, 0));
}

#[test]
fn severe_mappings_come_before_every_stall() {
    let disk = include_bytes!("../../tests/fixtures/disk.capture");
    let order = |count| {
        let mut capture = file::read(&mut Cursor::new(disk.as_slice())).unwrap();
        mappings(&mut capture, count);
        let report = crate::report::report(&capture);
        let recommended = report.fixes.iter().filter(|fix| fix.recommended);
        recommended.map(|fix| fix.id).collect::<Vec<_>>()
    };
    assert_eq!(order(60_000), ["max-map-count", "io-limit"]);
    assert_eq!(order(40_000), ["io-limit", "max-map-count"]);
    assert_eq!(order(400), ["io-limit"]);
}

#[test]
fn swappiness_needs_swap_ins_that_cost_time() {
    let ask = |leaves: &[_], value: &str| {
        ask("swappiness", leaves, |capture| {
            with_swap(capture);
            set_sysctl(capture, "vm.swappiness", value);
        })
    };
    assert_eq!(ask(&[], "60").answer, Answer::NoEvidence);
    assert_eq!(ask(&[(Leaf::SwapIn, 2)], "10").answer, Answer::AlreadySo);
    let found = ask(&[(Leaf::SwapIn, 2)], "60");
    assert_eq!(found.answer, stalled(0.0, 2.0));
    assert!(found.reason.contains("an event for pages from swap") && found.reason.contains("OOM"));
    assert_eq!(found.undo[0].text(), "sysctl -w vm.swappiness=60");
    // The fixture's memory group is of v1 and not the root: it has a setting of its own.
    assert!(found.apply[2].text().ends_with("/memory.swappiness"));
    let balance = ask(&[(Leaf::SwapIn, 2), (Leaf::PageInAfterEviction, 3)], "60");
    assert_eq!(balance.answer, Answer::WouldHarm);
}

#[test]
fn swappiness_is_settled_where_there_is_no_swap() {
    let found = ask("swappiness", &[(Leaf::SwapIn, 2)], |_| {});
    assert_eq!(found.answer, Answer::AlreadySo);
}

#[test]
fn memory_of_a_group_is_raised_where_its_limit_was_hit() {
    let leaves = [(Leaf::PageInAfterEviction, 2), (Leaf::Compaction, 1)];
    let found = ask("ram", &leaves, |capture| limited(capture, true));
    assert_eq!(found.answer, stalled(2.0, 3.0));
    assert_eq!(found.restart, Some(Restart::None));
    assert_eq!(found.current.as_deref(), Some("1.0 GiB in /a b/ship"));
    assert!(found.reason.contains("7 times"), "{}", found.reason);
    let (old, new) = (1_u64 << 30, (3_u64 << 29) + 4096);
    assert_eq!(
        found.apply[0].text(),
        format!(
            "[ \"$(cat '/sys/fs/cgroup/a b/ship/memory.max')\" = {old} ] && \
             echo {new} > '/sys/fs/cgroup/a b/ship/memory.max'"
        )
    );
    assert!(
        found.undo[1]
            .text()
            .contains(&format!("= {new} ] && echo {old} >"))
    );
    assert_eq!(found.trial(Restart::None).unwrap().apply.len(), 2);
    let v1 = ask("ram", &leaves, |capture| limited(capture, false));
    assert_eq!(
        v1.undo[0].text(),
        format!("echo {old} > '/sys/fs/cgroup/memory/a b/ship/memory.limit_in_bytes'")
    );
}

#[test]
fn ram_needs_a_stall_and_memory_that_is_short() {
    assert_eq!(ask("ram", &[], |_| {}).answer, Answer::NoEvidence);
    let swapped = [(Leaf::SwapIn, 2)];
    let plenty = ask("ram", &swapped, |_| {});
    assert_eq!(plenty.answer, Answer::NoEvidence);
    assert!(plenty.reason.contains("not short"));
    let short = ask("ram", &swapped, |capture| {
        if let Reading::Known(memory) = &mut capture.meta.host.kernel.memory {
            memory.available_bytes = Some(1 << 20);
        }
    });
    assert_eq!(short.answer, stalled(2.0, 2.0));
    assert_eq!(
        (short.restart, short.proposed.as_str()),
        (None, "1 GiB more, at least")
    );
}

#[test]
fn rarer_snapshots_save_what_the_interval_says() {
    let at = |seconds, leaves: &[_], count| {
        ask("snap-time", leaves, |capture| {
            capture.meta.ship.config.as_mut().unwrap().snap_time_s = seconds;
            mappings(capture, count);
        })
    };
    let snapshot = [(Leaf::Snapshot, 30)];
    assert_eq!(at(Some(120), &[], 40).answer, Answer::NoEvidence);
    assert_eq!(at(Some(3600), &snapshot, 40).answer, Answer::AlreadySo);
    let found = at(Some(120), &snapshot, 40);
    assert_eq!(found.answer, stalled(14.5, 29.0));
    assert_eq!(texts(&found.undo), ["restart the ship with --snap-time 2"]);
    let default = at(None, &snapshot, 40);
    assert_eq!(default.answer, stalled(14.5, 29.0));
    assert_eq!(
        texts(&default.undo),
        ["restart the ship without --snap-time"]
    );
    // It must not work against the other entries.
    assert_eq!(at(Some(120), &snapshot, 40_000).answer, Answer::WouldHarm);
    let short = [(Leaf::Snapshot, 30), (Leaf::SwapIn, 31)];
    assert_eq!(at(Some(120), &short, 40).answer, Answer::WouldHarm);
}

/// Other ships, one of which ran for `ahead_s` while this one waited.
fn with_ships(capture: &mut Capture, labels: &[&str], ahead_s: u64) {
    let ship = |(label, tgid): (&&str, u32)| OtherShip {
        label: (*label).to_owned(),
        tgids: vec![tgid],
    };
    capture.meta.neighbours = Reading::Known(NeighbourFacts {
        ships: Reading::Known(labels.iter().zip(7_000_000..).map(ship).collect()),
        processes: BTreeMap::new(),
    });
    let key = |tgid| AheadKey {
        waiter_tgid: 1,
        tgid,
    };
    let totals = |seconds: u64, flags| AheadTotals {
        total_ns: seconds * NS_PER_S,
        runs: 1,
        flags,
        reserved: 0,
        comm: *b"urbit\0\0\0\0\0\0\0\0\0\0\0",
    };
    capture.totals.neighbours = NeighbourTotals {
        ahead: vec![
            // A kernel thread, which no nice value moves.
            (key(2), totals(1, KERNEL_THREAD)),
            (key(7_000_000), totals(ahead_s, 0)),
        ],
        ..NeighbourTotals::default()
    };
}

#[test]
fn fewer_ships_help_by_what_others_were_measured_to_cost() {
    let waited = [(Leaf::RunQueue, 10)];
    let with = |labels: &[&str], ahead_s| {
        ask("fewer-ships", &waited, |capture| {
            with_ships(capture, labels, ahead_s);
        })
    };
    let found = with(&["~nec"], 4);
    assert_eq!(found.answer, stalled(2.0, 4.0));
    assert_eq!(found.current.as_deref(), Some("1 other ship"));
    assert!(found.reason.contains("the ship ~nec (pid 7000000)"));
    assert_eq!(with(&["~nec"], 0).answer, Answer::NoEvidence);
    assert_eq!(with(&[], 4).answer, Answer::AlreadySo);
    let unknown = ask("fewer-ships", &waited, |capture| {
        capture.meta.neighbours = NeighbourFacts::not_kept();
    });
    assert_eq!(unknown.answer, Answer::CannotTell);
}

#[test]
fn nice_counts_what_others_ran_and_not_the_kernel() {
    let with = |ahead_s| {
        ask("nice", &[(Leaf::RunQueue, 10)], |capture| {
            with_ships(capture, &["~nec"], ahead_s);
        })
    };
    let found = with(4);
    let Answer::WouldHelp(Gain::StalledTime { high_ns, .. }) = found.answer else {
        panic!("{found:?}");
    };
    assert!((3 * NS_PER_S..4 * NS_PER_S).contains(&high_ns), "{high_ns}");
    assert!(found.reason.contains("40.0 % of it behind other processes"));
    assert_eq!(with(0).answer, Answer::NoEvidence);
    let unknown = ask("nice", &[(Leaf::RunQueue, 10)], |capture| {
        capture.meta.neighbours = NeighbourFacts::not_kept();
    });
    assert_eq!(unknown.answer, Answer::CannotTell);
}
