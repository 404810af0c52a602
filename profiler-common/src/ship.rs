//! Which processes are watched, and from when to when.

use crate::shared;

/// Slots of the filter array. A process is watched if the slot of its number says 1 *and*
/// `SHIP_PROCESSES` holds it; for nearly every other task the slot alone says no, which is the
/// cheapest check that there is (an array look-up is inlined by the kernel's verifier).
pub const FILTER_SLOTS: u32 = 4096;

/// Slot of a process in the filter array.
#[inline(always)]
pub const fn filter_slot(tgid: u32) -> u32 {
    tgid & (FILTER_SLOTS - 1)
}

shared! {
    /// The capture's window. Programs keep track of states as soon as they are attached, and add
    /// to sums only what lies inside; so sums of all programs cover the very same time.
    pub struct Window {
        /// First instant that counts. `u64::MAX`: the capture has not begun.
        pub start_ktime_ns: u64,
        /// First instant that does not count any more. `u64::MAX`: it is not known yet.
        pub end_ktime_ns: u64,
    }

    /// A process that is watched.
    pub struct ShipProcess {
        /// Which ship it belongs to, in the order in which user space named them.
        pub ship: u32,
        /// 1 if a program added it (a ship's process forked it), 0 if user space did.
        pub followed: u32,
        /// 1 if it is a king, whose children are mars (vere forks nothing else); 0 if it is not.
        pub is_king: u32,
        /// 1 if its own workers commit the event log although it is a king (vere up to 3.5): each turn of
        /// its loop is recorded, because one of them releases effects.
        pub commits: u32,
        /// When the main loop of a king last looked for work, while events are followed; 0 if it has not.
        pub turn_ktime_ns: u64,
    }
}

impl Window {
    /// Whether a moment lies inside.
    #[inline(always)]
    pub const fn holds(&self, ktime_ns: u64) -> bool {
        ktime_ns >= self.start_ktime_ns && ktime_ns < self.end_ktime_ns
    }

    /// Part of an interval that lies inside, in nanoseconds.
    #[inline(always)]
    pub const fn part(&self, from_ktime_ns: u64, to_ktime_ns: u64) -> u64 {
        let from = if from_ktime_ns > self.start_ktime_ns {
            from_ktime_ns
        } else {
            self.start_ktime_ns
        };
        let to = if to_ktime_ns < self.end_ktime_ns {
            to_ktime_ns
        } else {
            self.end_ktime_ns
        };
        to.saturating_sub(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counts_before_the_window_opens_or_after_it_closes() {
        let not_begun = Window {
            start_ktime_ns: u64::MAX,
            end_ktime_ns: u64::MAX,
        };
        assert_eq!(
            (not_begun.part(0, 5_000), not_begun.holds(5_000)),
            (0, false)
        );
        let open = Window {
            start_ktime_ns: 100,
            end_ktime_ns: u64::MAX,
        };
        assert_eq!(
            (open.part(0, 150), open.part(120, 150), open.part(0, 90)),
            (50, 30, 0)
        );
        let closed = Window {
            start_ktime_ns: 100,
            end_ktime_ns: 200,
        };
        assert_eq!((closed.part(0, 900), closed.part(250, 900)), (100, 0));
        assert_eq!(
            (closed.holds(99), closed.holds(100), closed.holds(200)),
            (false, true, false)
        );
    }
}
