//! The sentences of a report: the verdict, the evidence of each part, what it is not.

use std::cmp::Reverse;

use super::mars_spans;
use super::state::State;
use super::units::{bytes, count, duration, percent, spent};
use super::{CauseShare, EventsLine, Finding, Severity, is_named};
use crate::aggregate::Summaries;
use crate::aggregate::block::BlockSummary;
use crate::aggregate::events::SpanKind;
use crate::aggregate::hoon::HoonSummary;
use crate::aggregate::neighbour::NeighbourKind;
use crate::aggregate::udp::UdpSummary;
use crate::attribute::{
    Attribution, Cause, EventTimes, HEALTHY_STALL_RATIO, LONG_WAIT_NS, Leaf, MIN_EVENTS, Party,
    VerdictKind, blame,
};
use crate::model::{Meta, sum};
use crate::report::build::device_name;
use crate::ship::Role;

/// What the shares are shares of.
pub fn basis(attribution: &Attribution, summaries: &Summaries) -> String {
    match &attribution.events {
        Some(events) => {
            let all = events.count();
            let at_limit = summaries.events.as_ref().map_or(0, |one| one.sent_at_limit);
            let unknown = match at_limit as f64 >= all as f64 * MIN_AT_LIMIT_RATIO {
                true => format!(
                    "; not measured: what {} of them may have waited in the king while ten were under way",
                    count(at_limit)
                ),
                false => String::new(),
            };
            format!(
                "time of {} events, waiting for others included{unknown}",
                count(all)
            )
        }
        None => {
            let why = match &summaries.events {
                Some(events) => {
                    let followed = events.spans.len() as u64;
                    let needed = match followed < MIN_EVENTS {
                        true => format!("; {MIN_EVENTS} are needed"),
                        false => String::new(),
                    };
                    let all = count(followed + events.unmatched);
                    format!("{} of {all} events followed{needed}", count(followed))
                }
                None => "events could not be followed".to_owned(),
            };
            format!("time in which king, mars, commit worker did not idle ({why})")
        }
    }
}

/// Share of the events from which on it is said that they were sent at the king's limit.
const MIN_AT_LIMIT_RATIO: f64 = 0.05;
/// A cause has a share of its own in the verdict if its other parts have this much.
const MIN_REST_RATIO: f64 = 0.01;
/// Share of a leaf of the disk from which on a neighbour is named there.
const MIN_DISK_RATIO: f64 = 0.05;

/// What evidence is made of.
pub struct Evidence<'a> {
    pub meta: &'a Meta,
    pub summaries: &'a Summaries,
    pub attribution: &'a Attribution,
}

/// What the sentences are made of.
pub struct Facts<'a> {
    pub meta: &'a Meta,
    pub summaries: &'a Summaries,
    pub attribution: &'a Attribution,
    pub shares: &'a [CauseShare],
    pub findings: &'a [Finding],
    pub events: Option<&'a EventsLine>,
    pub state: State,
}

impl<'a> Facts<'a> {
    fn evidence(&self) -> Evidence<'a> {
        Evidence {
            meta: self.meta,
            summaries: self.summaries,
            attribution: self.attribution,
        }
    }
}

/// The verdict in one or two sentences, with every severe finding.
pub fn verdict(kind: VerdictKind, cause: Option<Cause>, facts: &Facts<'_>) -> String {
    let first = facts.state.sentence().unwrap_or_default();
    let judged = match (kind, cause) {
        (VerdictKind::Stalled, Some(cause)) => stalled(cause, facts),
        (VerdictKind::Finding, Some(cause)) => {
            format!("{}. The ship's threads were quick, but see:", cause.title())
        }
        (VerdictKind::Finding, None) => "The ship's threads were quick, but see:".to_owned(),
        (VerdictKind::NotUp, _) => not_up(facts),
        (VerdictKind::CannotTell, _) => format!(
            "Cannot tell. {} sums were lost, so some of the ship's time is not known; see the losses, \
             and capture for a shorter time.",
            facts.meta.losses.of_budgets()
        ),
        (VerdictKind::TooFewEvents, _) => {
            let events = facts.events.map_or(0, |events| events.count);
            format!(
                "Too few events to judge: {events}. Nothing held them up; capture while the ship \
                 has more to do, or longer (--seconds)."
            )
        }
        _ => match &facts.attribution.events {
            Some(events) => quick(events),
            None => format!(
                "Nothing is wrong. King, mars and commit workers were each held up for less than {} of \
             the time, and {}.",
                percent(HEALTHY_STALL_RATIO).replace(".0", ""),
                long_waits(facts.attribution.long_waits())
            ),
        },
    };
    let mut text = [first, judged].join(" ").trim_start().to_owned();
    for finding in facts
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Severe)
    {
        let mut sentence = finding.sentence.clone();
        if let Some(first) = sentence.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        text.push(' ');
        text.push_str(&sentence);
        text.push('.');
    }
    text
}

