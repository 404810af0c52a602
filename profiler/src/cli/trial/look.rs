//! A fix judged by what the host says at once, without a capture: for `--dry-run`, and so that nobody waits
//! a window to learn that there is nothing to change.

use std::collections::BTreeMap;

use crate::catalogue::Entry;
use crate::host::counters::{counters, now_ktime_ns};
use crate::host::firewall::Ruleset;
use crate::host::{Reading, Roots, host_facts};
use crate::model::{
    Capture, Clocks, EndReason, Losses, Meta, OwnUse, Symbols, Totals, king_not_asked,
};
use crate::recommend::Fix;
use crate::report::report;
use crate::ship::{self, Ship, loom};

/// Asks the fix of a capture in which nothing happened.
pub fn fix(roots: &Roots, ship: &Ship, entry: &Entry) -> Option<Fix> {
    let report = report(&nothing(roots, ship));
    report.fixes.into_iter().find(|fix| fix.id == entry.id)
}

fn nothing(roots: &Roots, ship: &Ship) -> Capture {
    Capture {
        meta: meta(roots, ship),
        events: Vec::new(),
        totals: Totals::default(),
        symbols: Symbols::default(),
        hoon: Default::default(),
    }
}

fn meta(roots: &Roots, ship: &Ship) -> Meta {
    let targets = ship.targets();
    let now = now_ktime_ns();
    let rules: Reading<Ruleset> = Reading::unknown("they were not read");
    let counted = counters(roots, &targets);
    Meta {
        profiler_version: env!("CARGO_PKG_VERSION").to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        host: host_facts(roots, &targets),
        clocks: Clocks {
            start_ktime_ns: now,
            end_ktime_ns: now,
            start_unix_ns: 0,
        },
        requested_s: 0,
        threshold_ns: 0,
        timeline_ns: 0,
        sample_hz: 0,
        ended: EndReason::TimeIsUp,
        probes: Vec::new(),
        followed_tgids: Vec::new(),
        thread_states_start: Vec::new(),
        thread_states: Vec::new(),
        counters_start: counted.clone(),
        counters_end: counted,
        loom_start: loom::answer(roots, ship),
        loom_end: loom::answer(roots, ship),
        mappings: BTreeMap::new(),
        loom_use: Reading::unknown("it was not read"),
        under_way: Vec::new(),
        king_counters_start: king_not_asked(),
        king_counters_end: king_not_asked(),
        setup: Reading::Known(ship::setup(roots, ship, &rules)),
        neighbours: Reading::unknown("they were not looked for"),
        losses: Losses::default(),
        program_costs: Vec::new(),
        cost_measured_ns: 0,
        own_tgid: std::process::id(),
        own_use: OwnUse {
            cpu_ns: 0,
            max_resident_bytes: 0,
        },
        record_bytes: 0,
        records: 0,
        ship: ship.clone(),
    }
}
