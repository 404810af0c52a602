//! More memory: of the host, or of the control group whose limit was hit.

use super::place::Lasting;
use super::{
    Answer, Assessment, Entry, Gain, Kind, Restart, Risk, Situation, Step, memory_version, place,
};
use crate::attribute::{Cause, Leaf};
use crate::host::cgroup::{MemoryLimit, Version};
use crate::model::{Meta, sum};
use crate::report::units::{bytes, spent};

/// Less than this is not worth an order.
const LEAST_BYTES: u64 = 1 << 30;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "ram",
    title: "give the ship enough memory",
    cause: Cause::Memory,
    shrinks: &[
        Leaf::PageInAfterEviction,
        Leaf::SwapIn,
        Leaf::Reclaim,
        Leaf::Compaction,
    ],
    why: "The loom is paged in on demand. Where there is too little memory its pages are evicted and \
          read again, come back from swap, or have to be freed by the ship's own threads.",
    gain: "All of the time in page-ins after eviction, swap-ins, and reclaim, which is exact; at \
           most that of compaction too, which may stay where free memory is in small pieces.",
    check: "page-ins after eviction, swap-ins and reclaim, memory that is free, limits of the group",
    answers: &[Kind::WouldHelp, Kind::NoEvidence, Kind::CannotTell],
    conflicts: &["swap-off"],
    restart: Restart::Host,
    risk: Risk::Low,
    source: "Linux Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.high), mm/workingset.c; \
             vere pages the loom in from image.bin (pkg/noun/events.c)",
    apply: &[
        "where the group's limit was hit: echo BYTES > /sys/fs/cgroup/GROUP/memory.max",
        "for good: MemoryMax= in the unit, or docker update --memory BYTES --memory-swap BYTES \
         CONTAINER",
        "else add RAM to the host, or move other things away from it",
    ],
    undo: &["echo OLD > /sys/fs/cgroup/GROUP/memory.max"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let attribution = situation.attribution;
    let of = |leaf| attribution.leaf_ns(leaf);
    let high_ns = sum(ENTRY.shrinks.iter().map(|leaf| of(*leaf)));
    let limit = limit_that_was_hit(situation);
    let host = situation.meta().host.kernel.memory.known();
    let current = match limit {
        Some(limit) => Some(format!(
            "{} in {}",
            bytes(limit.limit_bytes),
            limit.group.display()
        )),
        None => host.map(|memory| {
            let available = memory.available_bytes.map(bytes);
            let available = available.unwrap_or_else(|| "an unknown part".to_owned());
            format!("{}, {available} of it free", bytes(memory.total_bytes))
        }),
    };
    let without = |answer, reason| {
        Assessment::without_change(answer, current.clone(), "enough for the loom", reason)
    };
    if high_ns == 0 {
        return without(
            Answer::NoEvidence,
            "nothing was evicted, swapped or reclaimed that the ship waited for".to_owned(),
        );
    }
    let gain = Gain::StalledTime {
        low_ns: high_ns - of(Leaf::Compaction),
        high_ns,
    };
    let spent = format!(
        "{} for want of memory ({})",
        spent(high_ns, situation.attribution),
        spent_on(situation)
    );
    if let Some(limit) = limit {
        let hits = attribution.page_ins.limit_hits.unwrap_or(0);
        return raise(
            situation,
            limit,
            gain,
            format!("{spent}; the group hit its limit {hits} times"),
        );
    }
    let Some(host) = host else {
        let reason = format!("{spent}, but how much memory there is is not known");
        return without(Answer::CannotTell, reason);
    };
    let available_bytes = host.available_bytes.unwrap_or(0);
    if available_bytes >= host.total_bytes / 2 && !attribution.page_ins.is_short() {
        // What comes back now was put away before, by whoever was large then.
        let reason = format!("{spent}, but memory is not short by now");
        return without(Answer::NoEvidence, reason);
    }
    let more = missing_bytes(situation)
        .max(LEAST_BYTES)
        .div_ceil(LEAST_BYTES);
    Assessment {
        answer: Answer::WouldHelp(gain),
        proposed: format!("{more} GiB more, at least"),
        reason: spent,
        apply: vec![Step::advice(format!(
            "add {more} GiB of RAM or more, or move other things to another host"
        ))],
        undo: vec![Step::advice("take it out again")],
        current,
        ..Assessment::default()
    }
}