/// Events were quick.
fn quick(events: &EventTimes) -> String {
    format!(
        "Nothing is wrong. 95 % of the events took less than {}, from arrival to release; the \
         slowest took {}.",
        duration(
            events
                .all
                .histogram
                .quantile(950)
                .unwrap_or(0)
                .min(events.all.max_ns)
        ),
        duration(events.all.max_ns)
    )
}

/// Why a ship computes no events.
fn not_up(facts: &Facts<'_>) -> String {
    match facts.state {
        State::Booting => {
            return "The ship is booting: it is being built for the first time and takes no events \
                    yet. Wait until it is up."
                .to_owned();
        }
        State::Replaying { events } => {
            let last = facts.events.map_or(String::new(), |events| {
                format!(", up to event {}", count(events.last))
            });
            return format!(
                "The ship is not up yet: mars replays its log, {} events in {}{last}. It takes no \
                 events until it is through.",
                count(events),
                duration(facts.meta.clocks.duration_ns())
            );
        }
        _ => {}
    }
    "The ship is not up: its king runs, but there is no Nock process. It is starting, replays its log \
     in another process, or has lost it; see the ship's own output."
        .to_owned()
}

fn long_waits(waits: u64) -> String {
    let limit = duration(LONG_WAIT_NS);
    match waits {
        0 => format!("no wait lasted {limit}"),
        1 => format!("only one wait lasted {limit} or more"),
        n => format!("only {n} waits lasted {limit} or more"),
    }
}

fn stalled(cause: Cause, facts: &Facts<'_>) -> String {
    let share = facts.shares.iter().find(|share| share.cause == cause);
    let followed = facts.attribution.events.is_some();
    let is_work = |leaf| leaf == Leaf::Computing && !facts.attribution.computing_stalls();
    let whole = if followed {
        "event time"
    } else {
        "the busy time"
    };
    let (ratio, heaviest) = share.map_or((0.0, None), |share| {
        // The parts are in order, the heaviest first.
        (
            share.ratio,
            share.parts.iter().find(|part| !is_work(part.leaf)),
        )
    });
    let Some(part) = heaviest else {
        return format!("{}. {} of {whole}.", cause.title(), percent(ratio));
    };
    let detail = match part.leaf {
        Leaf::LogCommit => format!(
            "went into commits of the event log: {}{}",
            spent_in(part.total_ns, facts),
            typical(part.leaf, facts)
        ),
        Leaf::Snapshot => match facts.summaries.snapshots.as_ref().filter(|s| s.seen() > 0) {
            Some(seen) => format!(
                "went into {}, for which the ship stood still {}, {} at most",
                snapshots(seen.seen()),
                duration(seen.total_ns),
                duration(seen.max_ns)
            ),
            None => format!("went into writing snapshots{}", typical(part.leaf, facts)),
        },
        Leaf::PageIn => "went into reading pages of the loom for the first time".to_owned(),
        Leaf::OtherFile => "went into other files".to_owned(),
        Leaf::Computing => format!("was spent computing: {}", spent_in(part.total_ns, facts)),
        Leaf::RunQueue => format!(
            "went by without a free CPU: {}, {}",
            spent_in(part.total_ns, facts),
            behind(&facts.evidence())
        ),
        Leaf::Throttled => format!(
            "went by while the CPU quota was used up: {}",
            spent_in(part.total_ns, facts)
        ),
        Leaf::Stolen => format!(
            "was taken by the hypervisor: {}. A host problem: your provider, not your ship",
            spent_in(part.total_ns, facts)
        ),
        Leaf::PageInAfterEviction => {
            "went into reading pages back that had been evicted: too little memory".to_owned()
        }
        Leaf::SwapIn => "went into pages that came back from swap: too little memory".to_owned(),
        Leaf::Reclaim => format!(
            "went by while the ship's own threads had to free memory: {}",
            spent_in(part.total_ns, facts)
        ),
        Leaf::Compaction => "went into moving pages for larger pieces of memory".to_owned(),
        Leaf::DirtyTracking => "went into noting which pages of the loom change".to_owned(),
        Leaf::Collection => match upkeep(facts.summaries) {
            Some(upkeep) => format!("went by while mars saw to its loom: {upkeep}"),
            None => "went by while mars saw to its loom".to_owned(),
        },
        Leaf::MemoryMap => "went into changes of the memory map".to_owned(),
        Leaf::SendPath => "went into sending".to_owned(),
        Leaf::KingHeldUp => "went by while mars waited for the king".to_owned(),
        Leaf::Unexplained => "is unexplained".to_owned(),
    };
    let (title, share) = (cause.title(), percent(part.ratio));
    if ratio - part.ratio < MIN_REST_RATIO {
        return format!("{title}. {share} of {whole} {detail}.");
    }
    format!("{title}, {} of {whole}. {share} {detail}.", percent(ratio))
}

