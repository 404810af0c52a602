//! What a thread does at one look.

use serde::Serialize;

use super::ThreadSample;
use crate::ship::Role;

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// On a CPU, or ready for one: a look does not tell these apart, the sums do.
    Runs,
    /// It waits.
    Waits(Wait),
    /// By a signal, or a debugger.
    Stopped,
    /// It has ended, or is about to.
    Ended,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// For work: events, timers, messages.
    Work,
    /// For storage, in a call on a file.
    Disk,
    /// For a page of memory that is on disk or swap.
    Page,
    /// For a change of its own memory map.
    MemoryMap,
    /// Mars, for the king to take what it writes.
    King,
    /// The king, for the network to take what it sends.
    Network,
    /// For something that ends by no signal, in a call that could not be read.
    Uninterruptible,
    /// In a call that could not be read: for want of rights, or because it had just ended.
    Unread,
    /// For something else.
    Other,
}

/// What a thread does at one look.
pub fn activity(role: Role, sample: &ThreadSample) -> Activity {
    let call = sample.call.as_ref().map(|call| call.name);
    match sample.state {
        'R' => Activity::Runs,
        'T' | 't' => Activity::Stopped,
        'Z' | 'X' | 'x' => Activity::Ended,
        // Uninterruptible (kernel `fs/proc/array.c`, task_state_array).
        'D' => Activity::Waits(match call {
            None | Some("?") => Wait::Uninterruptible,
            Some("page fault") => Wait::Page,
            Some("mprotect" | "mmap" | "munmap" | "mremap" | "madvise" | "brk") => Wait::MemoryMap,
            Some(_) => Wait::Disk,
        }),
        _ => Activity::Waits(interruptible(role, call)),
    }
}

fn interruptible(role: Role, call: Option<&str>) -> Wait {
    let is_main = matches!(role, Role::King | Role::Mars);
    match call {
        None => Wait::Unread,
        Some(
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "poll" | "ppoll" | "select"
            | "pselect6" | "nanosleep" | "clock_nanosleep" | "restart_syscall",
        ) => Wait::Work,
        // A pool thread waits for work on a condition variable.
        Some("futex") if !is_main => Wait::Work,
        // Mars' standard output is a blocking socket to the king (vere `pkg/vere/main.c:1086`).
        Some("write" | "writev") if role == Role::Mars => Wait::King,
        Some("sendto" | "sendmsg" | "sendmmsg" | "write" | "writev") if role == Role::King => {
            Wait::Network
        }
        Some("page fault") => Wait::Page,
        Some(_) => Wait::Other,
    }
}
