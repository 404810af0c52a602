//! What the programs cost: an estimate.
//!
//! The kernel keeps their time only while it is asked to, which needs a privilege that a sampler gives
//! up. So it is asked twice at the beginning: for a moment before any ship is watched, which gives the
//! cost of a switch of anybody's, and for some seconds after, which gives what a switch of the ships'
//! costs on top, with all that the ship does between two of them. From then on switches are counted,
//! the host's by the kernel and the ships' by the programs. The kernel reads the clock twice a run to
//! keep the time, which takes longer than most runs: what a program that does nothing seems to take is
//! left out.

use crate::model::{ProgramCost, sum};

/// Name of the program that does nothing.
const EMPTY: &str = "empty";

/// What was counted up to a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Time of all programs.
    pub programs_ns: u64,
    /// Switches of the host.
    pub host_switches: u64,
    /// Of these, onto threads of the ships.
    pub ship_switches: u64,
}

/// Time of all programs, without what it took to keep it.
pub fn programs_ns(costs: &[ProgramCost]) -> u64 {
    let empty = costs.iter().find(|cost| cost.program == EMPTY);
    let ns_per_run = empty.and_then(|empty| empty.run_time_ns.checked_div(empty.runs));
    let ns_per_run = ns_per_run.unwrap_or(0);
    sum(costs
        .iter()
        .filter(|cost| cost.program != EMPTY)
        .map(|cost| {
            let keeping_ns = cost.runs.saturating_mul(ns_per_run);
            cost.run_time_ns.saturating_sub(keeping_ns)
        }))
}

impl Counts {
    /// From then to now.
    fn since(self, then: Self) -> Self {
        Self {
            programs_ns: self.programs_ns.saturating_sub(then.programs_ns),
            host_switches: self.host_switches.saturating_sub(then.host_switches),
            ship_switches: self.ship_switches.saturating_sub(then.ship_switches),
        }
    }
}

/// What switches cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    ns_per_host_switch: f64,
    ns_per_ship_switch: f64,
}

impl Model {
    /// From the counts before and after a time without a ship, and from those before and after a time
    /// with the ships; nothing if there were no switches to tell it from.
    pub fn of(without: (Counts, Counts), with: (Counts, Counts)) -> Option<Self> {
        let (without, with) = (without.1.since(without.0), with.1.since(with.0));
        if without.host_switches == 0 || with.ship_switches == 0 {
            return None;
        }
        let ns_per_host_switch = without.programs_ns as f64 / without.host_switches as f64;
        let rest_ns = with.programs_ns as f64 - ns_per_host_switch * with.host_switches as f64;
        Some(Self {
            ns_per_host_switch,
            ns_per_ship_switch: rest_ns.max(0.0) / with.ship_switches as f64,
        })
    }

    /// What the programs took.
    pub fn programs_ns(&self, host_switches: u64, ship_switches: u64) -> u64 {
        let of_host = self.ns_per_host_switch * host_switches as f64;
        (of_host + self.ns_per_ship_switch * ship_switches as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(programs_ns: u64, host_switches: u64, ship_switches: u64) -> Counts {
        Counts {
            programs_ns,
            host_switches,
            ship_switches,
        }
    }

    #[test]
    fn what_keeping_the_time_takes_is_left_out() {
        let cost = |program: &str, runs, run_time_ns| ProgramCost {
            program: program.to_owned(),
            runs,
            run_time_ns,
        };
        let (switch, quick) = (cost("sched_switch", 100, 9_000), cost("quick", 10, 300));
        let empty = cost(EMPTY, 200, 8_000);
        assert_eq!(programs_ns(&[switch.clone(), quick.clone()]), 9_300);
        assert_eq!(programs_ns(&[switch, quick, empty]), 5_000);
        assert_eq!(programs_ns(&[]), 0);
    }

    #[test]
    fn two_measurements_give_two_costs() {
        let begun = counts(0, 5_000, 0);
        let without = (begun, counts(100_000, 6_000, 0));
        let with = (counts(100_000, 6_000, 0), counts(1_300_000, 8_000, 1_000));
        let model = Model::of(without, with).unwrap();
        // 100 for each switch, and 1,000 more for each of the ship's.
        assert_eq!(model.programs_ns(2_000, 1_000), 1_200_000);
        assert_eq!(model.programs_ns(0, 0), 0);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let (none, some) = (Counts::default(), counts(9_000, 90, 9));
        assert_eq!(Model::of((none, none), (none, some)), None);
        assert_eq!(Model::of((none, some), (some, some)), None);
        // The ship's own may be too few to be seen.
        let quiet = counts(9_100, 190, 10);
        let model = Model::of((none, some), (some, quiet)).unwrap();
        assert_eq!(model.programs_ns(10, 1_000), 1_000);
    }
}