/// Time that went into something: of each event on average, or in all.
fn spent_in(ns: u64, facts: &Facts<'_>) -> String {
    match facts.attribution.events {
        Some(_) => spent(ns, facts.attribution),
        None => format!(
            "{} in {}",
            duration(ns),
            duration(facts.meta.clocks.duration_ns())
        ),
    }
}

/// How long the waits were that took most of a part's time.
fn typical(leaf: Leaf, facts: &Facts<'_>) -> String {
    let part = facts.attribution.parts.get(&leaf);
    match part.and_then(|part| part.waits.sum_quantile(500)) {
        Some(ns) if facts.attribution.events.is_some() => {
            format!(
                ", half of it in events that waited {} or more",
                duration(ns)
            )
        }
        Some(ns) => format!(", half of it in waits of {} or more", duration(ns)),
        None => String::new(),
    }
}

/// Samples under a computation below which nothing is said of whose code it was.
const MIN_HOON_SAMPLES: u64 = 20;
/// Agents and vanes that are named, and the least share of one.
const NAMED_OWNERS: usize = 2;
const MIN_OWNER_RATIO: f64 = 0.05;

/// Whose code mars computed most of the time, from samples; nothing if too few tell.
fn owners(hoon: Option<&HoonSummary>) -> String {
    let Some(hoon) = hoon.filter(|hoon| hoon.computing >= MIN_HOON_SAMPLES) else {
        return String::new();
    };
    let shares = hoon
        .owners
        .iter()
        .map(|(owner, samples)| (owner, *samples as f64 / hoon.computing as f64));
    let named: Vec<String> = shares
        .filter(|(_, share)| *share >= MIN_OWNER_RATIO)
        .take(NAMED_OWNERS)
        .map(|(owner, share)| format!("{owner} ~{}", percent(share)))
        .collect();
    match named.is_empty() {
        true => String::new(),
        false => format!("; {}", named.join(", ")),
    }
}

/// Who was ahead in the run queue most of the time, with its share of that time.
fn behind(facts: &Evidence<'_>) -> String {
    let Some(neighbours) = facts.summaries.neighbours.as_ref() else {
        return "behind whom was not measured".to_owned();
    };
    let parts = blame::run_queue(facts.attribution, Some(neighbours));
    let waited_ns = facts.attribution.leaf_ns(Leaf::RunQueue);
    let parties = blame::by_party(&parts);
    let of = |party| parties.get(&party).copied().unwrap_or(0);
    let share = |ns| percent(crate::attribute::ratio(ns, waited_ns));
    let first = blame::heaviest(&parts, |neighbour| neighbour.kind != NeighbourKind::Ship)
        .filter(|(_, ns)| is_named(*ns, facts.meta));
    let own_ns = of(Party::Ship);
    match first {
        Some((neighbour, ns)) if ns > own_ns => match neighbour.kind {
            NeighbourKind::Idle => format!("{} with its CPU idle (just woken)", share(ns)),
            NeighbourKind::Forgotten => format!("{} behind too many to tell", share(ns)),
            _ => format!("{} behind {}", share(ns), neighbour.words()),
        },
        _ if own_ns > of(Party::Unknown) => format!("{} behind its own threads", share(own_ns)),
        _ => format!("{} in turns of less than 50 µs", share(of(Party::Unknown))),
    }
}

