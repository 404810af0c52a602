//! What takes no time of its own, and how bad it is.

use super::units::{bytes, count, percent};
use super::{Finding, Severity};
use crate::aggregate::Summaries;
use crate::attribute::Cause;
use crate::model::{EndReason, Meta, sum};

/// Share of arriving datagrams whose loss is severe.
pub const SEVERE_DROP_RATIO: f64 = 0.01;
/// Fewer lost ones than this are never severe.
const MIN_SEVERE_DROPS: u64 = 10;
/// A file system fuller than this is worth knowing (the alarm of requirements.md).
const FULL_RATIO: f64 = 0.85;
/// A file system fuller than this will soon stop the ship: a snapshot needs room for every dirty
/// page, an epoch for a whole image, and vere dies when there is none.
const SEVERELY_FULL_RATIO: f64 = 0.97;

/// All findings, severest first.
pub fn findings(meta: &Meta, summaries: &Summaries) -> Vec<Finding> {
    let all = [
        lifecycle(meta),
        restarted(meta),
        lost_datagrams(summaries),
        full_disk(meta),
        io_errors(summaries),
    ];
    let mut findings: Vec<Finding> = all.into_iter().flatten().collect();
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
    Some(Finding {
        id: "udp-drops",
        cause: Some(Cause::Ames),
        severity: if severe {
            Severity::Severe
        } else {
            Severity::Notice
        },
        count: Some(dropped),
        sentence: format!(
            "{} datagrams{share} were lost at a full receive buffer",
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
        severity: if used > SEVERELY_FULL_RATIO {
            Severity::Severe
        } else {
            Severity::Notice
        },
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
