//! Everything that a program could not keep is counted, by reason, in the per-CPU array
//! `LOSSES`, indexed by these constants.

/// The ring buffer was full: a wait longer than the threshold was summed, but not recorded.
pub const WAIT_RECORD: u32 = 0;
/// The ring buffer was full: a CPU sample is missing.
pub const SAMPLE_RECORD: u32 = 1;
/// The ring buffer was full: the stack of a block I/O is missing (its sums are not).
pub const BIO_RECORD: u32 = 2;
/// The ring buffer was full: a fork or exit is missing.
pub const TASK_RECORD: u32 = 3;
/// A thread found no room in `SCHED_THREADS`: it has no budget.
pub const THREAD_SLOT: u32 = 4;
/// A reason for waiting found no room in `SCHED_WAITS`: its time is unexplained.
pub const WAIT_SLOT: u32 = 5;
/// A bio found no room in `BLOCK_BIOS`: its I/O is missing from the sums.
pub const BIO_SLOT: u32 = 6;
/// A request held more bios than a program walks: the rest is missing from the sums.
pub const BIO_CHAIN: u32 = 7;
/// A device and process found no room in `BLOCK_TOTALS`.
pub const BLOCK_SLOT: u32 = 8;
/// A process found no room in `SHIP_PROCESSES`: it is not followed.
pub const PROCESS_SLOT: u32 = 9;
/// A user stack could not be read.
pub const USER_STACK: u32 = 10;
/// The ring buffer was full: a major fault is counted, but its place is missing.
pub const FAULT_RECORD: u32 = 11;
/// A process found no room in `NEIGHBOUR_AHEAD` or `NEIGHBOUR_IO`, or its bio in `BLOCK_BIOS`: who
/// held the ship up is known less well.
pub const NEIGHBOUR_SLOT: u32 = 17;

/// A process found no room in `SNAPSHOTS`: its snapshots are not measured.
pub const SNAPSHOT_SLOT: u32 = 12;
/// The ring buffer was full: a snapshot is in the sums, but its place in time is missing.
pub const SNAPSHOT_RECORD: u32 = 13;
/// The ring buffer was full: one end of a part of an event is missing.
pub const SYSCALL_RECORD: u32 = 14;
/// A stack found no room in `STACK_SUMS`: the time that it stands for is in the sums, but not under it.
pub const STACK_SLOT: u32 = 15;
/// A stack had the hash of another one of the same thread, and was not added to it.
pub const STACK_COLLISION: u32 = 16;
/// The ring buffer was full: the Hoon stack of a sample is missing.
pub const HOON_RECORD: u32 = 20;

/// Where the parts of a frame lie could not be read, because that page was not in memory: the frame is
/// missing from the course of events.
pub const FRAME_PARTS: u32 = 21;

/// A pair of ships found no room in `AMES_PACKETS`: their datagrams are in the sums, but under no name.
pub const AMES_SLOT: u32 = 18;
/// A file of the ship found no room in `WRITEBACK_FILES` or `WRITEBACK_IO`: its I/O is in the sums, but not
/// under its name.
pub const FILE_SLOT: u32 = 19;

/// A thread found no room in `SCHED_STACKS`: its wait is recorded without a stack.
pub const WAIT_STACK: u32 = 22;

/// An entry of a system call was not seen, because the program that sees it was preempted on this CPU. Told
/// by the kernel (`recursion_misses` of `bpf_prog_info`), not by the program.
pub const ENTRY_MISSED: u32 = 23;
/// Any other program was not run, because the kernel was in it on this CPU; told as above.
pub const RUN_MISSED: u32 = 24;

/// Number of reasons.
pub const REASONS: u32 = 25;
