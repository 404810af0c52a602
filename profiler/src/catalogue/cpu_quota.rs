//! A CPU quota that is used up.

use super::place::Lasting;
use super::{Answer, Assessment, Entry, Gain, Kind, Restart, Risk, Situation, Step, place};
use crate::attribute::{Cause, Leaf};
use crate::host::cgroup::{CpuLimit, Version};
use crate::host::counters::KernelCounters;
use crate::model::Meta;
use crate::report::units::spent;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "cpu-quota",
    title: "remove or raise the CPU quota",
    cause: Cause::Cpu,
    shrinks: &[Leaf::Throttled],
    why: "A group that has used up its CPU quota stands still until the next period, whatever \
          the ship has to do.",
    gain: "All of the time that the group's cpu.stat says it was throttled, as far as the ship's \
           threads waited.",
    check: "the quotas of the ship's control groups, and in their cpu.stat what they cost",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::Low,
    source: "Linux Documentation/scheduler/sched-bwc.rst: a group that has used its quota stands \
             still until the next period",
    apply: &[
        "echo 'max 100000' > /sys/fs/cgroup/GROUP/cpu.max",
        "for good: CPUQuota= in the unit, or docker update --cpus CPUS CONTAINER",
    ],
    undo: &["echo 'OLD_QUOTA OLD_PERIOD' > /sys/fs/cgroup/GROUP/cpu.max"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let cgroup = &situation.meta().host.cgroup;
    let proposed = "no quota";
    let without = |answer, current: Option<String>, reason| {
        Assessment::without_change(answer, current, proposed, reason)
    };
    if let Some(reason) = cgroup.cpu_limits.reason() {
        return without(Answer::CannotTell, None, reason.to_owned());
    }
    let Some(limit) = limit_that_throttled(situation.meta()) else {
        return without(
            Answer::AlreadySo,
            Some("none".to_owned()),
            "there is no quota".to_owned(),
        );
    };
    let current = Some(format!(
        "{:.2} CPUs in {}",
        limit.cpus(),
        limit.group.display()
    ));
    let throttled_ns = situation.attribution.leaf_ns(Leaf::Throttled);
    let group = limit.group.display().to_string();
    let group = group.trim_start_matches('/');
    // Where systemd and Docker mount them.
    let (file, none, old) = match limit.version {
        Version::V2 => (
            format!("/sys/fs/cgroup/{group}/cpu.max"),
            format!("max {}", limit.period_us),
            format!("{} {}", limit.quota_us, limit.period_us),
        ),
        Version::V1 => (
            format!("/sys/fs/cgroup/cpu/{group}/cpu.cfs_quota_us"),
            "-1".to_owned(),
            limit.quota_us.to_string(),
        ),
    };
    let (set, reset) = (Step::write(&file, none), Step::write(&file, old));
    if throttled_ns == 0 {
        let reason = "the ship was never throttled".to_owned();
        return without(Answer::NoEvidence, current, reason).or_try(set, reset);
    }
    let cpus = situation.meta().host.kernel.online_cpus.known();
    let cpus = cpus.copied().unwrap_or(1);
    Assessment {
        answer: Answer::WouldHelp(Gain::StalledTime {
            low_ns: throttled_ns,
            high_ns: throttled_ns,
        }),
        current,
        proposed: proposed.to_owned(),
        reason: format!(
            "throttled for {}",
            spent(throttled_ns, situation.attribution)
        ),
        apply: [set]
            .into_iter()
            .chain(place::keep(situation, &Lasting::CpuQuota(cpus)))
            .collect(),
        undo: [reset]
            .into_iter()
            .chain(place::forget(situation, &Lasting::CpuQuota(cpus)))
            .collect(),
        ..Assessment::default()
    }
}

/// The quota of the level that stood still longest in the window, and the tightest if none did.
pub fn limit_that_throttled(meta: &Meta) -> Option<&CpuLimit> {
    let limits = meta.host.cgroup.cpu_limits.known()?;
    let throttled_ns = |limit: &CpuLimit| {
        let of = |counters: &KernelCounters| {
            let levels = counters.throttling.known()?;
            let level = levels.iter().find(|level| level.group == limit.group)?;
            Some(level.throttled_ns)
        };
        let (before, after) = (of(&meta.counters_start), of(&meta.counters_end));
        before
            .zip(after)
            .map_or(0, |(before, after)| after.saturating_sub(before))
    };
    let most = limits.iter().max_by_key(|limit| throttled_ns(limit))?;
    if throttled_ns(most) > 0 {
        Some(most)
    } else {
        meta.host.cgroup.tightest_cpu_limit()
    }
}