/// Whose I/O held the ship's up most, with its share of the time in a leaf; nothing if nobody's did.
fn behind_on_disk(leaf: Leaf, facts: &Evidence<'_>) -> Option<String> {
    let waited_ns = facts.attribution.leaf_ns(leaf);
    let parts = blame::disk(
        waited_ns,
        facts.summaries.neighbours.as_ref(),
        Party::Device,
    );
    let (neighbour, ns) = blame::heaviest(&parts, |_| true)?;
    let share = crate::attribute::ratio(ns, waited_ns);
    (is_named(ns, facts.meta) && share >= MIN_DISK_RATIO)
        .then(|| format!("~{} behind {}", percent(share), neighbour.words()))
}

/// What there is to see for a part.
pub fn evidence(leaf: Leaf, facts: &Evidence<'_>) -> String {
    let &Evidence {
        meta,
        summaries,
        attribution,
    } = facts;
    let on_disk = |mut text: String| {
        if let Some(behind) = behind_on_disk(leaf, facts) {
            text = format!("{text}, {behind}");
        }
        text
    };
    match leaf {
        Leaf::LogCommit => on_disk(format!(
            "{}{}",
            block(summaries, meta, Role::CommitWorker),
            written_back(summaries, |file| file.ends_with("/data.mdb"))
        )),
        Leaf::Snapshot => {
            let block = on_disk(format!(
                "{}{}",
                block(summaries, meta, Role::Mars),
                written_back(summaries, |file| file.starts_with("chk/"))
            ));
            match summaries.snapshots.as_ref().filter(|s| s.seen() > 0) {
                Some(seen) => format!(
                    "{}, up to {}; {block}",
                    snapshots(seen.seen()),
                    duration(seen.max_ns)
                ),
                None => block,
            }
        }
        Leaf::OtherFile => on_disk(block(summaries, meta, Role::King)),
        Leaf::Computing => {
            let of = |role| {
                let threads = summaries.threads.iter().filter(|t| t.role == role);
                duration(threads.map(|t| t.on_cpu_ns).sum())
            };
            match meta.ship.mars {
                Some(_) => format!(
                    "mars {}, king {}{}",
                    of(Role::Mars),
                    of(Role::King),
                    owners(summaries.hoon.as_ref())
                ),
                None => format!("king {}", of(Role::King)),
            }
        }
        Leaf::RunQueue => behind(facts),
        Leaf::Throttled => match crate::catalogue::limit_that_throttled(meta) {
            Some(limit) => format!("quota of {:.2} CPUs", limit.cpus()),
            None => "quota of the group".to_owned(),
        },
        Leaf::Stolen => match attribution.steal {
            Some(steal) => format!(
                "{} from all CPUs, {} of what they wanted",
                duration(steal.stolen_ns),
                percent(steal.ratio())
            ),
            None => String::new(),
        },
        Leaf::PageIn | Leaf::PageInAfterEviction => on_disk(page_ins(attribution, summaries)),
        Leaf::SwapIn => match summaries.memory.swapped_in_pages {
            Some(pages) => format!("{} pages in on this host", count(pages)),
            None => String::new(),
        },
        Leaf::Reclaim => format!("{} times", count(summaries.memory.reclaims)),
        Leaf::Compaction => format!("{} times", count(summaries.memory.compactions)),
        Leaf::DirtyTracking => match summaries.memory.dirtied_pages {
            Some(pages) => format!("{} pages of the loom", count(pages)),
            None => String::new(),
        },
        Leaf::Collection => upkeep(summaries).unwrap_or_default(),
        Leaf::KingHeldUp => {
            let waits = mars_spans::line(summaries, SpanKind::KingBusy)
                .map(|waits| mars_spans::words(&waits));
            let in_socket = summaries.ames.in_socket.known().and_then(|t| t.p95_ns);
            let in_socket = in_socket.map(|ns| format!("datagrams waited {} at p95", duration(ns)));
            let both: Vec<String> = waits.into_iter().chain(in_socket).collect();
            both.join("; ")
        }
        Leaf::MemoryMap | Leaf::SendPath => String::new(),
        Leaf::Unexplained => {
            let sum: u64 = summaries.threads.iter().map(|t| t.unexplained_ns).sum();
            format!("{} without any reason", duration(sum))
        }
    }
}

