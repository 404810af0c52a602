//! The verdict in words.

use super::verdict::commit_disk_ratio;
use super::{
    Activity, Call, EventView, KingReply, ThreadView, VerdictKind, Wait, Watch, watched_ns,
};
use crate::report::units::{bytes, count, duration};
use crate::ship::Role;

pub(super) fn sentence(
    kind: VerdictKind,
    watch: &Watch,
    threads: &[ThreadView],
    event: Option<&EventView>,
) -> String {
    let of_role = |role| threads.iter().find(|thread| thread.role == role);
    let (mars, king) = (of_role(Role::Mars), of_role(Role::King));
    let window = duration(watched_ns(&watch.moments));
    let cpu = cpu(mars, &window);
    match kind {
        VerdictKind::NoMars => "The ship has no Nock process: its king starts it, replays through \
            another process, or is about to end."
            .to_owned(),
        VerdictKind::Stopped => stopped(mars, king),
        VerdictKind::Boots => format!("Mars boots a new ship; {cpu}."),
        VerdictKind::NotUp => not_up(event, &window, &cpu),
        VerdictKind::Snapshot => format!(
            "Mars writes a snapshot{}: the ship stands still until it is done{}.",
            doing_what(mars),
            behind(watch)
        ),
        VerdictKind::Disk => format!(
            "Mars waits for the disk{} at {}{}{}.",
            in_call(mars, Wait::Disk),
            looks(mars, Activity::Waits(Wait::Disk)),
            during(event),
            behind(watch)
        ),
        VerdictKind::Memory => format!(
            "Mars waits for memory that is on disk or swap at {}{}{}.",
            looks(mars, Activity::Waits(Wait::Page)),
            during(event),
            behind(watch)
        ),
        VerdictKind::MemoryMap => format!(
            "Mars waits for changes of its memory map{} at {}{}{}.",
            in_call(mars, Wait::MemoryMap),
            looks(mars, Activity::Waits(Wait::MemoryMap)),
            during(event),
            behind(watch)
        ),
        VerdictKind::HeldUpByKing => format!(
            "Mars waits for the king to take what it writes: {}.",
            king.map_or_else(|| "the king was not seen".to_owned(), king_does)
        ),
        VerdictKind::WaitsForCpu => format!(
            "Mars is ready to compute and gets no CPU: {cpu}{}{}{}.",
            during(event),
            behind_whom(watch),
            behind(watch)
        ),
        VerdictKind::LongEvent => long_event(event, &cpu, watch),
        VerdictKind::Busy => busy(event, &window, &cpu, watch),
        VerdictKind::OutsideEvent => format!(
            "Mars computes, and no event runs: a pack, a meld, a reclaim or the like; {cpu}{}.",
            behind(watch)
        ),
        VerdictKind::Computing => format!("Mars computes; {cpu}{}.", behind(watch)),
        VerdictKind::LogCommit => log_commit(watch, threads),
        VerdictKind::KingBusy => format!(
            "The king is busy while mars waits for work: {}{}.",
            king.map_or_else(|| "it was not seen".to_owned(), king_does),
            undelivered(watch)
        ),
        VerdictKind::KingSilent => "The king does not answer while mars waits for work, though it \
            does nothing that can be seen from here."
            .to_owned(),
        VerdictKind::Idle => idle(event, &window, &cpu),
        VerdictKind::CannotTell => format!(
            "It cannot be told what holds the ship up: {}.",
            match mars {
                None => "mars ended while it was watched".to_owned(),
                Some(mars) => format!("mars {}", does(mars)),
            }
        ),
    }
}

/// `99 % of a CPU for the last 1.0 s`.
fn cpu(thread: Option<&ThreadView>, window: &str) -> String {
    match thread.and_then(|thread| thread.on_cpu_ratio) {
        Some(ratio) => format!("{:.0} % of a CPU in the last {window}", ratio * 100.0),
        None => "its time on CPU is not known".to_owned(),
    }
}

