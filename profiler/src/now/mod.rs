//! What a ship does at this moment, from a second of looks at it: samples in, an answer out.
//!
//! A ship that hangs ends no event, so nothing here needs one to end. Times are lower bounds: what
//! was so at every look from some look on has lasted since then at least.

mod activity;
mod ahead;
mod code;
mod sentence;
mod thread;
mod verdict;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::host::Reading;
use crate::ship::Role;

pub use activity::{Activity, Wait, activity};
pub use ahead::{Ahead, Busy, CpuSums};
pub use code::{CodeLook, CodeView, Hints, Seen};
pub(crate) use sentence::{call_words, wait_words};
pub use thread::ThreadView;
pub use verdict::{Verdict, VerdictKind};

/// Version of the JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// All that was seen of a ship.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The ship, as messages call it.
    pub ship: String,
    /// The king's process id.
    pub king_tgid: u32,
    /// Mars' process id, where there is one.
    pub mars_tgid: Option<u32>,
    /// Whether mars builds a new ship.
    pub is_booting: bool,
    /// Whether the king has its sockets open or answers, which it does once mars is ready.
    pub is_up: bool,
    /// Every thread that was seen.
    pub threads: BTreeMap<u32, ThreadIdentity>,
    /// The looks, in the order of their times.
    pub moments: Vec<Moment>,
    /// What the king said.
    pub king: KingReply,
    /// Who had the CPUs meanwhile, and a quota that was used up.
    pub ahead: Ahead,
    /// The king's sockets.
    pub ames: Reading<AmesQueue>,
    /// Pages that the whole machine read from swap meanwhile.
    pub swapped_in_pages: Reading<u64>,
    /// What could not be measured, a clause each.
    pub incomplete: Vec<String>,
}

/// Which thread it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadIdentity {
    /// Its process.
    pub tgid: u32,
    /// What it does for the ship.
    pub role: Role,
}

/// One look.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// When, on CLOCK_MONOTONIC.
    pub at_ktime_ns: u64,
    /// The head of mars' memory, where it could be read.
    pub event: Option<EventSample>,
    /// Whose code ran, where a computation did.
    pub code: Option<CodeLook>,
    /// Threads by id.
    pub threads: BTreeMap<u32, ThreadSample>,
    /// Whether the files of a snapshot under way lie in the pier.
    pub has_snapshot_files: bool,
    /// Major faults of mars since it started.
    pub mars_major_faults_total: Option<u64>,
}

/// The head of mars' memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSample {
    /// Number of the last event that was computed.
    pub done: u64,
    /// Whether a computation runs.
    pub is_running: bool,
}

/// A thread at one look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThreadSample {
    /// Its state, as `/proc/PID/stat` letters it.
    pub state: char,
    /// The system call that it is blocked in.
    pub call: Option<Call>,
    /// Sums since it started; `None` on kernels without them.
    pub sums: Option<Sums>,
}

/// A system call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Its name; `page fault` where the thread is blocked in none.
    pub name: &'static str,
    /// Base name of the file that it works on, where it works on one.
    pub file: Option<String>,
}

/// The scheduler's sums of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// On CPU.
    pub on_cpu_ns: u64,
    /// Ready, without a CPU.
    pub run_queue_ns: u64,
    /// Times that it came onto a CPU.
    pub timeslices_total: u64,
}

/// What came of asking the king.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KingReply {
    /// It answered.
    Answered {
        /// How long that took.
        time_ns: u64,
        /// Requests at mars without an answer, where it says so.
        queue: Option<u64>,
        /// The last event that came back from mars, where it says so.
        event_number: Option<u64>,
    },
    /// It was asked and said nothing.
    Silent {
        /// How long that was waited for.
        after_ns: u64,
    },
    /// It could not be asked.
    NotAsked {
        /// Why.
        reason: String,
    },
}

/// The king's UDP sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AmesQueue {
    /// Memory of datagrams that wait to be received.
    pub receive_queue_bytes: u64,
    /// Datagrams lost during the looks, where that could be read before them too.
    pub lost_total: Option<u64>,
}

