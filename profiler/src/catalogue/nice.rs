//! A better place in the run queue.

use super::place::Lasting;
use super::{
    Assessment, Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step, place, sysctl,
};
use crate::aggregate::neighbour::Neighbour;
use crate::attribute::{Cause, Leaf, blame, ratio};
use crate::model::sum;
use crate::report::units::{percent, spent};

/// The nice value that the unit files of the field use.
const PROPOSED: i64 = -10;
/// Scheduler weights of nice 0 and -10 (`sched_prio_to_weight`, `kernel/sched/core.c`): against
/// one competitor of nice 0 a thread gets 90 % of a CPU instead of half.
const WEIGHT_NICE_0: f64 = 1024.0;
const WEIGHT_PROPOSED: f64 = 9548.0;
/// Share of busy time in the run queue below which it does not matter.
const MIN_RUN_QUEUE_RATIO: f64 = 0.02;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "nice",
    title: "give the ship a nice value of -10",
    cause: Cause::Cpu,
    shrinks: &[Leaf::RunQueue],
    why: "Where others want the CPU as well, the ship gets its turn later.",
    gain: "The time in the run queue behind other processes, less the share that a competitor of \
           nice 0 still gets by the scheduler's weights; at least half of that, because nice may \
           not reach into another group or session.",
    check: "nice values of the ship's processes, and who ran while they waited for a CPU",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::Medium,
    source: "sched(7); mars inherits the king's nice value (fork); vere's source says nothing \
             about it",
    apply: &[
        "for t in /proc/KING/task/* /proc/MARS/task/*; do renice -n -10 -p \"${t##*/}\"; done",
        "for good, in the ship's unit: [Service] Nice=-10",
    ],
    undo: &["for t in /proc/KING/task/* /proc/MARS/task/*; do renice -n OLD -p \"${t##*/}\"; done"],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let attribution = situation.attribution;
    let meta = situation.meta();
    let processes = meta.host.processes.values();
    let nice = processes.filter_map(|one| Some(one.known()?.nice)).max();
    let setting = Setting::new(nice.map(|nice| nice.to_string()), PROPOSED.to_string());
    if nice.is_some_and(|nice| nice <= PROPOSED) {
        return setting.already_so(format!("both processes have {PROPOSED} or better"));
    }
    let renice = |nice| Step::SetNice {
        tgids: meta.ship.tgids(),
        nice,
    };
    let (set, reset) = (renice(PROPOSED), renice(nice.unwrap_or(0)));
    let run_queue_ns = attribution.leaf_ns(Leaf::RunQueue);
    let share = ratio(run_queue_ns, attribution.busy_ns());
    if share < MIN_RUN_QUEUE_RATIO {
        let reason = format!(
            "only {} of the busy time was spent waiting for a CPU",
            percent(share)
        );
        return setting.no_evidence(reason).or_try(set, reset);
    }
    let waited = format!("{} in the run queue", spent(run_queue_ns, attribution));
    let Some(neighbours) = situation.summaries.neighbours.as_ref() else {
        let reason = format!("{waited}, but behind whom was not measured");
        return setting.cannot_tell(reason).or_try(set, reset);
    };
    // A nice value acts on other processes and ships, not on the kernel, nor among its own threads.
    let parts = blame::run_queue(attribution, Some(neighbours));
    let of_others = parts
        .iter()
        .filter(|part| part.neighbour.is_some_and(Neighbour::is_other));
    let others_ns = sum(of_others.map(|part| part.ns));
    let Some((first, _)) = blame::heaviest(&parts, Neighbour::is_other) else {
        let reason = format!("{waited}, but behind nobody else");
        return setting.no_evidence(reason).or_try(set, reset);
    };
    let high_ns = others_ns as f64 * (1.0 - WEIGHT_NICE_0 / WEIGHT_PROPOSED);
    let reason = format!(
        "{waited}, {} of it behind other processes, first {}{}",
        percent(ratio(others_ns, run_queue_ns)),
        first.short(),
        autogroups(situation)
    );
    let lasting = Lasting::Nice(PROPOSED);
    let with = |step, lasting: Vec<Step>| [step].into_iter().chain(lasting).collect();
    setting.would_help(
        // In another control group or session nice may not reach the competitor at all.
        Gain::StalledTime {
            low_ns: (high_ns / 2.0) as u64,
            high_ns: high_ns as u64,
        },
        reason,
        with(set, place::keep(situation, &lasting)),
        with(reset, place::forget(situation, &lasting)),
    )
}

/// How far nice reaches where each session has a group of its own (sched(7), autogroups).
fn autogroups(situation: &Situation<'_>) -> &'static str {
    match sysctl(situation.meta(), "kernel.sched_autogroup_enabled") {
        Some("1") => "; by the kernel's autogroups nice reaches no further than its session",
        _ => "",
    }
}
