//! What the stages hand to each other: plain values, the same on every machine.
//!
//! A [`Capture`] is all that a report is made of. Nothing after it looks at a file, a clock or a
//! process. A [`Window`] is what the sampler keeps of a minute.

mod capture;
mod event;
#[cfg(test)]
pub(crate) mod example;
mod histogram;
mod symbols;
mod window;
mod window_sum;

pub use capture::{
    AmesTotals, Capture, Clocks, EndReason, Losses, Meta, NeighbourTotals, OwnUse, ProbeStatus,
    ProgramCost, ThreadState, Totals, UnderWay, WritebackTotals, king_not_asked, packet_order,
};
pub use event::{
    BioDoneEvent, BioEvent, Call, Event, FaultEvent, HoonEvent, SampleEvent, SampledStack,
    SnapshotEvent, Stack, StackEnd, SyscallEvent, TaskEvent, WaitEvent,
};
pub use histogram::Histogram;
pub use symbols::{Addresses, Frame, FrameKind, NamedRange, NamedRanges, Symbols};
pub use window::{
    Budget, DiskSpace, EventRange, Faults, LeafTime, Loom, OwnCost, ProcessMemory, ShipKey,
    TopStack, TopStacks, Udp, Window, WindowFinding, WindowVerdict, histogram_name, stack_kind,
};
pub use window_sum::{
    Covered, FindingSum, Latest, OwnCostSum, StackSum, VerdictKey, VerdictSum, WindowSum,
};

/// Nanoseconds in a second.
pub const NS_PER_S: u64 = 1_000_000_000;

/// A sum that stays at the largest number instead of overflowing: a capture file may come from
/// anybody.
pub fn sum(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0, u64::saturating_add)
}

/// A thread by both ids, as the host numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
}
