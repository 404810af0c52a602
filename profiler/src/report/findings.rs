//! What takes no time of its own, and how bad it is.

use super::mars_spans::{self, SpanLine};
use super::units::{bytes, count, duration, percent};
use super::{Finding, Severity};
use crate::aggregate::Summaries;
use crate::aggregate::ames::ASKED_BUFFER_BYTES;
use crate::aggregate::events::SpanKind;
use crate::attribute::{Cause, LONG_WAIT_NS, Leaf};
use crate::catalogue::{ames_port, file_limits};
use crate::host::firewall::{PortAnswer, PortFilter};
use crate::model::{EndReason, Meta, sum};

/// Share of arriving datagrams whose loss is severe.
pub const SEVERE_DROP_RATIO: f64 = 0.01;
/// Fewer lost ones than this are never severe.
const MIN_SEVERE_DROPS: u64 = 10;
/// A file system fuller than this is worth knowing (the alarm of requirements.md).
pub const FULL_RATIO: f64 = 0.85;
/// A file system fuller than this will soon stop the ship: a snapshot needs room for every dirty
/// page, an epoch for a whole image, and vere dies when there is none.
const SEVERELY_FULL_RATIO: f64 = 0.97;

/// All findings, severest first.
pub fn findings(meta: &Meta, summaries: &Summaries) -> Vec<Finding> {
    let all = [
        lifecycle(meta),
        restarted(meta),
        lost_datagrams(summaries),
        waiting_datagrams(summaries),
        dropped_by_the_king(summaries),
        full_disk(meta),
        io_errors(summaries),
        many_mappings(summaries),
        full_loom(summaries),
        killed_for_memory(meta),
        closed_port(meta),
        many_files(meta),
    ];
    let stood_still = mars_spans::lines(summaries)
        .into_iter()
        .filter_map(stood_still);
    let mut findings: Vec<Finding> = all.into_iter().flatten().chain(stood_still).collect();
    findings.sort_by_key(|finding| {
        (
            std::cmp::Reverse(finding.severity),
            finding.cause,
            finding.id,
        )
    });
    findings
}

fn lifecycle(meta: &Meta) -> Option<Finding> {
    (meta.ended == EndReason::ShipExited).then(|| Finding {
        id: "ship-exited",
        cause: None,
        severity: Severity::Severe,
        count: None,
        sentence: "the ship ended during the capture; what follows is its time until then"
            .to_owned(),
    })
}

fn restarted(meta: &Meta) -> Option<Finding> {
    let restarts = meta.followed_tgids.len() as u64;
    (restarts > 0 && meta.ended != EndReason::ShipExited).then(|| Finding {
        id: "mars-restarted",
        cause: None,
        severity: Severity::Severe,
        count: Some(restarts),
        sentence: format!("the king started {restarts} new process(es) during the capture"),
    })
}

fn lost_datagrams(summaries: &Summaries) -> Option<Finding> {
    let udp = summaries.udp.as_ref()?;
    let dropped = udp.dropped.filter(|dropped| *dropped > 0)?;
    let ratio = udp.drop_ratio();
    let severe = dropped >= MIN_SEVERE_DROPS && ratio.is_none_or(|r| r >= SEVERE_DROP_RATIO);
    let share = ratio.map_or(String::new(), |ratio| {
        format!(", {} of those that arrived,", percent(ratio))
    });
    let granted = udp.receive_buffer_bytes;
    let granted = granted.filter(|granted| *granted < ASKED_BUFFER_BYTES);
    let buffer = granted.map_or(String::new(), |granted| {
        format!(
            " of {} ({} asked)",
            bytes(granted),
            bytes(ASKED_BUFFER_BYTES)
        )
    });
    Some(Finding {
        id: "udp-drops",
        cause: Some(Cause::Ames),
        severity: severity(severe),
        count: Some(dropped),
        sentence: format!(
            "{} datagrams{share} were lost at a full receive buffer{buffer}",
            count(dropped)
        ),
    })
}

/// Time in the socket from which on it is worth knowing: what a healthy ship's events may take.
const LONG_IN_SOCKET_NS: u64 = crate::attribute::LONG_WAIT_NS;

fn waiting_datagrams(summaries: &Summaries) -> Option<Finding> {
    let times = summaries.ames.in_socket.known()?;
    let p95_ns = times.p95_ns.filter(|ns| *ns >= LONG_IN_SOCKET_NS)?;
    Some(Finding {
        id: "udp-wait",
        cause: Some(Cause::Ames),
        severity: Severity::Notice,
        count: Some(times.count),
        sentence: format!(
            "datagrams stood in the socket for {} at p95 ({} at most) before the king took them",
            duration(p95_ns),
            duration(times.max_ns)
        ),
    })
}

fn dropped_by_the_king(summaries: &Summaries) -> Option<Finding> {
    let dropped = *summaries.ames.king.known()?.get("dropped")?;
    (dropped > 0).then(|| Finding {
        id: "king-drops",
        cause: Some(Cause::Ames),
        // A consequence: mars was not quick enough, and the shares say why.
        severity: Severity::Notice,
        count: Some(dropped),
        sentence: format!(
            "the king dropped {} packets from its own queue of 30, because mars was behind",
            count(dropped)
        ),
    })
}

