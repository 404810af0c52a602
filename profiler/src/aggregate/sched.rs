//! The closed budget of each thread's wall time.

use std::collections::{BTreeMap, BTreeSet};

use profiler_common::memory::MemoryTotals;
use profiler_common::sched::{
    RUN_QUEUE, STATE_BLOCKED, STATE_EXITED, STATE_ON_CPU, STATE_PREEMPTED, STATE_UNKNOWN,
    STATE_WOKEN, TASK_INTERRUPTIBLE, TASK_STOPPED, TASK_UNINTERRUPTIBLE, Thread, WaitKey, Waits,
};

use super::role;
use crate::model::{Capture, Clocks, Event, Histogram, ThreadId, ThreadState};
use crate::ship::Role;

/// A thread's time in the window: wall = on CPU + run queue + waits + unexplained.
#[derive(Debug, Clone)]
pub struct ThreadSummary {
    /// Which thread.
    pub thread: ThreadId,
    /// Its name.
    pub comm: String,
    /// What it does for the ship.
    pub role: Role,
    /// Time that it existed inside the window.
    pub wall_ns: u64,
    /// On CPU.
    pub on_cpu_ns: u64,
    /// Waiting for a CPU, after it was woken or preempted. Time throttled is in it: the scheduler
    /// takes a throttled thread off the CPU like a preempted one.
    pub run_queue_ns: u64,
    /// Of that, after it had been preempted.
    pub preempted_ns: u64,
    /// How long the single waits for a CPU were.
    pub run_queue: Histogram,
    /// Blocked, by reason, longest first.
    pub waits: Vec<WaitSummary>,
    /// What is left. Not zero only if a sum was lost or the thread's state was never seen.
    pub unexplained_ns: u64,
    /// What memory cost it.
    pub memory: MemoryTotals,
    /// How often it came onto a CPU.
    pub switches: u64,
    /// Of these, how many the kernel's tracepoint did not tell; their time is from its own count.
    pub unseen_switches: u64,
}

/// All of a thread's waits for one reason.
#[derive(Debug, Clone)]
pub struct WaitSummary {
    /// Syscall it was in; `-1` for a page fault or another exception.
    pub syscall_nr: i32,
    /// One of `profiler_common::sched::TASK_…`.
    pub task_state: u32,
    /// How many, the one that was still open at the end included.
    pub count: u64,
    /// Their time.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// How long the single waits were.
    pub histogram: Histogram,
}

/// Budgets of all threads: king, mars, commit workers, others; each in the order of its ids.
pub fn summarise(capture: &Capture) -> Vec<ThreadSummary> {
    let clocks = &capture.meta.clocks;
    let names = names(capture);
    // When the window opened: what has not switched since has been doing the same all the time.
    let states: BTreeMap<u32, &ThreadState> = capture
        .meta
        .thread_states_start
        .iter()
        .map(|state| (state.tid, state))
        .collect();
    let kernel: BTreeMap<u32, &Thread> = capture
        .totals
        .threads
        .iter()
        .map(|(tid, thread)| (*tid, thread))
        .collect();
    let mut waits: BTreeMap<u32, Vec<(&WaitKey, &Waits)>> = BTreeMap::new();
    for (key, of_key) in &capture.totals.waits {
        waits.entry(key.tid).or_default().push((key, of_key));
    }
    let tids: BTreeSet<u32> = kernel.keys().chain(states.keys()).copied().collect();
    let mut threads: Vec<ThreadSummary> = tids
        .into_iter()
        .filter_map(|tid| {
            let (sums, state) = (kernel.get(&tid).copied(), states.get(&tid).copied());
            let tgid = sums.map(|s| s.tgid).or(state.map(|s| s.tgid))?;
            let thread = ThreadId { tgid, tid };
            let comm = names.get(&tid).cloned().unwrap_or_default();
            let role = role(
                &capture.meta.ship,
                &capture.meta.followed_tgids,
                thread,
                &comm,
            );
            let mut budget = Budget::of(thread, comm, role, sums, clocks)?;
            budget.add_sums(sums, waits.get(&tid).map_or(&[], Vec::as_slice));
            budget.close(sums, state, clocks);
            Some(budget.finish())
        })
        .collect();
    threads.sort_by_key(|summary| (summary.role, summary.thread));
    threads
}

/// The last name known of each thread.
fn names(capture: &Capture) -> BTreeMap<u32, String> {
    let of_ship = capture.meta.ship.threads.known();
    let mut names: BTreeMap<u32, String> = of_ship
        .into_iter()
        .flatten()
        .map(|t| (t.tid, t.comm.clone()))
        .collect();
    for event in &capture.events {
        if let Event::Task(task) = event {
            names.insert(task.thread.tid, task.comm.clone());
        }
    }
    names.extend(
        capture
            .meta
            .thread_states
            .iter()
            .map(|s| (s.tid, s.comm.clone())),
    );
    names
}

struct Budget {
    summary: ThreadSummary,
    /// Where its time in the window ends.
    end_ktime_ns: u64,
}

