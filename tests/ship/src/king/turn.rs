//! When a turn of the king's loop began: what there is to do in it had come by then.

use std::fs::File;

use anyhow::Context;

use crate::reactor::{Reactor, Ready};
use crate::sys::monotonic_ns;

/// The kernel's account of this thread: time on CPU, time that it waited for one, turns on one
/// (`Documentation/scheduler/sched-stats.rst`).
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

/// The beginnings of turns.
pub struct Turns {
    /// Only for the ground truth: reading it takes time.
    schedstat: Option<File>,
    start_ktime_ns: u64,
}

impl Turns {
    /// None yet. `exact` ones need the kernel's account of the thread that calls.
    pub fn new(exact: bool) -> anyhow::Result<Self> {
        let open = || File::open(SCHEDSTAT).with_context(|| format!("cannot open {SCHEDSTAT}"));
        Ok(Self {
            schedstat: exact.then(open).transpose()?,
            start_ktime_ns: monotonic_ns(),
        })
    }

    /// Waits for a turn. It begins when the thread is woken; until it runs it may have to wait for a CPU.
    pub fn next(&mut self, reactor: &mut Reactor, timeout_ms: i32) -> anyhow::Result<Vec<Ready>> {
        let before_ns = self.waited_for_cpu_ns();
        let ready = reactor.wait(timeout_ms)?;
        let now = monotonic_ns();
        self.start_ktime_ns = now - (self.waited_for_cpu_ns() - before_ns);
        Ok(ready)
    }

    /// When the present one began.
    pub fn start_ktime_ns(&self) -> u64 {
        self.start_ktime_ns
    }

    fn waited_for_cpu_ns(&self) -> u64 {
        let mut line = [0; 64];
        let read = |file| rustix::io::pread(file, &mut line, 0).ok();
        let Some(bytes) = self.schedstat.as_ref().and_then(read) else {
            return 0;
        };
        let line = str::from_utf8(&line[..bytes]).unwrap_or_default();
        let second = line.split_ascii_whitespace().nth(1);
        second.and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}