fn stopped(mars: Option<&ThreadView>, king: Option<&ThreadView>) -> String {
    let is_stopped = |thread: &&ThreadView| thread.doing == Activity::Stopped;
    let names: Vec<String> = [mars, king]
        .into_iter()
        .flatten()
        .filter(is_stopped)
        .map(|thread| format!("{} (pid {})", thread.role.name(), thread.tgid))
        .collect();
    let pids: Vec<String> = [mars, king]
        .into_iter()
        .flatten()
        .filter(is_stopped)
        .map(|thread| thread.tgid.to_string())
        .collect();
    format!(
        "{} was stopped by a signal or a debugger; `kill -CONT {}` lets it go on.",
        names.join(" and "),
        pids.join(" ")
    )
}

fn not_up(event: Option<&EventView>, window: &str, cpu: &str) -> String {
    match event {
        Some(event) if event.ended_total > 0 => format!(
            "The ship is not up yet: mars replays its log, {} events in the last {window}, now \
             after event {}; {cpu}.",
            count(event.ended_total),
            count(event.done)
        ),
        _ => format!("The ship is not up yet: mars starts; {cpu}."),
    }
}

fn long_event(event: Option<&EventView>, cpu: &str, watch: &Watch) -> String {
    let Some(event) = event else {
        return format!("Mars computes; {cpu}.");
    };
    format!(
        "Mars computes event {}{}, for {} at least; {cpu}{}.",
        count(event.done.saturating_add(1)),
        whose(watch),
        duration(event.running_for_ns.unwrap_or_default()),
        behind(watch)
    )
}

fn busy(event: Option<&EventView>, window: &str, cpu: &str, watch: &Watch) -> String {
    let ended = event.map_or(0, |event| event.ended_total);
    let what = if ended == 0 {
        "reads one after the other".to_owned()
    } else {
        format!("{} events in the last {window}", count(ended))
    };
    format!(
        "Mars is busy: {what}{}; {cpu}{}.",
        whose(watch),
        behind(watch)
    )
}

/// ` of /app/dojo, now at /app/dojo/hoon:984`; by the labels where places tell no agent.
fn whose(watch: &Watch) -> String {
    let Some(code) = super::code::view(&watch.moments) else {
        return String::new();
    };
    let owner = code.owner.or(code.labels).map(|owner| owner.name);
    match (owner, code.last_place) {
        (Some(owner), Some(place)) => format!(" of {owner}, last seen at {place}"),
        (Some(owner), None) => format!(" of {owner}"),
        (None, Some(place)) => format!(", last seen at {place}"),
        (None, None) => String::new(),
    }
}

fn idle(event: Option<&EventView>, window: &str, cpu: &str) -> String {
    match event {
        Some(event) => format!(
            "Nothing holds the ship up: mars waits for work; {} events in the last {window}, {cpu}.",
            count(event.ended_total)
        ),
        None => format!("Nothing holds the ship up: mars waits for work; {cpu}."),
    }
}

fn log_commit(watch: &Watch, threads: &[ThreadView]) -> String {
    let disk = Activity::Waits(Wait::Disk);
    let workers = threads.iter().filter(|t| t.role == Role::CommitWorker);
    let worst = workers.max_by(|a, b| a.ratio(disk).total_cmp(&b.ratio(disk)));
    let call = worst
        .and_then(|worker| worker.share(disk)?.call.as_ref())
        .map(|call| format!(", in {}", call_words(call)))
        .unwrap_or_default();
    format!(
        "The event log waits for the disk at {:.0} % of the looks{call}: mars is free, and effects \
         are held back until their events are on disk{}.",
        commit_disk_ratio(watch) * 100.0,
        behind(watch)
    )
}

/// `, in fdatasync of image.bin, for 0.3 s at least`: at the last look.
fn doing_what(mars: Option<&ThreadView>) -> String {
    match mars.and_then(|mars| Some((mars, mars.call.as_ref()?))) {
        Some((_, call)) => format!(", now in {}", call_words(call)),
        None => String::new(),
    }
}

