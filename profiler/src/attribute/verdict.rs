//! When a ship is healthy, and when it is not.
//!
//! Shares mean nothing while nothing hurts. As long as the capture does not know the ship's
//! events (their p95 is the proper floor), a ship is taken for healthy if all of this holds:
//!
//! - neither king, nor mars, nor the commit workers together stalled (neither idle nor on CPU) for
//!   10 % of the time or more;
//! - fewer than three of their waits lasted 100 ms or more;
//! - none was on CPU for 90 % of its time or more.
//!
//! A ship that stalled gets the cause that held it up longest. Computing is its work and holds nothing
//! up, unless a thread was saturated with it.
//!
//! A ship below that floor, but with fewer than 20 events, had too little to do to be judged.

use serde::Serialize;

use super::{Attribution, Cause};

/// Share of the time from which on stalls of king, mars, or the commit workers count.
pub const HEALTHY_STALL_RATIO: f64 = 0.10;
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
}

/// Judges: the kind, and the heaviest cause if the ship stalled. `severe` is whether there is a
/// severe finding; `events` how many there were, if known.
pub fn judge(
    attribution: &Attribution,
    severe: bool,
    events: Option<u64>,
) -> (VerdictKind, Option<Cause>) {
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
    if severe {
        return (VerdictKind::Finding, None);
    }
    match events {
        Some(events) if events < MIN_EVENTS => (VerdictKind::TooFewEvents, None),
        _ => (VerdictKind::Healthy, None),
    }
}