fn full_disk(meta: &Meta) -> Option<Finding> {
    let space = meta.host.storage.space.known()?;
    let used = space.used_ratio();
    (used > FULL_RATIO).then(|| Finding {
        id: "disk-space",
        cause: Some(Cause::Disk),
        severity: severity(used > SEVERELY_FULL_RATIO),
        count: None,
        sentence: format!(
            "the pier's file system is {} full, {} free",
            percent(used),
            bytes(space.available_bytes)
        ),
    })
}

fn io_errors(summaries: &Summaries) -> Option<Finding> {
    let errors = sum(summaries.block.iter().map(|block| block.errors));
    (errors > 0).then(|| Finding {
        id: "io-errors",
        cause: Some(Cause::Disk),
        severity: Severity::Severe,
        count: Some(errors),
        sentence: format!(
            "the disk answered {} of the ship's requests with an error",
            count(errors)
        ),
    })
}

/// Share of `vm.max_map_count` from which on it is worth knowing, and severe. At the limit the next page
/// that becomes dirty ends the ship ("loom: fault mprotect: Out of memory").
pub const MANY_MAPPINGS_RATIO: f64 = 0.5;
const SEVERELY_MANY_MAPPINGS_RATIO: f64 = 0.8;

fn many_mappings(summaries: &Summaries) -> Option<Finding> {
    let memory = &summaries.memory;
    let (mappings, limit) = (memory.mappings?, memory.max_mappings?);
    let ratio = crate::attribute::ratio(mappings, limit);
    (ratio >= MANY_MAPPINGS_RATIO).then(|| Finding {
        id: "map-count",
        cause: Some(Cause::Memory),
        severity: severity(ratio >= SEVERELY_MANY_MAPPINGS_RATIO),
        count: Some(mappings),
        sentence: format!(
            "mars has {} memory mappings and dies at {} (vm.max_map_count)",
            count(mappings),
            count(limit)
        ),
    })
}

/// Below these vere empties its caches, and packs its heap after an event
/// (`pkg/vere/mars.c`, `u3_mars_kick`): 2^27 and 2^25 words of 4 bytes.
pub const LOW_GAP_BYTES: u64 = 512 << 20;
const PACKING_GAP_BYTES: u64 = 128 << 20;

fn full_loom(summaries: &Summaries) -> Option<Finding> {
    let gap = summaries.memory.loom?.free_gap_bytes;
    (gap < LOW_GAP_BYTES).then(|| Finding {
        id: "loom-space",
        cause: Some(Cause::Memory),
        severity: severity(gap < PACKING_GAP_BYTES),
        count: None,
        sentence: format!(
            "the loom has {} free: vere empties its caches below 512 MiB and packs below 128 MiB",
            bytes(gap)
        ),
    })
}

fn killed_for_memory(meta: &Meta) -> Option<Finding> {
    let (before, after) = (
        meta.counters_start.group_memory.known()?.oom_kills_total?,
        meta.counters_end.group_memory.known()?.oom_kills_total?,
    );
    let kills = after.saturating_sub(before);
    (kills > 0).then(|| Finding {
        id: "oom-kills",
        cause: Some(Cause::Memory),
        severity: Severity::Severe,
        count: Some(kills),
        sentence: format!("the kernel killed {kills} process(es) of the ship's group for memory"),
    })
}

fn closed_port(meta: &Meta) -> Option<Finding> {
    let filters = meta.setup.known()?.ports.known()?;
    let closed = |filter: &&PortFilter| matches!(filter.answer, PortAnswer::Closed { .. });
    let port = filters.iter().find(closed)?.port;
    Some(Finding {
        id: ames_port::FINDING,
        cause: Some(Cause::Ames),
        // Datagrams that were asked for come in all the same, and relays help.
        severity: Severity::Notice,
        count: None,
        sentence: format!(
            "this host drops datagrams to the ship's UDP port {port} that were not asked for"
        ),
    })
}

/// Share of the files that a process may have open from which on it is worth knowing.
pub const MANY_FILES_RATIO: f64 = 0.8;

fn many_files(meta: &Meta) -> Option<Finding> {
    let uses = meta.setup.known()?.open_files.values();
    let (open, limit) = file_limits::fullest(uses.filter_map(|files| files.known()))?;
    let used = crate::attribute::ratio(open, limit);
    (used >= MANY_FILES_RATIO).then(|| Finding {
        id: file_limits::FINDING,
        cause: Some(Cause::Ames),
        severity: severity(open >= limit),
        count: Some(open),
        sentence: format!(
            "the ship has {} files open of {} that it may have",
            count(open),
            count(limit)
        ),
    })
}

/// Upkeep of the loom that was felt, and replays: nothing else goes on in the ship meanwhile.
fn stood_still(line: SpanLine) -> Option<Finding> {
    let id = match line.kind {
        SpanKind::Pack => "packed",
        SpanKind::Meld => "melded",
        SpanKind::Mass => "mass",
        SpanKind::Upkeep => "upkeep",
        SpanKind::Replay => "replayed",
        SpanKind::Peek | SpanKind::Snapshot | SpanKind::Reclaim | SpanKind::KingBusy => {
            return None;
        }
    };
    (line.max_ns >= LONG_WAIT_NS).then(|| Finding {
        id,
        cause: line.leaf.map(Leaf::cause),
        severity: Severity::Notice,
        count: Some(line.count),
        sentence: format!(
            "mars computed no event meanwhile: {}",
            mars_spans::words(&line)
        ),
    })
}

fn severity(severe: bool) -> Severity {
    if severe {
        Severity::Severe
    } else {
        Severity::Notice
    }
}
