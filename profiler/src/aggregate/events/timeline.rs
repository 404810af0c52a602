//! What a thread did, moment by moment.

use profiler_common::sched::{
    RUN_QUEUE, STATE_BLOCKED, STATE_PREEMPTED, STATE_WOKEN, TASK_RUNNABLE,
};

use crate::model::{Capture, Event, ThreadId};

/// The thread was not on a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// When it left the CPU.
    pub start_ktime_ns: u64,
    /// From when on it waited for a CPU only.
    pub runnable_ktime_ns: u64,
    /// When it came back.
    pub end_ktime_ns: u64,
    /// What it was blocked in (see `profiler_common::sched::WaitRecord`).
    pub syscall_nr: i32,
    /// How it slept.
    pub task_state: u32,
    /// Thread that woke it; 0 is an interrupt while no thread ran, or not known.
    pub waker_tid: u32,
}

impl Absence {
    /// Whether it only waited for a CPU.
    pub fn is_preemption(&self) -> bool {
        self.task_state == TASK_RUNNABLE
    }
}

/// All of a thread's absences that were recorded, in order. Between them it was on a CPU, or away for
/// less than was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    absences: Vec<Absence>,
}

impl Timeline {
    /// Made for a test.
    #[cfg(test)]
    pub fn of_absences(absences: Vec<Absence>) -> Self {
        Self { absences }
    }

    /// Of a thread.
    pub fn of(capture: &Capture, thread: ThreadId) -> Self {
        let waits = capture.events.iter().filter_map(|event| match event {
            Event::Wait(wait) if wait.thread == thread => Some(Absence {
                start_ktime_ns: wait.start_ktime_ns,
                runnable_ktime_ns: match wait.woken_ktime_ns {
                    Some(woken) => woken,
                    None if wait.task_state == TASK_RUNNABLE => wait.start_ktime_ns,
                    None => wait.end_ktime_ns,
                },
                end_ktime_ns: wait.end_ktime_ns,
                syscall_nr: wait.syscall_nr,
                task_state: wait.task_state,
                waker_tid: wait.waker.0.tid,
            }),
            _ => None,
        });
        let mut absences: Vec<Absence> = waits.collect();
        absences.sort_by_key(|absence| absence.start_ktime_ns);
        absences.extend(open(capture, thread));
        let mut timeline = Self::default();
        for absence in absences {
            timeline.push(absence);
        }
        timeline
    }

    /// Adds the next one. A thread is away once at a time; what would overlap is cut.
    fn push(&mut self, mut absence: Absence) {
        if let Some(last) = self.absences.last() {
            absence.start_ktime_ns = absence.start_ktime_ns.max(last.end_ktime_ns);
        }
        absence.runnable_ktime_ns = absence.runnable_ktime_ns.max(absence.start_ktime_ns);
        if absence.start_ktime_ns < absence.end_ktime_ns {
            self.absences.push(absence);
        }
    }

    /// All of them.
    pub fn absences(&self) -> &[Absence] {
        &self.absences
    }

    /// Those that overlap `[from, to)`.
    pub fn within(&self, from: u64, to: u64) -> &[Absence] {
        let first = self.absences.partition_point(|a| a.end_ktime_ns <= from);
        let rest = &self.absences[first..];
        let count = rest.partition_point(|a| a.start_ktime_ns < to);
        &rest[..count]
    }

    /// The last one that began before `at`.
    pub fn last_before(&self, at: u64) -> Option<&Absence> {
        let count = self.absences.partition_point(|a| a.start_ktime_ns < at);
        self.absences[..count].last()
    }
}

/// The absence that had not ended when the window closed.
fn open(capture: &Capture, thread: ThreadId) -> Option<Absence> {
    let threads = &capture.totals.threads;
    let (_, sums) = threads.iter().find(|(tid, _)| *tid == thread.tid)?;
    let end_ktime_ns = capture.meta.clocks.end_ktime_ns;
    let away = |runnable_ktime_ns, syscall_nr, task_state| Absence {
        start_ktime_ns: sums.since_ktime_ns,
        runnable_ktime_ns,
        end_ktime_ns,
        syscall_nr,
        task_state,
        waker_tid: 0,
    };
    match sums.state {
        STATE_BLOCKED => Some(away(
            end_ktime_ns,
            sums.wait.syscall_nr,
            sums.wait.task_state,
        )),
        STATE_PREEMPTED => Some(away(sums.since_ktime_ns, RUN_QUEUE, TASK_RUNNABLE)),
        STATE_WOKEN => Some(Absence {
            start_ktime_ns: sums.wait.start_ktime_ns.min(sums.since_ktime_ns),
            ..away(
                sums.since_ktime_ns,
                sums.wait.syscall_nr,
                sums.wait.task_state,
            )
        }),
        _ => None,
    }
}
