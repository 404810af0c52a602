//! CPUs that the ship may run on.

use super::place::{self, Lasting};
use super::{Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::{Cause, Leaf, ratio};
use crate::report::units::{percent, spent};

/// King and mars compute at once; a commit worker sleeps most of its time.
const LEAST_CPUS: u32 = 2;
/// Share of busy time in the run queue below which more CPUs would not be noticed.
const MIN_RUN_QUEUE_RATIO: f64 = 0.02;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "affinity",
    title: "let the ship run on two CPUs or more",
    cause: Cause::Cpu,
    shrinks: &[Leaf::RunQueue],
    why: "King, mars and the commit worker work at the same time. Pinned to one CPU they take turns; \
          pinned at all they wait for their CPUs while others are free.",
    gain: "Where the ship is pinned to one CPU: at most all of its time in the run queue, at least \
           half of what its own threads made each other wait. Pinning an unpinned ship is never \
           advised: it takes CPUs away and reserves none.",
    check: "Cpus_allowed_list of the ship's processes, the CPUs that are online, and the time in the \
            run queue",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::Low,
    source: "sched_setaffinity(2); vere's source says nothing about it: mars computes while the worker \
             commits (pkg/vere/disk.c) and the king does I/O",
    apply: &[
        "taskset -a -c -p 0-LAST KING; taskset -a -c -p 0-LAST MARS",
        "for good: CPUAffinity= and AllowedCPUs= in the unit, or docker update --cpuset-cpus",
    ],
    undo: &["taskset -a -c -p OLD KING; taskset -a -c -p OLD MARS"],
    assess,
};

/// How many CPUs ranges hold.
pub fn count(ranges: &[(u32, u32)]) -> u32 {
    let sizes = ranges
        .iter()
        .map(|(first, last)| last.saturating_sub(*first).saturating_add(1));
    sizes.fold(0, u32::saturating_add)
}

/// As the kernel writes them: `0-3,8`.
pub fn list(ranges: &[(u32, u32)]) -> String {
    let texts: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    texts.join(",")
}

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let host = &situation.meta().host;
    let online = host.kernel.online_cpus.known().copied();
    let processes = host.processes.values().filter_map(|one| one.known());
    let allowed = processes.filter_map(|process| process.allowed_cpus.known());
    let narrowest = allowed.min_by_key(|ranges| count(ranges));
    let (Some(online), Some(ranges)) = (online, narrowest) else {
        return Setting::new(None, "two CPUs or more").cannot_tell("its CPUs are not known");
    };
    let allowed = count(ranges).min(online);
    let setting = Setting::new(
        Some(format!("CPUs {} of {online}", list(ranges))),
        "two CPUs or more, best all",
    );
    if allowed >= LEAST_CPUS.min(online) {
        let rest = "pinning reserves nothing and makes king, mars and commit worker wait";
        return setting.already_so(format!("it may run on {allowed} of {online} CPUs; {rest}"));
    }
    let waited_ns = situation.leaf_ns(Leaf::RunQueue);
    let share = ratio(waited_ns, situation.attribution.busy_ns());
    let wide = Step::SetAffinity {
        tgids: situation.meta().ship.tgids(),
        cpus: format!("0-{}", online - 1),
    };
    let narrow = Step::SetAffinity {
        tgids: situation.meta().ship.tgids(),
        cpus: list(ranges),
    };
    let reason = format!(
        "one CPU of {online}, and {} of the busy time in the run queue",
        percent(share)
    );
    if share < MIN_RUN_QUEUE_RATIO {
        return setting.no_evidence(reason).or_try(wide, narrow);
    }
    let own_ns = own_wait_ns(situation).min(waited_ns);
    let lasting = Lasting::AllCpus(online);
    setting.would_help(
        Gain::StalledTime {
            low_ns: own_ns / 2,
            high_ns: waited_ns,
        },
        format!(
            "{reason}: {} waiting, part of it for its own threads",
            spent(waited_ns, situation.attribution)
        ),
        [wide]
            .into_iter()
            .chain(place::keep(situation, &lasting))
            .collect(),
        [narrow]
            .into_iter()
            .chain(place::forget(situation, &lasting))
            .collect(),
    )
}

/// Time that its own threads made each other wait; 0 where it was not measured behind whom they waited.
fn own_wait_ns(situation: &Situation<'_>) -> u64 {
    use crate::aggregate::neighbour::NeighbourKind;
    let neighbours = situation.summaries.neighbours.as_ref();
    let parts = crate::attribute::blame::run_queue(situation.attribution, neighbours);
    let own = parts.iter().filter(|part| {
        part.neighbour
            .is_some_and(|one| one.kind == NeighbourKind::Ship)
    });
    crate::model::sum(own.map(|part| part.ns))
}