/// What upkeep there was, the longest first.
fn upkeep(summaries: &Summaries) -> Option<String> {
    let mut lines: Vec<_> = mars_spans::lines(summaries)
        .into_iter()
        .filter(|line| line.kind.is_upkeep())
        .collect();
    lines.sort_by_key(|line| (Reverse(line.total_ns), line.kind));
    let words: Vec<String> = lines.iter().map(mars_spans::words).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn snapshots(seen: u64) -> String {
    match seen {
        1 => "a snapshot".to_owned(),
        _ => format!("{} snapshots", count(seen)),
    }
}

/// Major faults, and what most of them were for.
fn page_ins(attribution: &Attribution, summaries: &Summaries) -> String {
    let Some(faults) = attribution.page_ins.major_faults else {
        return String::new();
    };
    let faults = format!(
        "{} major fault{}",
        count(faults),
        if faults == 1 { "" } else { "s" }
    );
    match summaries.memory.page_ins.first() {
        Some(most) => format!("{faults}, {} in {}", count(most.count), most.name),
        None => faults,
    }
}

/// The I/O of one role: bytes, device, and time in it.
fn block(summaries: &Summaries, meta: &Meta, role: Role) -> String {
    let of: Vec<&BlockSummary> = summaries.block.iter().filter(|b| b.role == role).collect();
    let Some(largest) = of.iter().max_by_key(|b| b.bytes) else {
        return "no block I/O of its own".to_owned();
    };
    let total = sum(of.iter().map(|b| b.bytes));
    let slowest = of.iter().filter_map(|b| b.device.quantile(950)).max();
    let device = device_name(meta, largest.dev);
    match slowest {
        Some(p95) => format!("{}, {device} p95 {}", bytes(total), duration(p95)),
        None => format!("{}, {device}", bytes(total)),
    }
}

/// What others wrote of some files in the ship's name, on the device that the pier's file system is on.
fn written_back(summaries: &Summaries, file: impl Fn(&str) -> bool) -> String {
    let devices = summaries.neighbours.as_ref().map(|all| &all.devices);
    let Some(device) = devices.and_then(|devices| devices.first()) else {
        return String::new();
    };
    let of = summaries.files.iter();
    let of = of.filter(|one| one.dev == device.dev && file(&one.name));
    match sum(of.map(|one| one.written_back.bytes)) {
        0 => String::new(),
        written => format!(", {} more written back", bytes(written)),
    }
}

/// What it is not, each with its number. What is not measured is not listed.
pub fn not_the_cause(kind: VerdictKind, cause: Option<Cause>, facts: &Facts<'_>) -> Vec<String> {
    if matches!(kind, VerdictKind::NotUp | VerdictKind::CannotTell) {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let attribution = facts.attribution;
    let received_all = |udp: &UdpSummary| {
        udp.dropped
            .filter(|dropped| *dropped == 0)
            .and(udp.received)
    };
    if let Some(received) = facts.summaries.udp.as_ref().and_then(received_all) {
        lines.push(match received {
            0 => "lost datagrams (none came)".to_owned(),
            received => format!("lost datagrams (0 of {})", count(received)),
        });
    }
    if let (Some(before), Some(after)) = (
        facts.meta.counters_start.memory.known(),
        facts.meta.counters_end.memory.known(),
    ) && let (Some(before), Some(after)) = (before.swapped_in_pages, after.swapped_in_pages)
        && after == before
    {
        lines.push("swap (0 pages in)".to_owned());
    }
    let cgroup = &facts.meta.host.cgroup;
    if attribution.leaf_ns(Leaf::Throttled) == 0 && cgroup.cpu_limits.known().is_some() {
        let limit = cgroup.tightest_cpu_limit();
        lines.push(limit.map_or("quota (none)".to_owned(), |l| {
            format!("quota of {:.2} CPUs (never used up)", l.cpus())
        }));
    }
    // Where another cause is known, it is not what anybody would ask for.
    let doubted = cause.is_none_or(|cause| cause == Cause::Cpu);
    if doubted && attribution.steal.is_some_and(|steal| steal.stolen_ns == 0) {
        lines.push("steal (none)".to_owned());
    }
    for (other, leaf, name) in [
        (Cause::Disk, Leaf::LogCommit, "log commit"),
        (Cause::Disk, Leaf::Snapshot, "snapshot"),
        (Cause::Cpu, Leaf::RunQueue, "run queue"),
        (Cause::Memory, Leaf::PageInAfterEviction, "evicted pages"),
        (Cause::Memory, Leaf::Reclaim, "reclaim"),
    ] {
        let share = crate::attribute::ratio(attribution.leaf_ns(leaf), attribution.busy_ns());
        if cause.is_some_and(|cause| cause != other) && share < HEALTHY_STALL_RATIO {
            lines.push(format!("{name} ({})", percent(share)));
        }
    }
    lines
}