/// What of the loom's heap is not in memory; 0 if unknown.
fn missing_bytes(situation: &Situation<'_>) -> u64 {
    let loom = situation.summaries.memory.loom;
    loom.and_then(|loom| Some(loom.heap_bytes.saturating_sub(loom.resident_bytes?)))
        .unwrap_or(0)
}

/// The leaves that took time, heaviest first.
fn spent_on(situation: &Situation<'_>) -> String {
    let of = |leaf: &Leaf| situation.attribution.leaf_ns(*leaf);
    let mut leaves: Vec<&Leaf> = ENTRY.shrinks.iter().filter(|leaf| of(leaf) > 0).collect();
    leaves.sort_by_key(|leaf| (std::cmp::Reverse(of(leaf)), **leaf));
    let names: Vec<&str> = leaves.into_iter().map(|leaf| leaf.name()).collect();
    names.join(", ")
}

/// The fullest limit of the ship's groups, if one was hit during the capture.
fn limit_that_was_hit<'a>(situation: &Situation<'a>) -> Option<&'a MemoryLimit> {
    situation
        .attribution
        .page_ins
        .limit_hits
        .filter(|hits| *hits > 0)?;
    let capture: &'a crate::model::Capture = situation.capture;
    let limits = capture.meta.host.cgroup.memory_limits.known()?;
    let left = |limit: &MemoryLimit| match limit.used_bytes.known() {
        Some(used) => limit.limit_bytes.saturating_sub(*used),
        None => limit.limit_bytes,
    };
    limits.iter().min_by_key(|limit| left(limit))
}

fn raise(
    situation: &Situation<'_>,
    limit: &MemoryLimit,
    gain: Gain,
    mut reason: String,
) -> Assessment {
    let meta = situation.meta();
    let page_bytes = meta.host.kernel.page_bytes.max(1);
    let old = limit.limit_bytes;
    let more = missing_bytes(situation).max(old / 2);
    // One page more than a round number: so the way back finds the file that was changed.
    let new = (old.saturating_add(more) / page_bytes + 1).saturating_mul(page_bytes);
    let host = meta.host.kernel.memory.known();
    if let Some(available) = host.and_then(|memory| memory.available_bytes)
        && available < more
    {
        reason.push_str(&format!(
            "; the host itself has only {} left, and needs more too",
            bytes(available)
        ));
    }
    let mib = new.div_ceil(1 << 20);
    Assessment {
        answer: Answer::WouldHelp(gain),
        current: Some(format!("{} in {}", bytes(old), limit.group.display())),
        proposed: format!("{} or more", bytes(new)),
        reason,
        apply: set_limit(meta, limit, old, new)
            .into_iter()
            .chain(place::keep(situation, &Lasting::Memory { mib }))
            .collect(),
        undo: set_limit(meta, limit, new, old)
            .into_iter()
            .chain(place::forget(situation, &Lasting::Memory { mib }))
            .collect(),
        restart: Some(Restart::None),
        ..Assessment::default()
    }
}

/// Gives the group another limit. In v2 either of two files may hold it.
fn set_limit(meta: &Meta, limit: &MemoryLimit, from: u64, to: u64) -> Vec<Step> {
    let group = limit.group.display().to_string();
    let group = group.trim_start_matches('/');
    // Where systemd and Docker mount them.
    match memory_version(meta) {
        Version::V1 => {
            let file = format!("/sys/fs/cgroup/memory/{group}/memory.limit_in_bytes");
            vec![Step::write(file, to.to_string())]
        }
        Version::V2 => ["memory.max", "memory.high"]
            .map(|file| Step::WriteFile {
                path: format!("/sys/fs/cgroup/{group}/{file}"),
                value: to.to_string(),
                only_if: Some(from.to_string()),
            })
            .into(),
    }
}
