//! Decoded records.

use profiler_common::hoon::HoonFrame;

use super::{FrameKind, ThreadId};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A long wait ended.
    Wait(Box<WaitEvent>),
    /// A thread was seen running.
    Sample(SampleEvent),
    /// Block I/O was queued.
    Bio(BioEvent),
    /// Block I/O was completed.
    BioDone(BioDoneEvent),
    /// A thread began or ends.
    Task(TaskEvent),
    /// A major fault was served.
    Fault(FaultEvent),
    /// A snapshot ended.
    Snapshot(SnapshotEvent),
    /// A syscall was entered that bounds an event of the ship.
    Syscall(SyscallEvent),
    /// Mars' main thread was seen running.
    Hoon(HoonEvent),
}

impl Event {
    /// The moment that its record is about.
    pub fn ktime_ns(&self) -> u64 {
        match self {
            Self::Wait(event) => event.end_ktime_ns,
            Self::Sample(event) => event.ktime_ns,
            Self::Bio(event) => event.queued_ktime_ns,
            Self::BioDone(event) => event.done_ktime_ns,
            Self::Task(event) => event.ktime_ns,
            Self::Fault(event) => event.ktime_ns,
            Self::Snapshot(event) => event.end_ktime_ns,
            Self::Syscall(event) => event.ktime_ns,
            Self::Hoon(event) => event.ktime_ns,
        }
    }

    /// The stack it carries, if it is of a kind that may.
    pub fn stack(&self) -> Option<(ThreadId, &Stack)> {
        match self {
            Self::Wait(event) => Some((event.thread, &event.stack)),
            Self::Sample(event) => Some((event.thread, &event.stack)),
            Self::Bio(event) => Some((event.thread, &event.stack)),
            Self::Fault(event) => Some((event.thread, &event.stack)),
            Self::BioDone(_)
            | Self::Task(_)
            | Self::Snapshot(_)
            | Self::Syscall(_)
            | Self::Hoon(_) => None,
        }
    }
}

/// How far the user frames of a stack go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum StackEnd {
    /// The kernel followed them, and does not say.
    #[default]
    Unknown,
    /// To the first function of the process or thread.
    Root,
    /// To there, but functions may be missing on the way.
    Gap,
    /// To what is no frame: the rest is missing, unless the last is the first function.
    Broken,
    /// To the most that are recorded.
    Full,
    /// None were asked for: the ship's vere keeps no frame pointers.
    NotTaken,
}

/// Addresses, innermost first.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stack {
    /// In user space.
    pub user: Vec<u64>,
    /// How far they go.
    pub end: StackEnd,
    /// In the kernel.
    pub kernel: Vec<u64>,
}

impl Stack {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty() && self.kernel.is_empty()
    }

    /// The addresses to look names up for, innermost first, kernel before user. Every frame but
    /// the innermost of each part is a return address, which may lie behind the end of the
    /// function that called (a call that never returns is its last instruction); one byte before
    /// it is inside. The innermost kernel frame of a blocked thread and the innermost user frame
    /// behind a syscall are taken as they are.
    pub fn lookups(&self) -> impl DoubleEndedIterator<Item = (u64, FrameKind)> {
        let part = |addresses: &'_ [u64], kind| {
            let addresses = addresses.to_vec();
            addresses
                .into_iter()
                .enumerate()
                .map(move |(i, address)| (address - u64::from(i > 0 && address > 0), kind))
        };
        part(&self.kernel, FrameKind::Kernel).chain(part(&self.user, FrameKind::User))
    }
}

/// A stack of sampling mode, with what the programs added up under it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampledStack {
    /// Which thread.
    pub thread: ThreadId,
    /// Syscall it was blocked in and how, as in `profiler_common::sched::WaitKey`; nothing on CPU.
    pub wait: Option<(i32, u32)>,
    /// Where.
    pub stack: Stack,
    /// Ticks of the sampling clock, or waits.
    pub count: u64,
    /// Time of those waits; 0 on CPU.
    pub total_ns: u64,
}

