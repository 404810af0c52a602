//! Whether a page-in is the disk's fault or memory's.
//!
//! The first touch of a page of `image.bin` has to read it: that is `disk`. A page that had been
//! in memory and was evicted would not have to be read if there were more memory: that is
//! `memory`. The scheduler sees only a thread blocked in a page fault. So the rule, for all
//! page-ins of a capture together, is: they are charged to `memory` if the machine's refaults
//! and swap-ins during the capture were at least half of the ship's major faults, and there was
//! at least one.

use crate::model::{Meta, sum};

use super::leaf::Leaf;

/// What the rule saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PageInRule {
    /// Major faults of the ship; nothing if unknown.
    pub major_faults: Option<u64>,
    /// Pages of the whole machine that were read back after an eviction, or from swap; nothing if
    /// unknown.
    pub refaulted_pages: Option<u64>,
}

impl PageInRule {
    /// From the counters at both ends.
    pub fn of(meta: &Meta) -> Self {
        let (start, end) = (&meta.counters_start, &meta.counters_end);
        let faults = end.processes.iter().filter_map(|(tgid, end)| {
            let start = start.processes.get(tgid)?;
            Some(
                end.major_faults_total
                    .saturating_sub(start.major_faults_total),
            )
        });
        let major_faults = (!end.processes.is_empty()).then(|| sum(faults));
        let refaulted_pages =
            start
                .memory
                .known()
                .zip(end.memory.known())
                .and_then(|(start, end)| {
                    let rise = |of: fn(&crate::host::kernel::MemoryCounters) -> Option<u64>| {
                        Some(of(end)?.saturating_sub(of(start)?))
                    };
                    let rises = [
                        rise(|m| m.refaulted_file_pages),
                        rise(|m| m.refaulted_anonymous_pages),
                        rise(|m| m.swapped_in_pages),
                    ];
                    rises
                        .iter()
                        .any(Option::is_some)
                        .then(|| sum(rises.into_iter().flatten()))
                });
        Self {
            major_faults,
            refaulted_pages,
        }
    }

    /// The leaf that page-ins are charged to.
    pub fn leaf(&self) -> Leaf {
        match (self.major_faults, self.refaulted_pages) {
            (Some(faults), Some(refaults)) if faults > 0 && refaults * 2 >= faults => {
                Leaf::PageInAfterEviction
            }
            _ => Leaf::PageIn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_evidence_of_eviction_makes_it_memory() {
        let leaf = |major_faults, refaulted_pages| {
            PageInRule {
                major_faults,
                refaulted_pages,
            }
            .leaf()
        };
        assert_eq!(leaf(Some(100), Some(0)), Leaf::PageIn);
        assert_eq!(leaf(Some(100), Some(49)), Leaf::PageIn);
        assert_eq!(leaf(Some(100), Some(50)), Leaf::PageInAfterEviction);
        assert_eq!(leaf(Some(0), Some(50)), Leaf::PageIn);
        assert_eq!(leaf(None, Some(50)), Leaf::PageIn);
        assert_eq!(leaf(Some(100), None), Leaf::PageIn);
    }
}