/// ` in fdatasync of image.bin`: the call of most looks.
fn in_call(thread: Option<&ThreadView>, wait: Wait) -> String {
    thread
        .and_then(|thread| thread.share(Activity::Waits(wait))?.call.as_ref())
        .map(|call| format!(" in {}", call_words(call)))
        .unwrap_or_default()
}

fn looks(thread: Option<&ThreadView>, doing: Activity) -> String {
    let ratio = thread.map_or(0.0, |thread| thread.ratio(doing));
    format!("{:.0} % of the looks", ratio * 100.0)
}

/// `, while event 1,234 runs`.
fn during(event: Option<&EventView>) -> String {
    match event {
        Some(event) if event.is_running => {
            format!(", while event {} runs", count(event.done.saturating_add(1)))
        }
        _ => String::new(),
    }
}

/// `; yes (pid 12) had 98 % of a CPU`, or that its own quota stops it.
fn behind_whom(watch: &Watch) -> String {
    match (&watch.ahead.quota, watch.ahead.words()) {
        (Some(quota), _) => format!(
            "; the CPU quota of {} was used up in {} of {} periods",
            quota.group.display(),
            count(quota.throttled_periods_total),
            count(quota.periods_total)
        ),
        (None, Some(words)) => format!("; meanwhile {words}"),
        (None, None) => String::new(),
    }
}

/// `; 9 more requests wait behind it`.
fn behind(watch: &Watch) -> String {
    match watch.king {
        KingReply::Answered {
            queue: Some(queue @ 2..),
            ..
        } => {
            let more = queue - 1;
            let words = if more == 1 {
                "request waits"
            } else {
                "requests wait"
            };
            format!("; {} more {words} behind it", count(more))
        }
        _ => String::new(),
    }
}

/// `; 1.1 MiB of datagrams wait in its sockets`.
fn undelivered(watch: &Watch) -> String {
    match watch.ames.known() {
        Some(ames) if ames.receive_queue_bytes > 0 => format!(
            "; {} of datagrams wait in its sockets",
            bytes(ames.receive_queue_bytes)
        ),
        _ => String::new(),
    }
}

fn king_does(king: &ThreadView) -> String {
    format!("the king {}", does(king))
}

/// What a thread does, as the end of a sentence about it.
pub(super) fn does(thread: &ThreadView) -> String {
    let of_call = |call: &Option<Call>| {
        call.as_ref()
            .map(|call| format!(" ({})", call_words(call)))
            .unwrap_or_default()
    };
    let cpu = thread
        .on_cpu_ratio
        .map(|ratio| format!(", {:.0} % of a CPU", ratio * 100.0))
        .unwrap_or_default();
    let what = match thread.doing {
        Activity::Runs if thread.is_starved() => "waits for a CPU".to_owned(),
        Activity::Runs => "computes".to_owned(),
        Activity::Stopped => "is stopped".to_owned(),
        Activity::Ended => "has ended".to_owned(),
        Activity::Waits(wait) => format!("waits for {}{}", wait_words(wait), of_call(&thread.call)),
    };
    format!("{what}{cpu}")
}

/// `fdatasync of data.mdb`.
pub(crate) fn call_words(call: &Call) -> String {
    match &call.file {
        Some(file) => format!("{} of {file}", call.name),
        None => call.name.to_owned(),
    }
}

/// What is waited for.
pub(crate) fn wait_words(wait: Wait) -> &'static str {
    match wait {
        Wait::Work => "work",
        Wait::Disk => "the disk",
        Wait::Page => "a page that is on disk or swap",
        Wait::MemoryMap => "a change of its memory map",
        Wait::King => "the king to take what it writes",
        Wait::Network => "the network to take what it sends",
        Wait::Uninterruptible => "something that ends by no signal",
        Wait::Unread => "something that may not be read",
        Wait::Other => "something else",
    }
}