impl Budget {
    /// An empty budget; nothing for a thread that was gone before the window opened.
    fn of(
        thread: ThreadId,
        comm: String,
        role: Role,
        sums: Option<&Thread>,
        clocks: &Clocks,
    ) -> Option<Self> {
        let born = sums
            .map_or(0, |s| s.born_ktime_ns)
            .max(clocks.start_ktime_ns);
        let end = match sums.map_or(0, |s| s.exited_ktime_ns) {
            0 => clocks.end_ktime_ns,
            exited => exited.min(clocks.end_ktime_ns),
        };
        let wall_ns = end.checked_sub(born).filter(|wall| *wall > 0)?;
        Some(Self {
            summary: ThreadSummary {
                thread,
                comm,
                role,
                wall_ns,
                on_cpu_ns: 0,
                run_queue_ns: 0,
                preempted_ns: 0,
                run_queue: Histogram::default(),
                waits: Vec::new(),
                unexplained_ns: 0,
                memory: MemoryTotals::NONE,
                switches: 0,
                unseen_switches: 0,
            },
            end_ktime_ns: end,
        })
    }

    fn add_sums(&mut self, sums: Option<&Thread>, waits: &[(&WaitKey, &Waits)]) {
        let summary = &mut self.summary;
        if let Some(sums) = sums {
            summary.on_cpu_ns = sums.on_cpu_ns;
            summary.run_queue_ns = sums.woken_ns + sums.preempted_ns;
            summary.preempted_ns = sums.preempted_ns;
            summary.memory = sums.memory;
            summary.switches = sums.switches;
            summary.unseen_switches = sums.unseen_switches;
        }
        for (key, waits) in waits {
            if key.syscall_nr == RUN_QUEUE {
                summary.run_queue.add_buckets(&waits.buckets);
            } else {
                summary
                    .waits
                    .push(WaitSummary::of(key.syscall_nr, key.task_state, waits));
            }
        }
    }

    /// Adds the interval that was still open when the window closed.
    fn close(&mut self, sums: Option<&Thread>, state: Option<&ThreadState>, clocks: &Clocks) {
        let since = sums
            .map_or(0, |s| s.since_ktime_ns)
            .max(clocks.start_ktime_ns);
        let open_ns = self.end_ktime_ns.saturating_sub(since);
        if open_ns == 0 {
            return;
        }
        match sums.map_or(STATE_UNKNOWN, |s| s.state) {
            STATE_ON_CPU => self.summary.on_cpu_ns += open_ns,
            STATE_WOKEN => self.summary.run_queue_ns += open_ns,
            STATE_PREEMPTED => {
                self.summary.run_queue_ns += open_ns;
                self.summary.preempted_ns += open_ns;
            }
            STATE_BLOCKED => {
                if let Some(sums) = sums {
                    self.add_open_wait(sums.wait.syscall_nr, sums.wait.task_state, open_ns);
                }
            }
            STATE_EXITED => {}
            // Not one switch of it was seen: it has been doing the same all the time, and
            // procfs says what.
            _ => match state.map(|s| (s.state, s.syscall_nr)) {
                Some(('R', _)) => self.summary.on_cpu_ns += open_ns,
                Some(('S' | 'I', Some(nr))) => self.add_open_wait(nr, TASK_INTERRUPTIBLE, open_ns),
                Some(('D', Some(nr))) => self.add_open_wait(nr, TASK_UNINTERRUPTIBLE, open_ns),
                Some(('T' | 't', _)) => self.add_open_wait(-1, TASK_STOPPED, open_ns),
                _ => {}
            },
        }
    }

    fn add_open_wait(&mut self, syscall_nr: i32, task_state: u32, open_ns: u64) {
        let waits = &mut self.summary.waits;
        let same =
            |wait: &WaitSummary| wait.syscall_nr == syscall_nr && wait.task_state == task_state;
        let wait = match waits.iter().position(same) {
            Some(at) => &mut waits[at],
            None => {
                waits.push(WaitSummary::empty(syscall_nr, task_state));
                let last = waits.len() - 1;
                &mut waits[last]
            }
        };
        wait.count += 1;
        wait.total_ns += open_ns;
        wait.max_ns = wait.max_ns.max(open_ns);
        wait.histogram.add_value(open_ns);
    }

    fn finish(mut self) -> ThreadSummary {
        let summary = &mut self.summary;
        let waited: u64 = summary.waits.iter().map(|wait| wait.total_ns).sum();
        let explained = summary.on_cpu_ns + summary.run_queue_ns + waited;
        summary.unexplained_ns = summary.wall_ns.saturating_sub(explained);
        summary
            .waits
            .sort_by_key(|w| (std::cmp::Reverse(w.total_ns), w.syscall_nr, w.task_state));
        self.summary
    }
}

impl ThreadSummary {
    /// Sum of all parts, which is the wall time unless a program counted something twice.
    pub fn accounted_ns(&self) -> u64 {
        let waited: u64 = self.waits.iter().map(|wait| wait.total_ns).sum();
        self.on_cpu_ns + self.run_queue_ns + waited + self.unexplained_ns
    }
}

impl WaitSummary {
    fn empty(syscall_nr: i32, task_state: u32) -> Self {
        Self {
            syscall_nr,
            task_state,
            count: 0,
            total_ns: 0,
            max_ns: 0,
            histogram: Histogram::default(),
        }
    }

    fn of(syscall_nr: i32, task_state: u32, waits: &Waits) -> Self {
        let mut histogram = Histogram::default();
        histogram.add_buckets(&waits.buckets);
        Self {
            count: waits.count,
            total_ns: waits.total_ns,
            max_ns: waits.max_ns,
            histogram,
            ..Self::empty(syscall_nr, task_state)
        }
    }
}
