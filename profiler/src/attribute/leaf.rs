//! The tree of causes.

use serde::Serialize;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Storage.
    Disk,
    /// Processor time, used or withheld.
    Cpu,
    /// Too little of it, or its upkeep.
    Memory,
    /// The network, as Ames uses it.
    Ames,
    /// No rule explains it.
    Unexplained,
}

impl Cause {
    /// All, in the order of the report.
    pub const ALL: [Self; 5] = [
        Self::Disk,
        Self::Cpu,
        Self::Memory,
        Self::Ames,
        Self::Unexplained,
    ];

    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Ames => "ames",
            Self::Unexplained => "unexplained",
        }
    }

    /// At the beginning of a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Disk => "Disk",
            Self::Cpu => "CPU",
            Self::Memory => "Memory",
            Self::Ames => "Ames",
            Self::Unexplained => "Unexplained",
        }
    }
}

/// What exactly took the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaf {
    /// The commit worker waits for the event log to be durable.
    LogCommit,
    /// Mars writes a snapshot.
    Snapshot,
    /// First touch of loom pages that lie in `image.bin`.
    PageIn,
    /// Any other file.
    OtherFile,
    /// On CPU.
    Computing,
    /// Ready to run, no CPU free.
    RunQueue,
    /// Ready to run, quota used up.
    Throttled,
    /// Kept from running by the hypervisor.
    Stolen,
    /// Pages that had been in memory and were evicted.
    PageInAfterEviction,
    /// Pages that come back from swap.
    SwapIn,
    /// Freeing memory before some can be had, of the machine or of the control group.
    Reclaim,
    /// Moving pages before a larger piece of memory can be had.
    Compaction,
    /// Noting which pages of the loom are written to: signal, `mprotect` and copy.
    DirtyTracking,
    /// Collection and packing of the loom: `|mass`, `|pack`, `|meld`, caches thrown away.
    Collection,
    /// Waiting for changes of the memory map.
    MemoryMap,
    /// Sending is held up.
    SendPath,
    /// Mars waits for the king to take what it sends.
    KingHeldUp,
    /// No rule explains it.
    Unexplained,
}

impl Leaf {
    /// The cause it belongs to.
    pub fn cause(self) -> Cause {
        match self {
            Self::LogCommit | Self::Snapshot | Self::PageIn | Self::OtherFile => Cause::Disk,
            Self::Computing | Self::RunQueue | Self::Throttled | Self::Stolen => Cause::Cpu,
            Self::PageInAfterEviction
            | Self::SwapIn
            | Self::Reclaim
            | Self::Compaction
            | Self::DirtyTracking
            | Self::Collection
            | Self::MemoryMap => Cause::Memory,
            Self::SendPath | Self::KingHeldUp => Cause::Ames,
            Self::Unexplained => Cause::Unexplained,
        }
    }

    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::LogCommit => "log commit",
            Self::Snapshot => "snapshot",
            Self::PageIn => "page-in, first touch",
            Self::OtherFile => "other file I/O",
            Self::Computing => "computing",
            Self::RunQueue => "run queue",
            Self::Throttled => "throttled",
            Self::Stolen => "stolen",
            Self::PageInAfterEviction => "page-in after eviction",
            Self::SwapIn => "swap-in",
            Self::Reclaim => "reclaim",
            Self::Compaction => "compaction",
            Self::DirtyTracking => "dirty tracking",
            Self::Collection => "collection and packing",
            Self::MemoryMap => "memory map",
            Self::SendPath => "send path",
            Self::KingHeldUp => "king held up",
            Self::Unexplained => "unexplained",
        }
    }
}
