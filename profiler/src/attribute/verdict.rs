//! When a ship is healthy, and when it is not.
//!
//! Shares mean nothing while nothing hurts. Where the ship's events were followed, it is healthy if 95 %
//! of them took less than 100 ms, and stalled otherwise, by the cause that took most of their time. Their own
//! computing is left aside, unless it is more than half of it. A ship of which a thread was on CPU for 90 %
//! of the time is stalled too: what waits for it in the king's queues is in no event's time yet.
//!
//! Where too few could be followed, a ship is taken for healthy if all of this holds:
//!
//! - neither king, nor mars, nor the commit workers together stalled (neither idle nor on CPU) for
//!   10 % of the time or more;
//! - fewer than three of their waits lasted 100 ms or more;
//! - none was on CPU for 90 % of its time or more.
//!
//! A ship that stalled gets the cause that held it up longest. Computing is its work and holds nothing
//! up, unless a thread was saturated with it.
//!
//! A ship without a Nock process, or one that is built for the first time, is not up, and is told so
//! before anything else. Where sums were lost nobody is called healthy.
//!
//! A ship below that floor, but with fewer than 20 events, had too little to do to be judged.

use serde::Serialize;

use super::{Attribution, Cause, EventTimes};

/// Share of the time from which on stalls of king, mars, or the commit workers count.
pub const HEALTHY_STALL_RATIO: f64 = 0.10;
/// Where 95 % of the events took less than this, the ship is quick; the SLA of the field is 1 s.
pub const SLOW_EVENT_NS: u64 = 100_000_000;
/// A wait that is felt: the same 100 ms below which the p95 of a healthy ship's events lies.
pub const LONG_WAIT_NS: u64 = 100_000_000;
/// How many such waits a capture of a healthy ship may hold (one snapshot may make a few).
pub const LONG_WAITS: u64 = 3;
/// Share of a thread's time on CPU from which on it counts as saturated.
pub const SATURATED_RATIO: f64 = 0.90;
/// Fewer events than this cannot be judged.
pub const MIN_EVENTS: u64 = 20;

/// What kind of sentence the verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Something held the ship up.
    Stalled,
    /// The ship was quick, but something severe happened beside it.
    Finding,
    /// Nothing is wrong.
    Healthy,
    /// Too little happened.
    TooFewEvents,
    /// The ship computes no events: it has no Nock process, or builds itself for the first time.
    NotUp,
    /// Sums were lost, so nothing can be said of the whole ship.
    CannotTell,
}

/// What is known beside the shares.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Whether the ship's Nock process ran and was no first boot.
    pub up: bool,
    /// Whether there is a severe finding.
    pub severe: bool,
    /// Whether no sum was lost.
    pub whole: bool,
    /// How many events there were, if known.
    pub events: Option<u64>,
}

/// Judges: the kind, and the heaviest cause if the ship stalled.
pub fn judge(
    attribution: &Attribution,
    circumstances: Circumstances,
) -> (VerdictKind, Option<Cause>) {
    if !circumstances.up {
        return (VerdictKind::NotUp, None);
    }
    if let Some(events) = &attribution.events {
        return of_events(attribution, events, circumstances);
    }
    let stalled = attribution.worst_stall_ratio >= HEALTHY_STALL_RATIO
        || attribution.long_waits() >= LONG_WAITS
        || attribution.is_saturated();
    if stalled {
        let heaviest = Cause::ALL
            .into_iter()
            .rev()
            .max_by_key(|c| attribution.stalling_ns(*c));
        return (VerdictKind::Stalled, heaviest);
    }
    if circumstances.severe {
        return (VerdictKind::Finding, None);
    }
    if !circumstances.whole {
        return (VerdictKind::CannotTell, None);
    }
    match circumstances.events {
        Some(events) if events < MIN_EVENTS => (VerdictKind::TooFewEvents, None),
        _ => (VerdictKind::Healthy, None),
    }
}

/// Judges by the time of events.
fn of_events(
    attribution: &Attribution,
    events: &EventTimes,
    circumstances: Circumstances,
) -> (VerdictKind, Option<Cause>) {
    let p95_ns = events.all.histogram.quantile(950).unwrap_or(0);
    if p95_ns.min(events.all.max_ns) >= SLOW_EVENT_NS || attribution.is_saturated() {
        let causes = Cause::ALL.into_iter().rev();
        let heaviest = causes.max_by_key(|cause| attribution.stalling_ns(*cause));
        (VerdictKind::Stalled, heaviest)
    } else if circumstances.severe {
        (VerdictKind::Finding, None)
    } else if circumstances.whole {
        (VerdictKind::Healthy, None)
    } else {
        (VerdictKind::CannotTell, None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Leaf, Part};
    use super::*;

    const QUIET: Circumstances = Circumstances {
        up: true,
        severe: false,
        whole: true,
        events: Some(MIN_EVENTS),
    };

    fn attribution(stall: f64, on_cpu: f64, long_waits: u64) -> Attribution {
        let mut disk = Part {
            total_ns: 5_000,
            ..Part::default()
        };
        for _ in 0..long_waits {
            disk.waits.add_value(LONG_WAIT_NS * 11 / 10);
        }
        let computing = Part {
            total_ns: 90_000,
            ..Part::default()
        };
        Attribution {
            wall_ns: 95_000,
            parts: [(Leaf::LogCommit, disk), (Leaf::Computing, computing)].into(),
            worst_stall_ratio: stall,
            worst_on_cpu_ratio: on_cpu,
            ..Attribution::default()
        }
    }

    fn kind(stall: f64, on_cpu: f64, long_waits: u64) -> (VerdictKind, Option<Cause>) {
        judge(&attribution(stall, on_cpu, long_waits), QUIET)
    }

    #[test]
    fn each_limit_is_where_it_is_said_to_be() {
        let healthy = (VerdictKind::Healthy, None);
        assert_eq!(kind(0.099, 0.899, 2), healthy);
        let disk = (VerdictKind::Stalled, Some(Cause::Disk));
        assert_eq!(kind(0.10, 0.0, 0), disk);
        assert_eq!(kind(0.0, 0.0, 3), disk);
    }

    #[test]
    fn computing_is_a_cause_only_when_it_fills_a_cpu() {
        assert_eq!(
            kind(0.10, 0.90, 0),
            (VerdictKind::Stalled, Some(Cause::Cpu))
        );
        assert_eq!(kind(0.0, 0.90, 0), (VerdictKind::Stalled, Some(Cause::Cpu)));
    }

    #[test]
    fn nothing_is_wrong_only_if_all_is_known() {
        let quiet = attribution(0.0, 0.0, 0);
        let of = |circumstances| judge(&quiet, circumstances).0;
        assert_eq!(of(QUIET), VerdictKind::Healthy);
        let few = Circumstances {
            events: Some(MIN_EVENTS - 1),
            ..QUIET
        };
        assert_eq!(of(few), VerdictKind::TooFewEvents);
        let lost = Circumstances {
            whole: false,
            ..QUIET
        };
        assert_eq!(of(lost), VerdictKind::CannotTell);
        let severe = Circumstances {
            severe: true,
            ..lost
        };
        assert_eq!(of(severe), VerdictKind::Finding);
        let down = Circumstances {
            up: false,
            ..severe
        };
        assert_eq!(of(down), VerdictKind::NotUp);
    }
}
