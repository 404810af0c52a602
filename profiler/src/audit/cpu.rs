//! CPUs: the ship's share of them.

use super::{Declaration, Facts, Found, declare, failed, judged, known, not_applicable, passed};
use crate::attribute::ratio;
use crate::catalogue::affinity;
use crate::report::units::{count, percent};

/// The nice value that the field advises.
const WANTED_NICE: i64 = -10;
/// Share of a thread's time in the run queue from which on it is felt.
const FELT_RATIO: f64 = 0.02;
/// Share of stolen time from which on a host is worth leaving.
const STOLEN_RATIO: f64 = 0.01;

pub(super) const CHECKS: &[Declaration] = &[
    declare("nice", "nice value", Some("nice"), nice),
    declare("affinity", "two CPUs or more", Some("affinity"), cpus),
    declare(
        "cpu-quota",
        "no CPU quota in the way",
        Some("cpu-quota"),
        quota,
    ),
    declare("steal", "nothing stolen", Some("steal"), steal),
];

fn nice(facts: &Facts) -> Result<Found, String> {
    let processes = facts.host.processes.values();
    let values = processes.filter_map(|process| Some(process.known()?.nice));
    let nice = values.max().ok_or("its processes cannot be read")?;
    let (on_cpu_ns, queued_ns) = *known(&facts.mars_times)?;
    let waited = ratio(queued_ns, on_cpu_ns.saturating_add(queued_ns));
    let text = format!(
        "{nice}; mars waited for a CPU {} of the time it wanted one",
        percent(waited)
    );
    Ok(judged(nice <= WANTED_NICE || waited < FELT_RATIO, text))
}

fn cpus(facts: &Facts) -> Result<Found, String> {
    let online = *known(&facts.host.kernel.online_cpus)?;
    let mut narrowest: Option<&Vec<(u32, u32)>> = None;
    for process in facts.host.processes.values() {
        let ranges = known(&known(process)?.allowed_cpus)?;
        if narrowest.is_none_or(|least| affinity::count(ranges) < affinity::count(least)) {
            narrowest = Some(ranges);
        }
    }
    let ranges = narrowest.ok_or("its processes cannot be read")?;
    let allowed = affinity::count(ranges).min(online);
    let text = format!("CPUs {} of {online} online", affinity::list(ranges));
    Ok(match (online, allowed) {
        (1, _) => not_applicable("this host has one CPU"),
        (_, 1) => failed(text),
        _ => passed(text),
    })
}

fn quota(facts: &Facts) -> Result<Found, String> {
    let limits = known(&facts.host.cgroup.cpu_limits)?;
    let Some(limit) = facts.host.cgroup.tightest_cpu_limit() else {
        debug_assert!(limits.is_empty());
        return Ok(passed("none"));
    };
    let text = format!("{:.2} CPUs in {}", limit.cpus(), limit.group.display());
    let (throttled, periods) = *known(&facts.throttled)?;
    Ok(judged(
        throttled == 0,
        format!(
            "{text}, used up in {} of {} periods",
            count(throttled),
            count(periods)
        ),
    ))
}

fn steal(facts: &Facts) -> Result<Found, String> {
    let scheduler = known(&facts.scheduler)?;
    let stolen_ns = crate::model::sum(scheduler.steal_ns_by_cpu.iter().copied());
    let up_ns = *known(&facts.up_ns)?;
    let cpus = scheduler.steal_ns_by_cpu.len() as u64;
    let wanted_ns = up_ns
        .saturating_mul(cpus)
        .saturating_sub(scheduler.idle_ns)
        .max(stolen_ns);
    let share = ratio(stolen_ns, wanted_ns);
    Ok(judged(
        share < STOLEN_RATIO,
        format!("the hypervisor took {} since the start", percent(share)),
    ))
}
