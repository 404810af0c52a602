//! Computation of a known amount: hashing memory, as many steps as take the asked CPU time on this machine.
//!
//! The amount is fixed beforehand and not cut off by a clock, so that an event takes longer when it does not get the
//! CPU, and no system call betrays the waiting.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::thread_cpu_ns;

/// Set by a signal that ends the computation (SIGINT, SIGTERM), as `bail: intr` does in vere.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Words hashed in one step.
const STEP_WORDS: usize = 1024;

/// CPU time that the measuring of the speed takes.
const CALIBRATION_NS: u64 = 30_000_000;

/// Steps between two looks at the clock, which costs about as much as one.
const CALIBRATION_BATCH: u64 = 256;

/// A walk over memory that goes on where it stopped.
pub struct Computer {
    memory: *const u32,
    words: usize,
    next: usize,
    hash: u32,
    steps_per_ms: u64,
}

impl Computer {
    /// Measures the speed of hashing `bytes` of memory from `memory` on.
    ///
    /// # Safety
    /// The memory must stay mapped and readable as long as the value is used, and not be written to while it computes.
    pub unsafe fn calibrate(memory: *const u32, bytes: usize) -> Self {
        let mut computer = Self {
            memory,
            words: bytes / 4,
            next: 0,
            hash: 0,
            steps_per_ms: 1,
        };
        // The first round pays for page faults and cold caches; the second is the speed.
        for _ in 0..2 {
            let start = thread_cpu_ns();
            let mut steps = 0;
            let spent = loop {
                (0..CALIBRATION_BATCH).for_each(|_| computer.step());
                steps += CALIBRATION_BATCH;
                let spent = thread_cpu_ns() - start;
                if spent >= CALIBRATION_NS {
                    break spent;
                }
            };
            computer.steps_per_ms = (steps * 1_000_000 / spent).max(1);
        }
        computer
    }

    /// Computes for `us` microseconds of CPU. False if a signal cut it short.
    pub fn run(&mut self, us: u64) -> bool {
        for _ in 0..us * self.steps_per_ms / 1000 {
            self.step();
            if INTERRUPTED.swap(false, Ordering::Relaxed) {
                return false;
            }
        }
        true
    }

    /// What was hashed so far: the result of the computation.
    pub fn hash(&self) -> u32 {
        self.hash
    }

    #[inline(never)]
    fn step(&mut self) {
        for _ in 0..STEP_WORDS {
            if self.next >= self.words {
                self.next = 0;
            }
            // SAFETY: `next` lies within the memory that the caller of `calibrate` vouched for.
            let word = unsafe { self.memory.add(self.next).read_volatile() };
            self.hash = (self.hash ^ word)
                .rotate_left(13)
                .wrapping_mul(5)
                .wrapping_add(0xe654_6b64);
            self.next += 1;
        }
    }
}
