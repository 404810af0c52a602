//! Behind whom a ship waits for a CPU: who had the CPUs meanwhile, and whether its own quota was used up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::host::Reading;
use crate::host::cgroup::Throttling;

/// Processes with less of a CPU are ahead of nobody.
const MIN_RATIO: f64 = 0.1;
/// So many are named.
const MAX_NAMED: usize = 3;

/// Sums before the looks, or behind them.
#[derive(Debug, Clone)]
pub struct CpuSums {
    /// When they were read, on CLOCK_MONOTONIC.
    pub at_ktime_ns: u64,
    /// CPU time of each process that is not the ship's, and its name.
    pub others: BTreeMap<u32, (String, u64)>,
    /// Quotas of mars' control groups.
    pub quotas: Reading<Vec<Throttling>>,
}

/// What was ahead of the ship.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ahead {
    /// Others that had the most of a CPU, the busiest first.
    pub busiest: Vec<Busy>,
    /// The quota that was used up most often; absent if none was, or none could be read.
    pub quota: Option<UsedUp>,
}

/// A process that had a CPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Busy {
    /// Its process id.
    pub tgid: u32,
    /// Its name, as it calls itself.
    pub comm: String,
    /// Its CPU time, as a share of one CPU's.
    pub on_cpu_ratio: f64,
}

/// A quota that was used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsedUp {
    /// The control group.
    pub group: PathBuf,
    /// Periods in which a member wanted to run.
    pub periods_total: u64,
    /// Those of them in which it was used up.
    pub throttled_periods_total: u64,
}

impl Ahead {
    /// What changed meanwhile.
    pub fn between(before: &CpuSums, after: &CpuSums) -> Self {
        let meanwhile_ns = after.at_ktime_ns.saturating_sub(before.at_ktime_ns);
        let ratio = |tgid: &u32, on_cpu_ns: u64| {
            // One that was not there before began meanwhile, or has the id of one that ended.
            let earlier = before.others.get(tgid).map_or(0, |(_, ns)| *ns);
            let grown_ns = on_cpu_ns.checked_sub(earlier).unwrap_or(on_cpu_ns);
            grown_ns as f64 / meanwhile_ns.max(1) as f64
        };
        let mut busiest: Vec<Busy> = after
            .others
            .iter()
            .map(|(tgid, (comm, on_cpu_ns))| Busy {
                tgid: *tgid,
                comm: comm.clone(),
                on_cpu_ratio: ratio(tgid, *on_cpu_ns),
            })
            .filter(|busy| busy.on_cpu_ratio >= MIN_RATIO)
            .collect();
        busiest.sort_by(|a, b| b.on_cpu_ratio.total_cmp(&a.on_cpu_ratio));
        busiest.truncate(MAX_NAMED);
        let quotas = |sums: &CpuSums| sums.quotas.known().cloned().unwrap_or_default();
        let earlier = quotas(before);
        let used_up = quotas(after).into_iter().filter_map(|quota| {
            let before = earlier.iter().find(|before| before.group == quota.group)?;
            Some(UsedUp {
                periods_total: quota.periods_total.saturating_sub(before.periods_total),
                throttled_periods_total: quota
                    .throttled_periods_total
                    .saturating_sub(before.throttled_periods_total),
                group: quota.group,
            })
        });
        Self {
            busiest,
            quota: used_up
                .filter(|quota| quota.throttled_periods_total > 0)
                .max_by_key(|quota| quota.throttled_periods_total),
        }
    }

    /// `yes (pid 12) had 98 % of a CPU, make (pid 40) 60 %`; nothing if nobody had any.
    pub fn words(&self) -> Option<String> {
        let words = self.busiest.iter().enumerate().map(|(at, busy)| {
            let Busy { tgid, comm, .. } = busy;
            let percent = busy.on_cpu_ratio * 100.0;
            if at == 0 {
                format!("{comm} (pid {tgid}) had {percent:.0} % of a CPU")
            } else {
                format!("{comm} (pid {tgid}) {percent:.0} %")
            }
        });
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(at_ktime_ns: u64, others: &[(u32, u64)], throttled: u64) -> CpuSums {
        let others = others
            .iter()
            .map(|(tgid, ns)| (*tgid, (format!("p{tgid}"), *ns)));
        CpuSums {
            at_ktime_ns,
            others: others.collect(),
            quotas: Reading::Known(vec![Throttling {
                group: "/ships".into(),
                periods_total: 10 + throttled,
                throttled_periods_total: throttled,
                throttled_ns: 0,
            }]),
        }
    }

    #[test]
    fn the_busiest_are_named_and_a_quota_that_was_used_up() {
        let before = sums(7, &[(1, 500), (2, 100), (3, 900)], 3);
        // 3 has ended, and another process has its id; 5 is new.
        let after = sums(1_007, &[(1, 1_450), (2, 150), (3, 400), (5, 600)], 8);
        let ahead = Ahead::between(&before, &after);
        assert_eq!(
            ahead.words().unwrap(),
            "p1 (pid 1) had 95 % of a CPU, p5 (pid 5) 60 %, p3 (pid 3) 40 %"
        );
        let quota = ahead.quota.unwrap();
        assert_eq!((quota.periods_total, quota.throttled_periods_total), (5, 5));
        let idle = Ahead::between(&after, &after);
        assert_eq!((idle.words(), &idle.quota), (None, &None));
    }
}
