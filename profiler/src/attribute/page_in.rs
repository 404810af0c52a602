//! Whether a page-in is the disk's fault or memory's.
//!
//! The first touch of a page of `image.bin` has to read it: that is `disk`. A page that had been
//! in memory and was evicted would not have to be read if there were more memory: that is
//! `memory`. A blocked thread does not tell the two apart, so the rule is for all page-ins of a capture
//! together. They are charged to `memory` if, in the time of the capture,
//!
//! - of the pages that the ship had read, at least half were read back after an eviction; or
//! - a tenth were, and memory was short: the ship's control group hit its limit, or tasks stalled for
//!   memory 1 % of the time (PSI). The kernel forgets evictions, the more the shorter memory is.
//!
//! A fault reads many pages, and later ones wait for what was read ahead; so it is pages that are
//! compared, not faults, unless the kernel does not count what a process has read.
//!
//! Refaults are those of the ship's control group, or of the machine where the group is not known.
//! Pages from swap are no matter of this rule: the kernel's stack tells them.

use serde::Serialize;

use crate::model::{Meta, sum};

use super::leaf::Leaf;

/// Bytes of a page where vere runs on Linux (x86-64, and arm64 with its most common page).
const PAGE_BYTES: u64 = 4096;
/// Share of the pages read from which on refaults explain them.
const REFAULT_RATIO: u64 = 2;
/// The same while memory is short.
const REFAULT_RATIO_SHORT: u64 = 10;
/// Share of the time, in per cent, that tasks stalled for memory when it counts as short.
const PRESSURE_PERCENT: u64 = 1;

/// What the rule saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PageInRule {
    /// Major faults of the ship; nothing if unknown.
    pub major_faults: Option<u64>,
    /// Pages that the ship had read from storage; nothing if unknown.
    pub read_pages: Option<u64>,
    /// File pages that were read back after an eviction; nothing if unknown.
    pub refaulted_pages: Option<u64>,
    /// How often the ship's control group hit a limit; nothing if unknown.
    pub limit_hits: Option<u64>,
    /// Share of the time that tasks stalled for memory, in thousandths; nothing if unknown.
    pub pressure_permille: Option<u64>,
}

/// How much a counter rose.
fn rise(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

impl PageInRule {
    /// From the counters at both ends.
    pub fn of(meta: &Meta) -> Self {
        let (start, end) = (&meta.counters_start, &meta.counters_end);
        let both = end.processes.iter();
        let both = both.filter_map(|(tgid, end)| Some((start.processes.get(tgid)?, end)));
        let faults = both.clone().filter_map(|(start, end)| {
            rise(Some(start.major_faults_total), Some(end.major_faults_total))
        });
        let major_faults = (!end.processes.is_empty()).then(|| sum(faults));
        let read = both.map(|(start, end)| {
            let (start, end) = (start.io.known()?, end.io.known()?);
            rise(Some(start.read_bytes), Some(end.read_bytes))
        });
        let read_bytes: Option<Vec<u64>> = read.collect();
        let (group_start, group_end) = (start.group_memory.known(), end.group_memory.known());
        let (host_start, host_end) = (start.memory.known(), end.memory.known());
        let of_group = rise(
            group_start.and_then(|m| m.refaulted_file_pages),
            group_end.and_then(|m| m.refaulted_file_pages),
        );
        let of_host = || {
            rise(
                host_start.and_then(|m| m.refaulted_file_pages),
                host_end.and_then(|m| m.refaulted_file_pages),
            )
        };
        let stalled_us = rise(
            start.memory_pressure.known().map(|p| p.some_total_us),
            end.memory_pressure.known().map(|p| p.some_total_us),
        );
        let duration_us = (meta.clocks.duration_ns() / 1000).max(1);
        Self {
            major_faults,
            read_pages: read_bytes.map(|all| sum(all) / PAGE_BYTES),
            refaulted_pages: of_group.or_else(of_host),
            limit_hits: rise(
                group_start.and_then(|m| m.limit_hits_total),
                group_end.and_then(|m| m.limit_hits_total),
            ),
            pressure_permille: stalled_us.map(|us| us.saturating_mul(1000) / duration_us),
        }
    }

    /// Whether memory was short.
    pub fn is_short(&self) -> bool {
        self.limit_hits.is_some_and(|hits| hits > 0)
            || self
                .pressure_permille
                .is_some_and(|permille| permille >= PRESSURE_PERCENT * 10)
    }

    /// The leaf that page-ins are charged to.
    pub fn leaf(&self) -> Leaf {
        let ratio = if self.is_short() {
            REFAULT_RATIO_SHORT
        } else {
            REFAULT_RATIO
        };
        let read = self.major_faults.max(self.read_pages);
        match (self.major_faults, self.refaulted_pages) {
            (Some(1..), Some(refaults)) if refaults.saturating_mul(ratio) >= read.unwrap_or(0) => {
                Leaf::PageInAfterEviction
            }
            _ => Leaf::PageIn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(major_faults: Option<u64>, refaulted_pages: Option<u64>) -> PageInRule {
        PageInRule {
            major_faults,
            refaulted_pages,
            ..PageInRule::default()
        }
    }

    #[test]
    fn only_evidence_of_eviction_makes_it_memory() {
        let leaf = |faults, refaults| rule(faults, refaults).leaf();
        assert_eq!(leaf(Some(100), Some(0)), Leaf::PageIn);
        assert_eq!(leaf(Some(100), Some(49)), Leaf::PageIn);
        assert_eq!(leaf(Some(100), Some(50)), Leaf::PageInAfterEviction);
        assert_eq!(leaf(Some(0), Some(50)), Leaf::PageIn);
        assert_eq!(leaf(None, Some(50)), Leaf::PageIn);
        assert_eq!(leaf(Some(100), None), Leaf::PageIn);
    }

    #[test]
    fn a_few_refaults_among_all_that_was_read_are_no_evidence() {
        // Read ahead, and waited for by faults that are not counted as major.
        let cold = PageInRule {
            read_pages: Some(16_384),
            ..rule(Some(2), Some(4))
        };
        assert_eq!(cold.leaf(), Leaf::PageIn);
        let evicted = PageInRule {
            refaulted_pages: Some(16_000),
            ..cold
        };
        assert_eq!(evicted.leaf(), Leaf::PageInAfterEviction);
    }

    #[test]
    fn less_evidence_does_while_memory_is_short() {
        let short = [
            PageInRule {
                limit_hits: Some(1),
                ..rule(Some(100), Some(10))
            },
            PageInRule {
                pressure_permille: Some(10),
                ..rule(Some(100), Some(10))
            },
        ];
        for rule in short {
            assert_eq!(rule.leaf(), Leaf::PageInAfterEviction);
            let none = PageInRule {
                refaulted_pages: Some(9),
                ..rule
            };
            assert_eq!(none.leaf(), Leaf::PageIn);
        }
        let enough = PageInRule {
            limit_hits: Some(0),
            pressure_permille: Some(9),
            ..rule(Some(100), Some(10))
        };
        assert_eq!(enough.leaf(), Leaf::PageIn);
    }
}
