//! What holds the ship up at this moment, if anything does.

use serde::Serialize;

use super::sentence::sentence;
use super::{Activity, EventView, KingReply, ThreadView, Wait, Watch, activity};
use crate::ship::Role;

/// A thread that did something else than wait for work at this share of the looks is busy.
const BUSY_RATIO: f64 = 0.5;
/// A computation that ran at this share of the looks, while none ended, is one: a look may fall
/// between two reads.
const ONE_EVENT_RATIO: f64 = 0.9;
/// A king that computes this much of the time serves what comes in late.
const KING_BUSY_RATIO: f64 = 0.8;

/// What holds the ship up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// There is no Nock process.
    NoMars,
    /// A process was stopped by a signal or a debugger.
    Stopped,
    /// Mars builds a new ship.
    Boots,
    /// Mars starts or replays.
    NotUp,
    /// Mars writes a snapshot.
    Snapshot,
    /// Mars waits for storage.
    Disk,
    /// Mars waits for pages that are not in memory.
    Memory,
    /// Mars waits for changes of its memory map.
    MemoryMap,
    /// Mars waits for the king to take what it writes.
    HeldUpByKing,
    /// Mars is ready and gets no CPU.
    WaitsForCpu,
    /// One event runs all the time.
    LongEvent,
    /// Mars computes event after event.
    Busy,
    /// Mars computes, and no event runs.
    OutsideEvent,
    /// Mars computes; whether for an event is not known.
    Computing,
    /// Mars is free, the event log waits for storage.
    LogCommit,
    /// Mars is free, the king is not.
    KingBusy,
    /// Mars is free, the king does not answer.
    KingSilent,
    /// Nothing holds it up.
    Idle,
    /// What was seen does not say.
    CannotTell,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Its kind.
    pub kind: VerdictKind,
    /// In words.
    pub sentence: String,
}

pub(super) fn judge(watch: &Watch, threads: &[ThreadView], event: Option<&EventView>) -> Verdict {
    let kind = kind(watch, threads, event);
    Verdict {
        kind,
        sentence: sentence(kind, watch, threads, event),
    }
}

fn kind(watch: &Watch, threads: &[ThreadView], event: Option<&EventView>) -> VerdictKind {
    let of_role = |role| threads.iter().find(|thread| thread.role == role);
    let is_stopped = |role| of_role(role).is_some_and(|t| t.doing == Activity::Stopped);
    if is_stopped(Role::Mars) || is_stopped(Role::King) {
        return VerdictKind::Stopped;
    }
    let Some(mars) = of_role(Role::Mars).filter(|mars| mars.doing != Activity::Ended) else {
        return if watch.mars_tgid.is_none() {
            VerdictKind::NoMars
        } else {
            VerdictKind::CannotTell
        };
    };
    if watch.is_booting {
        return VerdictKind::Boots;
    }
    if !watch.is_up {
        return VerdictKind::NotUp;
    }
    if is_in_snapshot(watch, mars) {
        return VerdictKind::Snapshot;
    }
    if 1.0 - mars.ratio(Activity::Waits(Wait::Work)) >= BUSY_RATIO {
        return of_busy_mars(mars, event);
    }
    if commit_disk_ratio(watch) >= BUSY_RATIO {
        return VerdictKind::LogCommit;
    }
    match of_role(Role::King) {
        Some(king) if is_king_busy(king) => VerdictKind::KingBusy,
        _ if matches!(watch.king, KingReply::Silent { .. }) => VerdictKind::KingSilent,
        _ => VerdictKind::Idle,
    }
}

/// The snapshot's files outlive a crash, so an idle mars beside them writes none.
fn is_in_snapshot(watch: &Watch, mars: &ThreadView) -> bool {
    let is_idle = mars.doing == Activity::Waits(Wait::Work);
    !is_idle && watch.moments.last().is_some_and(|m| m.has_snapshot_files)
}

fn of_busy_mars(mars: &ThreadView, event: Option<&EventView>) -> VerdictKind {
    let mut shares = mars.shares.iter();
    let largest = shares.find(|share| share.doing != Activity::Waits(Wait::Work));
    match largest.map(|share| share.doing) {
        Some(Activity::Runs) => of_running_mars(mars, event),
        Some(Activity::Waits(wait)) => match wait {
            Wait::Disk => VerdictKind::Disk,
            Wait::Page => VerdictKind::Memory,
            Wait::MemoryMap => VerdictKind::MemoryMap,
            Wait::King => VerdictKind::HeldUpByKing,
            Wait::Work | Wait::Network | Wait::Uninterruptible | Wait::Unread | Wait::Other => {
                VerdictKind::CannotTell
            }
        },
        Some(Activity::Stopped | Activity::Ended) | None => VerdictKind::CannotTell,
    }
}

fn of_running_mars(mars: &ThreadView, event: Option<&EventView>) -> VerdictKind {
    if mars.is_starved() {
        return VerdictKind::WaitsForCpu;
    }
    match event {
        None => VerdictKind::Computing,
        Some(event) if event.ended_total > 0 => VerdictKind::Busy,
        Some(event) if event.is_running && event.running_ratio >= ONE_EVENT_RATIO => {
            VerdictKind::LongEvent
        }
        Some(event) if event.running_ratio < BUSY_RATIO => VerdictKind::OutsideEvent,
        Some(_) => VerdictKind::Busy,
    }
}

fn is_king_busy(king: &ThreadView) -> bool {
    let [idle, unread] = [Wait::Work, Wait::Unread].map(|wait| king.ratio(Activity::Waits(wait)));
    king.on_cpu_ratio
        .is_some_and(|ratio| ratio >= KING_BUSY_RATIO)
        || 1.0 - idle - unread >= BUSY_RATIO
}

/// The share of looks at which some commit worker waited for storage: commits go from one to another.
pub(super) fn commit_disk_ratio(watch: &Watch) -> f64 {
    let role_of = |tid: &u32| watch.threads.get(tid).map(|identity| identity.role);
    let is_waiting = |moment: &&super::Moment| {
        moment.threads.iter().any(|(tid, sample)| {
            role_of(tid) == Some(Role::CommitWorker)
                && activity(Role::CommitWorker, sample) == Activity::Waits(Wait::Disk)
        })
    };
    let looks = watch.moments.len().max(1);
    watch.moments.iter().filter(is_waiting).count() as f64 / looks as f64
}