/// What a ship does at this moment.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// Version of this form.
    pub schema_version: u32,
    /// The ship, as messages call it.
    pub ship: String,
    /// The king's process id.
    pub king_tgid: u32,
    /// Mars' process id, where there is one.
    pub mars_tgid: Option<u32>,
    /// The answer in one sentence, and its kind.
    pub verdict: Verdict,
    /// From the first look to the last.
    pub watched_ns: u64,
    /// Looks.
    pub looks_total: u64,
    /// The event; absent where mars' memory could not be read.
    pub event: Option<EventView>,
    /// Whose code ran; absent if no look fell into a computation.
    pub code: Option<CodeView>,
    /// Threads: mars, king, commit workers, others.
    pub threads: Vec<ThreadView>,
    /// What came of asking the king.
    pub king: KingReply,
    /// Who had the CPUs meanwhile, and a quota that was used up.
    pub ahead: Ahead,
    /// The king's sockets.
    pub ames: Reading<AmesQueue>,
    /// Whether the files of a snapshot lie in the pier.
    pub has_snapshot_files: bool,
    /// Major faults of mars during the looks.
    pub mars_major_faults_total: Option<u64>,
    /// Pages that the whole machine read from swap during the looks.
    pub swapped_in_pages: Reading<u64>,
    /// What one should know to read this.
    pub notes: Vec<String>,
    /// What could not be measured.
    pub incomplete: Vec<String>,
}

/// The event of the last look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EventView {
    /// Number of the last event that was computed.
    pub done: u64,
    /// Whether a computation runs: of the next event, or of a read.
    pub is_running: bool,
    /// How long it has been running at least; absent when none runs.
    pub running_for_ns: Option<u64>,
    /// Events whose computation ended during the looks.
    pub ended_total: u64,
    /// Looks at which a computation ran, as a share.
    pub running_ratio: f64,
}

/// Judges what was seen.
pub fn answer(watch: Watch) -> Answer {
    let threads = thread::views(&watch);
    let event = event_view(&watch.moments);
    let verdict = verdict::judge(&watch, &threads, event.as_ref());
    Answer {
        schema_version: SCHEMA_VERSION,
        verdict,
        watched_ns: watched_ns(&watch.moments),
        looks_total: watch.moments.len() as u64,
        event,
        code: code::view(&watch.moments),
        threads,
        has_snapshot_files: watch.moments.last().is_some_and(|m| m.has_snapshot_files),
        mars_major_faults_total: grown(&watch.moments, |m| m.mars_major_faults_total),
        notes: notes(&watch, event.as_ref()),
        ship: watch.ship,
        king_tgid: watch.king_tgid,
        mars_tgid: watch.mars_tgid,
        king: watch.king,
        ahead: watch.ahead,
        ames: watch.ames,
        swapped_in_pages: watch.swapped_in_pages,
        incomplete: watch.incomplete,
    }
}

fn watched_ns(moments: &[Moment]) -> u64 {
    match (moments.first(), moments.last()) {
        (Some(first), Some(last)) => last.at_ktime_ns.saturating_sub(first.at_ktime_ns),
        _ => 0,
    }
}

/// By how much a sum grew from the first look to the last.
fn grown(moments: &[Moment], sum: impl Fn(&Moment) -> Option<u64>) -> Option<u64> {
    let (first, last) = (moments.first()?, moments.last()?);
    Some(sum(last)?.saturating_sub(sum(first)?))
}

fn event_view(moments: &[Moment]) -> Option<EventView> {
    let looks: Vec<(u64, EventSample)> = moments
        .iter()
        .filter_map(|moment| Some((moment.at_ktime_ns, moment.event?)))
        .collect();
    let (first, (last_at, last)) = (looks.first()?.1, *looks.last()?);
    let since = looks
        .iter()
        .rev()
        .take_while(|(_, look)| *look == last)
        .last();
    let running = looks.iter().filter(|(_, look)| look.is_running).count();
    Some(EventView {
        done: last.done,
        is_running: last.is_running,
        running_for_ns: since
            .filter(|_| last.is_running)
            .map(|(at, _)| last_at.saturating_sub(*at)),
        ended_total: last.done.saturating_sub(first.done),
        running_ratio: running as f64 / looks.len() as f64,
    })
}

fn notes(watch: &Watch, event: Option<&EventView>) -> Vec<String> {
    let mut notes = Vec::new();
    if event.is_some_and(|event| event.is_running) {
        notes.push("a read (peek) looks the same as an event from here".to_owned());
    }
    notes.push(format!(
        "this loads no eBPF: times are lower bounds, from {} looks; `profile --ship` names the \
         code, the device, and who is ahead at each moment",
        watch.moments.len()
    ));
    notes
}

#[cfg(test)]
mod tests;
