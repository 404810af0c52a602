//! Time that the hypervisor took: an estimate.
//!
//! `/proc/stat` says for how long each CPU wanted to run and was not let; not which task that hit. A
//! thread that runs is hit as often as anybody who runs, and one that waits for a CPU waits longer by as
//! much. So of the time on CPU and in the run queue, the same share is charged to the hypervisor as
//! of all time in which this machine's CPUs were not idle.

use crate::model::{Meta, sum};

/// Below this share nothing is charged: nobody would notice.
const MIN_RATIO: f64 = 0.01;
/// Less than this (ns) is within the grain: the kernel counts it in ticks of 10 ms (`USER_HZ`).
const MIN_STOLEN_NS: u64 = 50_000_000;

/// What the kernel says was stolen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steal {
    /// From all CPUs together.
    pub stolen_ns: u64,
    /// Time in which CPUs were not idle, what was stolen included.
    pub wanted_ns: u64,
}

impl Steal {
    /// In the window; nothing if it could not be read.
    pub fn of(meta: &Meta) -> Option<Self> {
        let before = meta.counters_start.scheduler.known()?;
        let after = meta.counters_end.scheduler.known()?;
        // A CPU that came or went meanwhile has no difference.
        let cpus = before.steal_ns_by_cpu.iter().zip(&after.steal_ns_by_cpu);
        let stolen_ns = sum(cpus.clone().map(|(b, a)| a.saturating_sub(*b)));
        let idle_ns = after.idle_ns.saturating_sub(before.idle_ns);
        let whole_ns = meta
            .clocks
            .duration_ns()
            .saturating_mul(cpus.count() as u64);
        Some(Self {
            stolen_ns,
            wanted_ns: whole_ns.saturating_sub(idle_ns).max(stolen_ns),
        })
    }

    /// Share of the time that CPUs were wanted.
    pub fn ratio(&self) -> f64 {
        super::ratio(self.stolen_ns, self.wanted_ns)
    }

    /// The same as far as it is charged.
    pub fn charged_ratio(&self) -> f64 {
        let counts = self.stolen_ns >= MIN_STOLEN_NS && self.ratio() >= MIN_RATIO;
        if counts { self.ratio() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_nothing_and_a_part_is_one() {
        let tick = Steal {
            stolen_ns: 10_000_000,
            wanted_ns: 100_000_000,
        };
        assert_eq!(tick.charged_ratio(), 0.0);
        let part = Steal {
            stolen_ns: 1_000_000_000,
            wanted_ns: 4_000_000_000,
        };
        assert_eq!(part.charged_ratio(), 0.25);
        let none = Steal {
            stolen_ns: 0,
            wanted_ns: 0,
        };
        assert_eq!(none.ratio(), 0.0);
    }
}
