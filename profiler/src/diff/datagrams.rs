//! Datagrams that were lost at a full receive buffer, before and after. An event waits longer for one that
//! was lost than for anything else here (whoever sent it waits for seconds, then sends it again), and no
//! event tells of it: so where their number changed, that decides for the whole.
//!
//! They are only counted, so how much their number varies by itself is not known. A change is therefore
//! called one only where the side that lost more did so throughout, and lost more than twice as many a
//! second while about as many came.

use serde::Serialize;

use super::compare::Outcome;
use crate::model::NS_PER_S;
use crate::report::Report;

/// A side must have lost so many, for fewer to mean something.
const MIN_LOST: u64 = 20;
/// They must lie apart by so much of the time: what comes at once is one burst.
const MIN_SPREAD_RATIO: f64 = 0.5;
/// So many times as many a second are more.
const MORE_RATIO: f64 = 2.0;

/// What both sides lost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Datagrams {
    /// Lost a second, before.
    pub before_lost_hz: f64,
    /// Lost a second, after.
    pub after_lost_hz: f64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What one side lost.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    lost: u64,
    arrived: Option<u64>,
    spread_ns: u64,
    window_ns: u64,
}

impl Lost {
    /// In all windows of a side; nothing if one could not count them.
    fn of<'a>(reports: impl Iterator<Item = &'a Report>) -> Option<Self> {
        let mut sum = Self {
            arrived: Some(0),
            ..Self::default()
        };
        for report in reports {
            let udp = report.udp.as_ref()?;
            let lost = udp.dropped?;
            sum.lost += lost;
            let arrived = udp.received.map(|received| received + lost);
            sum.arrived = sum.arrived.zip(arrived).map(|(sum, more)| sum + more);
            sum.spread_ns += udp.drop_span_ns;
            sum.window_ns += report.window.duration_ns;
        }
        Some(sum)
    }

    fn hz(&self, count: u64) -> f64 {
        count as f64 * NS_PER_S as f64 / self.window_ns.max(1) as f64
    }

    fn lost_hz(&self) -> f64 {
        self.hz(self.lost)
    }

    /// Whether it lost enough, for long enough, to be compared.
    fn is_steady(&self) -> bool {
        let spread = self.spread_ns as f64 / self.window_ns.max(1) as f64;
        self.lost >= MIN_LOST && spread >= MIN_SPREAD_RATIO
    }
}

impl Datagrams {
    /// Of the windows of both sides; nothing if either could not count them.
    pub fn of<'a>(
        before: impl Iterator<Item = &'a Report>,
        after: impl Iterator<Item = &'a Report>,
    ) -> Option<Self> {
        let (before, after) = (Lost::of(before)?, Lost::of(after)?);
        Some(Self {
            before_lost_hz: before.lost_hz(),
            after_lost_hz: after.lost_hz(),
            outcome: outcome(&before, &after),
        })
    }

    /// `61.0 datagrams a second were lost before, none after`.
    pub fn words(&self) -> String {
        let rate = |hz: f64| match hz > 0.0 {
            true => format!("{hz:.1}"),
            false => "none".to_owned(),
        };
        let (before, after) = (rate(self.before_lost_hz), rate(self.after_lost_hz));
        match self.before_lost_hz > 0.0 {
            true => format!("{before} datagrams a second were lost before, {after} after"),
            false => format!("{after} datagrams a second were lost after, {before} before"),
        }
    }
}

fn outcome(before: &Lost, after: &Lost) -> Outcome {
    let (worse, better, is) = match before.lost_hz() >= after.lost_hz() {
        true => (before, after, Outcome::Helped),
        false => (after, before, Outcome::Worse),
    };
    if worse.lost == 0 {
        return Outcome::NoEffect;
    }
    if !worse.is_steady() || load_differs(before, after) {
        return Outcome::NotEnoughData;
    }
    match worse.lost_hz() > MORE_RATIO * better.lost_hz() {
        true => is,
        false => Outcome::NoEffect,
    }
}

/// Whether more than twice as many came on one side. Where the kernel does not let us count those that were
/// received, it is taken on trust that they did not.
fn load_differs(before: &Lost, after: &Lost) -> bool {
    let Some((old, new)) = before.arrived.zip(after.arrived) else {
        return false;
    };
    let (old, new) = (before.hz(old), after.hz(new));
    old.max(new) > MORE_RATIO * old.min(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: u64 = 30;

    fn lost(lost: u64, arrived: Option<u64>, spread_s: u64) -> Lost {
        Lost {
            lost,
            arrived,
            spread_ns: spread_s * NS_PER_S,
            window_ns: SECONDS * NS_PER_S,
        }
    }

    #[test]
    fn what_is_lost_throughout_and_then_no_more_helped() {
        let (many, none) = (lost(600, Some(6000), 29), lost(0, Some(5500), 0));
        assert_eq!(outcome(&many, &none), Outcome::Helped);
        assert_eq!(outcome(&none, &many), Outcome::Worse);
        assert_eq!(outcome(&none, &none), Outcome::NoEffect);
        assert_eq!(
            outcome(&lost(600, None, 29), &lost(0, None, 0)),
            Outcome::Helped
        );
        let fewer = lost(400, Some(6000), 29);
        assert_eq!(outcome(&many, &fewer), Outcome::NoEffect);
    }

    #[test]
    fn a_burst_a_few_and_another_load_say_nothing() {
        let none = lost(0, Some(6000), 0);
        for other in [
            lost(600, Some(6000), 3),
            lost(19, Some(6000), 29),
            lost(600, Some(13_000), 29),
        ] {
            assert_eq!(outcome(&other, &none), Outcome::NotEnoughData, "{other:?}");
        }
    }
}
