//! Counting what could not be kept.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use profiler_common::loss;

/// Losses by reason (`profiler_common::loss`).
#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(loss::REASONS, 0);

/// Counts one loss.
#[inline(always)]
pub fn count(reason: u32) {
    if let Some(counter) = LOSSES.get_ptr_mut(reason) {
        // SAFETY: the map's value, this CPU's own copy.
        unsafe { *counter += 1 };
    }
}
