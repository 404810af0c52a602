//! What memory cost the ship, and what of it the ship uses.

use std::collections::BTreeMap;

use serde::Serialize;

use super::sched::ThreadSummary;
use crate::model::{Capture, Event, Histogram, sum};
use crate::ship::Role;
use crate::ship::loom::LoomAnswer;

/// Memory in the window.
#[derive(Debug, Clone, Serialize)]
pub struct MemorySummary {
    /// Faults served without I/O; nothing if unknown.
    pub minor_faults: Option<u64>,
    /// Faults that waited for I/O, by the programs; nothing if they were not followed.
    pub major_faults: Option<u64>,
    /// What they were for, most first.
    pub page_ins: Vec<PageInSummary>,
    /// Pages that the whole machine read from swap; nothing if unknown.
    pub swapped_in_pages: Option<u64>,
    /// Pages of the loom that became dirty, each by a signal; nothing if signals were not followed.
    pub dirtied_pages: Option<u64>,
    /// Times that a thread had to free memory.
    pub reclaims: u64,
    /// Times that a thread had to move pages.
    pub compactions: u64,
    /// The loom; nothing if its layout is not known.
    pub loom: Option<LoomSummary>,
    /// Mappings of mars; nothing if unknown.
    pub mappings: Option<u64>,
    /// `vm.max_map_count`, their limit; nothing if unknown.
    pub max_mappings: Option<u64>,
}

/// Major faults for one file, or for memory without one.
#[derive(Debug, Clone, Serialize)]
pub struct PageInSummary {
    /// Name of the file.
    pub name: String,
    /// Faults.
    pub count: u64,
    /// Time blocked in them.
    pub waited_ns: u64,
    /// 95th percentile of the single times; nothing if none was blocked.
    pub p95_ns: Option<u64>,
}

/// The loom when the window closed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LoomSummary {
    /// Size of the persistent heap.
    pub heap_bytes: u64,
    /// Contiguous free memory between heap and stack.
    pub free_gap_bytes: u64,
    /// What of it is in memory; nothing if unknown.
    pub resident_bytes: Option<u64>,
    /// Of that, written to since the last snapshot, to the page of the machine; nothing if unknown.
    pub dirty_bytes: Option<u64>,
    /// On swap; nothing if unknown.
    pub swapped_bytes: Option<u64>,
}

/// Sums memory up.
pub fn summarise(capture: &Capture, threads: &[ThreadSummary]) -> MemorySummary {
    let meta = &capture.meta;
    let (start, end) = (&meta.counters_start, &meta.counters_end);
    let minor = end.processes.iter().filter_map(|(tgid, end)| {
        let start = start.processes.get(tgid)?;
        Some(
            end.minor_faults_total
                .saturating_sub(start.minor_faults_total),
        )
    });
    let swapped_in = || {
        let before = start.memory.known()?.swapped_in_pages?;
        Some(end.memory.known()?.swapped_in_pages?.saturating_sub(before))
    };
    let total = |of: fn(&ThreadSummary) -> u64| sum(threads.iter().map(of));
    let mars = threads.iter().filter(|thread| thread.role == Role::Mars);
    let dirtied = sum(mars.map(|thread| thread.memory.segv_signals));
    let mars_tgid = meta.ship.mars.as_ref().map(|mars| mars.tgid);
    MemorySummary {
        minor_faults: (!end.processes.is_empty()).then(|| sum(minor)),
        major_faults: meta
            .attached("page_fault_major")
            .then(|| total(|thread| thread.memory.major_faults)),
        page_ins: page_ins(capture),
        swapped_in_pages: swapped_in(),
        dirtied_pages: meta.attached("signal_generate").then_some(dirtied),
        reclaims: total(|thread| thread.memory.reclaims),
        compactions: total(|thread| thread.memory.compactions),
        loom: loom(capture),
        mappings: mars_tgid
            .and_then(|tgid| meta.mappings.get(&tgid))
            .map(|mappings| mappings.count),
        max_mappings: meta
            .host
            .kernel
            .sysctls
            .get("vm.max_map_count")
            .and_then(|value| value.known()?.parse().ok()),
    }
}

fn page_ins(capture: &Capture) -> Vec<PageInSummary> {
    let mut by_name: BTreeMap<&str, (u64, u64, Histogram)> = BTreeMap::new();
    for event in &capture.events {
        let Event::Fault(fault) = event else { continue };
        let mappings = capture.meta.mappings.get(&fault.thread.tgid);
        let name = mappings.and_then(|mappings| mappings.name(fault.address));
        let (count, waited_ns, waits) = by_name
            .entry(name.unwrap_or("memory no longer mapped"))
            .or_default();
        *count = count.saturating_add(fault.count);
        *waited_ns = waited_ns.saturating_add(fault.waited_ns);
        if fault.waited_ns > 0 {
            waits.add_value(fault.waited_ns);
        }
    }
    let mut page_ins: Vec<PageInSummary> = by_name
        .into_iter()
        .map(|(name, (count, waited_ns, waits))| PageInSummary {
            name: name.to_owned(),
            count,
            waited_ns,
            p95_ns: waits.quantile(950),
        })
        .collect();
    page_ins.sort_by_key(|page_in| (std::cmp::Reverse(page_in.count), page_in.name.clone()));
    page_ins
}

fn loom(capture: &Capture) -> Option<LoomSummary> {
    let LoomAnswer::Home(home) = &capture.meta.loom_end else {
        return None;
    };
    let used = capture.meta.loom_use.known();
    Some(LoomSummary {
        heap_bytes: home.heap_bytes,
        free_gap_bytes: home.free_gap_bytes,
        resident_bytes: used.map(|used| used.resident_bytes),
        dirty_bytes: used.map(|used| used.anonymous_bytes),
        swapped_bytes: used.map(|used| used.swapped_bytes),
    })
}
