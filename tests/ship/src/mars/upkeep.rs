//! Upkeep of the loom: packing it, counting what lies in it, throwing caches away (vere `_mars_work`, `_mars_post`).
//!
//! How long each takes is what a real 4.6 ship with a heap of 2817 pages was recorded to take, per page.

use anyhow::Context;
use noun::Noun;
use serde_json::{Value, json};

use super::account;
use super::event::Kernel;
use crate::ovum::Workload;
use crate::stream::Outbox;
use crate::sys::monotonic_ns;
use crate::task::Gift;

/// Packing: 195 ms, of which its writes to clean pages are a third.
const PACK_US_PER_PAGE: u64 = 46;

/// The question for the parts of the heap, in a bracket: 53 ms.
const QUESTION_US_PER_PAGE: u64 = 19;

/// Marking and sweeping the heap after that: 62 ms.
const MARK_US_PER_PAGE: u64 = 22;

/// Throwing the caches away. Theirs is no part of the heap that grows with it.
const RECLAIM_US: u64 = 3000;

/// Upkeep that was done, in CLOCK_MONOTONIC.
pub struct Upkeep {
    start_ktime_ns: u64,
    end_ktime_ns: u64,
}

impl Upkeep {
    fn since(start_ktime_ns: u64) -> Self {
        Self {
            start_ktime_ns,
            end_ktime_ns: monotonic_ns(),
        }
    }

    /// Its line of ground truth.
    pub fn to_truth(&self, event: &str) -> Value {
        json!({"event": event, "start_ktime_ns": self.start_ktime_ns, "end_ktime_ns": self.end_ktime_ns})
    }
}

impl Kernel {
    /// Moves everything in the heap together: nearly all of its pages change.
    pub fn pack(&mut self) -> Upkeep {
        let start = monotonic_ns();
        let pages = self.loom.used_pages() as u64;
        self.computer.run(pages * PACK_US_PER_PAGE);
        self.dirty(pages);
        eprintln!("mars: pack: gained: MB/0.000.000\r");
        Upkeep::since(start)
    }

    /// Asks the kernel for the parts of the heap, prints what it says to that, and marks them.
    pub fn mass(&mut self, king: &mut Outbox) -> anyhow::Result<(Upkeep, Noun)> {
        let pages = self.loom.used_pages() as u64;
        let attempt = self.compute(Workload {
            compute_us: pages * QUESTION_US_PER_PAGE,
            dirty_pages: pages / 100,
            bails: false,
        });
        king.send(&Gift::Slog("whey".to_owned()).to_noun())
            .context("cannot print to the king")?;
        self.computer.run(pages * MARK_US_PER_PAGE);
        let (_, bytes) = self.loom.heap();
        let list = account::parts(bytes as u64, self.loom.bytes());
        Ok((Upkeep::since(attempt.start_ktime_ns), list))
    }

    /// Adds up what is free: in one piece, and in the holes of the heap.
    pub fn free(&self) -> Noun {
        let (_, bytes) = self.loom.heap();
        let (open, idle) = (self.loom.open_bytes(), account::idle_bytes(bytes as u64));
        eprintln!("open: {open}\r");
        eprintln!("idle: {idle}\r");
        let value = |name: &str, bytes: u64| Noun::cell(Noun::cord(name), Noun::from(bytes));
        Noun::list([value("open", open), value("idle", idle)])
    }

    /// Throws the caches away.
    pub fn reclaim(&mut self) -> Upkeep {
        let start = monotonic_ns();
        self.computer.run(RECLAIM_US);
        Upkeep::since(start)
    }
}
