//! What the kernel says of a ship's threads while they run, without a program of the profiler.
//!
//! Every [`INTERVAL`] the counters of each thread are read. A counter grows by a wait when the wait
//! ends, so a growth of D at T is taken for a wait from T - D to T; where many short ones lie between
//! two readings, their sum is right, and their places are by no more than the interval wrong.
//!
//! Waits for storage are told by the thread's state when it is read: the kernel's own delay of block I/O
//! is wrong since 6.12, where a thread may be taken from the run queue long after it went to sleep and
//! another one is noted to have begun to wait then (`delayacct_blkio_start` in `__block_task`). A commit
//! worker's waits in system calls are its commit; outside of them it waits for a page of the log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::spans::{Span, join};
use super::taskstats::{Delays, Taskstats};
use crate::process::threads;
use crate::{Error, Result};

/// Time between two readings: some per cent of a CPU for a ship's seven threads, and short beside an
/// event of some milliseconds.
const INTERVAL: Duration = Duration::from_micros(500);

/// Waits of a thread, by what for.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// For a CPU.
    pub run_queue: Vec<Span>,
    /// For storage; of the others than main threads, outside of system calls.
    pub storage: Vec<Span>,
    /// For pages from swap.
    pub swap_in: Vec<Span>,
    /// For memory to be freed.
    pub reclaim: Vec<Span>,
}

/// Everything seen.
#[derive(Clone, Debug, Default)]
pub struct Testimony {
    /// By thread.
    pub waits: BTreeMap<u32, Waits>,
    /// When the group's quota was used up.
    pub throttled: Vec<Span>,
}

/// Reads until it is asked for what it saw.
#[derive(Debug)]
pub struct Witness {
    is_over: Arc<AtomicBool>,
    reader: Option<JoinHandle<Testimony>>,
}

impl Witness {
    /// Watches all threads of some processes, and the `cpu.stat` of a group with a quota.
    pub fn start(pids: &[u32], cpu_stat: Option<PathBuf>) -> Result<Self> {
        let stats = Taskstats::open()?;
        let mains = pids.to_vec();
        let mut tids = Vec::new();
        for pid in pids {
            tids.extend(threads(*pid)?);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&is_over);
        let reader = std::thread::spawn(move || {
            let mut reader = Reader::new(stats, mains, &tids, cpu_stat);
            while !asked.load(Ordering::Relaxed) {
                reader.read();
                std::thread::sleep(INTERVAL);
            }
            reader.read();
            reader.testimony()
        });
        Ok(Self {
            is_over,
            reader: Some(reader),
        })
    }

    /// Ends it.
    pub fn testify(mut self) -> Result<Testimony> {
        self.is_over.store(true, Ordering::Relaxed);
        let reader = self.reader.take();
        let told = reader.and_then(|reader| reader.join().ok());
        told.ok_or_else(|| Error::Unexpected {
            what: "the reader of the kernel's counters".into(),
            detail: "it panicked".into(),
        })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

struct Reader {
    stats: Taskstats,
    /// The main threads.
    mains: Vec<u32>,
    cpu_stat: Option<PathBuf>,
    read_ktime_ns: u64,
    last: BTreeMap<u32, Delays>,
    throttled_ns: Option<u64>,
    testimony: Testimony,
}

impl Reader {
    fn new(stats: Taskstats, mains: Vec<u32>, tids: &[u32], cpu_stat: Option<PathBuf>) -> Self {
        let delays = |tid: &u32| Some((*tid, stats.of(*tid)?));
        let last = tids.iter().filter_map(delays).collect();
        Self {
            stats,
            mains,
            read_ktime_ns: now_ns(),
            throttled_ns: throttled_ns(cpu_stat.as_ref()),
            cpu_stat,
            last,
            testimony: Testimony::default(),
        }
    }

    fn read(&mut self) {
        let (before, now) = (self.read_ktime_ns, now_ns());
        for tid in self.last.keys() {
            if waits_for_storage(*tid) && (self.mains.contains(tid) || is_outside_of_calls(*tid)) {
                let waits = self.testimony.waits.entry(*tid).or_default();
                waits.storage.push((before, now));
            }
        }
        self.read_ktime_ns = now;
        for (tid, last) in &mut self.last {
            let Some(delays) = self.stats.of(*tid) else {
                continue;
            };
            let now = now_ns();
            let waits = self.testimony.waits.entry(*tid).or_default();
            for (spans, before, after) in [
                (&mut waits.run_queue, last.run_queue_ns, delays.run_queue_ns),
                (&mut waits.swap_in, last.swap_in_ns, delays.swap_in_ns),
                (&mut waits.reclaim, last.reclaim_ns, delays.reclaim_ns),
            ] {
                note(spans, before, after, now);
            }
            *last = delays;
        }
        let throttled = throttled_ns(self.cpu_stat.as_ref());
        if let (Some(before), Some(after)) = (self.throttled_ns, throttled) {
            note(&mut self.testimony.throttled, before, after, now_ns());
        }
        self.throttled_ns = throttled;
    }

    fn testimony(mut self) -> Testimony {
        for waits in self.testimony.waits.values_mut() {
            for spans in [
                &mut waits.run_queue,
                &mut waits.storage,
                &mut waits.swap_in,
                &mut waits.reclaim,
            ] {
                *spans = join(std::mem::take(spans));
            }
        }
        self.testimony.throttled = join(self.testimony.throttled);
        self.testimony
    }
}

/// Whether a thread is in an uninterruptible sleep (`D`, proc_pid_stat(5)), which is for storage where it
/// is for nothing that the kernel counts apart.
fn waits_for_storage(tid: u32) -> bool {
    let stat = std::fs::read(format!("/proc/{tid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything.
    let end = stat.iter().rposition(|byte| *byte == b')');
    end.is_some_and(|end| stat.get(end + 2) == Some(&b'D'))
}

/// Whether a thread that is blocked is in no system call (`/proc/TID/syscall`, proc_pid_syscall(5)).
fn is_outside_of_calls(tid: u32) -> bool {
    let call = std::fs::read(format!("/proc/{tid}/syscall")).unwrap_or_default();
    call.starts_with(b"-1 ")
}

fn note(spans: &mut Vec<Span>, before: u64, after: u64, now: u64) {
    let grown = after.saturating_sub(before);
    if grown == 0 {
        return;
    }
    let start = now.saturating_sub(grown);
    // Waits of a thread follow each other: the one before ended before it was read.
    if let Some(last) = spans.last_mut() {
        let early = last.1.saturating_sub(start);
        *last = (last.0.saturating_sub(early), last.1 - early);
    }
    spans.push((start, now));
}

/// `CLOCK_MONOTONIC`, in which the ship notes its truth.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Version 1 counts ns, version 2 µs.
fn throttled_ns(cpu_stat: Option<&PathBuf>) -> Option<u64> {
    let text = std::fs::read_to_string(cpu_stat?).ok()?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().parse::<u64>().ok()
    };
    field("throttled_time ").or(field("throttled_usec ").map(|usec| usec * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_keep_their_length() {
        let mut spans = Vec::new();
        note(&mut spans, 0, 15, 20);
        note(&mut spans, 15, 15, 30);
        note(&mut spans, 15, 45, 40);
        assert_eq!(spans, [(0, 10), (10, 40)]);
    }
}