/// A thread was off the CPU for longer than the threshold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitEvent {
    /// Which thread.
    pub thread: ThreadId,
    /// When it left the CPU.
    pub start_ktime_ns: u64,
    /// When it was woken; nothing if it had been preempted.
    pub woken_ktime_ns: Option<u64>,
    /// When it came back.
    pub end_ktime_ns: u64,
    /// The syscall it was in, `-1` for none, `-2` for the run queue.
    pub syscall_nr: i32,
    /// One of `profiler_common::sched::TASK_…`.
    pub task_state: u32,
    /// Who woke it.
    pub waker: (ThreadId, String),
    /// Who ran on its CPU until it came back.
    pub behind: (ThreadId, String),
    /// The CPU that it came back on.
    pub cpu: u32,
    /// Where it waited.
    pub stack: Stack,
}

/// A thread was running when the sampling clock ticked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleEvent {
    /// Which thread.
    pub thread: ThreadId,
    /// When.
    pub ktime_ns: u64,
    /// Where.
    pub stack: Stack,
}

/// A thread queued block I/O.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BioEvent {
    /// Which thread.
    pub thread: ThreadId,
    /// When.
    pub queued_ktime_ns: u64,
    /// First sector, of 512 bytes.
    pub sector: u64,
    /// Device, `major << 20 | minor`.
    pub dev: u32,
    /// Operation and flags (`bi_opf`).
    pub opf: u32,
    /// Size.
    pub bytes: u32,
    /// From where.
    pub stack: Stack,
}

/// Block I/O, or a part of it that the kernel split off, is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BioDoneEvent {
    /// The thread that had queued it.
    pub thread: ThreadId,
    /// When it was queued: the [`BioEvent`] of the same thread and time is its origin.
    pub queued_ktime_ns: u64,
    /// When it went to the device; nothing where that is not seen (flushes, stacked devices).
    pub issued_ktime_ns: Option<u64>,
    /// When it was done.
    pub done_ktime_ns: u64,
    /// Device, `major << 20 | minor`.
    pub dev: u32,
    /// Operation and flags (`bi_opf`).
    pub opf: u32,
    /// Size.
    pub bytes: u32,
    /// 0, or the device's error.
    pub error: i32,
}

/// A thread began or is about to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEvent {
    /// Which thread.
    pub thread: ThreadId,
    /// When.
    pub ktime_ns: u64,
    /// Its name at that moment.
    pub comm: String,
    /// The process that created it; nothing at its end.
    pub parent_tgid: Option<u32>,
}

/// A page fault that had to wait for I/O was served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultEvent {
    /// Which thread.
    pub thread: ThreadId,
    /// When it was served.
    pub ktime_ns: u64,
    /// What was touched.
    pub address: u64,
    /// Time that the thread was blocked for pages since its event before.
    pub waited_ns: u64,
    /// Faults since then, this one included.
    pub count: u64,
    /// Where; empty if as at the thread's event before.
    pub stack: Stack,
}

/// Mars wrote a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEvent {
    /// Which thread.
    pub thread: ThreadId,
    /// When it began.
    pub start_ktime_ns: u64,
    /// When the thread could go on.
    pub end_ktime_ns: u64,
}

/// A syscall was entered that bounds an event of the ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyscallEvent {
    /// Which thread.
    pub thread: ThreadId,
    /// When.
    pub ktime_ns: u64,
    /// Which, and with what.
    pub call: Call,
}

/// The Hoon stack that a sample of mars' main thread was under, as far as it could be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoonEvent {
    /// Which thread.
    pub thread: ThreadId,
    /// When: the time of its [`SampleEvent`].
    pub ktime_ns: u64,
    /// Number of the last event that was computed.
    pub event_number: u64,
    /// How the walk ended, one of `profiler_common::hoon::END_…`.
    pub end: u32,
    /// Roads there were, home included: with one, no computation was under way.
    pub roads: u32,
    /// The hints, innermost first.
    pub frames: Vec<HoonFrame>,
}

/// A syscall that bounds an event of the ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `sigaltstack` of mars' main thread.
    SignalStack {
        /// `ss_flags`.
        flags: u32,
        /// Number of the last event, if the loom is of a layout that we know.
        event_number: u64,
    },
    /// `writev` of a newt frame by a main thread.
    Frame {
        /// Descriptor.
        fd: u32,
        /// Length of the jammed noun.
        bytes: u64,
        /// Its first bytes.
        head: Vec<u8>,
        /// When the turn of the king's loop began that sends it.
        turn_ktime_ns: Option<u64>,
    },
    /// `fdatasync`.
    Sync {
        /// Descriptor.
        fd: u32,
    },
    /// `epoll_pwait` of the main thread of a king whose own workers commit.
    LoopTurn,
}
