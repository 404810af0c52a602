//! The report: everything that any renderer shows, as one value.

mod agents;
mod build;
mod checks;
mod events;
mod findings;
mod host;
mod listing;
mod mars_spans;
mod sentence;
mod state;
pub mod units;

pub use agents::{AgentLine, AgentsBasis};
pub use build::{report, report_of};
pub use checks::{DISK_BUSY, DISK_BYTES, THROTTLED_TIME};
pub use events::{
    BehindLine, EventTimesLine, KindLine, PhaseLine, TimesLine, WorstEvent, WorstPart,
};
pub use findings::{FULL_RATIO, LOW_GAP_BYTES, MANY_FILES_RATIO, MANY_MAPPINGS_RATIO};
use host::is_named;
pub use host::{
    BusySplit, DeviceShare, DeviceUse, FileLine, Neighbours, PartyShare, ShipOrHost, StealLine,
};
pub use listing::{LISTING_VERSION, ListedCommit, ListedEvent, Listing, listing};
pub use mars_spans::{MarsSpans, SpanEntry, SpanLine};

use serde::Serialize;

use crate::aggregate::ames::AmesSummary;
use crate::aggregate::hoon::HoonSummary;
use crate::aggregate::memory::MemorySummary;
use crate::aggregate::snapshot::SnapshotSummary;
use crate::aggregate::udp::UdpSummary;
use crate::aggregate::wholeness::StackCounts;
use crate::attribute::{Cause, Leaf, PageInRule, VerdictKind};
use crate::model::EndReason;
use crate::recommend::{Fix, P95};
use crate::ship::Role;

/// Version of [`Report`] as JSON. Raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Version of the profiler that took the capture.
    pub profiler_version: String,
    /// The ship.
    pub ship: ShipLine,
    /// The capture.
    pub window: WindowLine,
    /// What was lost or could not be measured: the report claims less where it matters.
    pub incomplete: Vec<String>,
    /// The ship's events; nothing if their numbers are not known.
    pub events: Option<EventsLine>,
    /// Why their numbers could not be read.
    pub events_unknown: Option<String>,
    /// How long they took; nothing if too few could be followed for a verdict.
    pub event_times: Option<EventTimesLine>,
    /// What mars did beside computing events; nothing if they could not be followed.
    pub mars_spans: Option<MarsSpans>,
    /// What it all comes to.
    pub verdict: Verdict,
    /// What the shares are shares of.
    pub basis: String,
    /// Time that the shares are of, as `basis` says.
    pub busy_ns: u64,
    /// Shares by cause, in the fixed order of the causes.
    pub shares: Vec<CauseShare>,
    /// Who stalled time is due to: the ship, its neighbours, the hypervisor, the disk.
    pub ship_or_host: ShipOrHost,
    /// What the neighbours did.
    pub neighbours: Neighbours,
    /// Things that take no time of their own.
    pub findings: Vec<Finding>,
    /// What it is not, each with its number.
    pub not_the_cause: Vec<String>,
    /// Fixes, ranked.
    pub fixes: Vec<Fix>,
    /// The events' p95 with all recommended fixes, where there is more than one for their time.
    pub fixes_together: Option<P95>,
    /// Budgets of all threads.
    pub threads: Vec<ThreadBudget>,
    /// Block I/O.
    pub block_io: Vec<BlockLine>,
    /// The ship's block I/O by file, the busiest first on each device.
    pub file_io: Vec<FileLine>,
    /// Memory.
    pub memory: MemorySummary,
    /// Snapshots, for which the ship stands still; nothing if they were not followed.
    pub snapshots: Option<SnapshotSummary>,
    /// The rule by which page-ins were charged to disk or memory, and what of the kernel's numbers it
    /// saw.
    pub page_in_rule: PageInRule,
    /// Traffic with other ships.
    pub ames: AmesSummary,
    /// Datagrams.
    pub udp: Option<UdpSummary>,
    /// Whose code mars computed; nothing if no Hoon stack was taken.
    pub hoon: Option<HoonSummary>,
    /// How many C stacks are whole; nothing if the capture does not say how its stacks end.
    pub stacks: Option<StackCounts>,
    /// Time and events by agent and vane, the heaviest first, what is not known last; nothing if no Hoon
    /// stack was taken.
    pub agents: Option<Vec<AgentLine>>,
    /// What their numbers are parts of.
    pub agents_basis: Option<AgentsBasis>,
    /// Our sums beside the kernel's own.
    pub checks: Vec<Check>,
    /// What the profiler cost.
    pub own_cost: OwnCost,
    /// How much was lost that makes a statement of this report incomplete.
    pub lost: u64,
    /// Everything that was lost, by reason.
    pub losses: Vec<Loss>,
}

/// The ship in one line.
#[derive(Debug, Clone, Serialize)]
pub struct ShipLine {
    /// Its name, or its pier.
    pub label: String,
    /// vere's version, if a file name tells it.
    pub version: Option<String>,
    /// Process of the king.
    pub king_tgid: u32,
    /// Nock process; nothing if there was none.
    pub mars_tgid: Option<u32>,
    /// The pier as the ship sees it.
    pub pier: String,
    /// `up`, `booting`, `replaying`, `writing a snapshot`, `packing`, `collecting`, `no Nock process`: when
    /// the capture ended.
    pub state: String,
}

/// The capture in one line.
#[derive(Debug, Clone, Serialize)]
pub struct WindowLine {
    /// Length.
    pub duration_ns: u64,
    /// When it began, `CLOCK_REALTIME`.
    pub start_unix_ns: u64,
    /// Kernel release.
    pub kernel: String,
    /// Why it ended.
    pub ended: EndReason,
}

/// The ship's events.
#[derive(Debug, Clone, Serialize)]
pub struct EventsLine {
    /// Number of the last event before the window.
    pub before: u64,
    /// Number of the last event inside it.
    pub last: u64,
    /// How many were computed inside it.
    pub count: u64,
}

/// The verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// What kind.
    pub kind: VerdictKind,
    /// The heaviest cause, or that of the severest finding; nothing if nothing is wrong.
    pub cause: Option<Cause>,
    /// In one or two sentences.
    pub sentence: String,
}

/// One cause.
#[derive(Debug, Clone, Serialize)]
pub struct CauseShare {
    /// Which.
    pub cause: Cause,
    /// Share of what `basis` says.
    pub ratio: f64,
    /// Its time.
    pub total_ns: u64,
    /// Its parts, heaviest first.
    pub parts: Vec<PartShare>,
}

/// One leaf.
#[derive(Debug, Clone, Serialize)]
pub struct PartShare {
    /// Which.
    pub leaf: Leaf,
    /// Share of the busy time.
    pub ratio: f64,
    /// Its time.
    pub total_ns: u64,
    /// Whether it was split off by an estimate.
    pub estimated: bool,
    /// Number of single waits.
    pub waits: u64,
    /// Median wait.
    pub p50_ns: Option<u64>,
    /// 95th percentile of the waits.
    pub p95_ns: Option<u64>,
    /// What there is to see for it.
    pub evidence: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Harms the ship now, or will soon.
    Severe,
}

/// Something that takes no time of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Stable name.
    pub id: &'static str,
    /// The cause it belongs to; nothing if it is about the capture itself.
    pub cause: Option<Cause>,
    /// How bad.
    pub severity: Severity,
    /// How many, where it is counted.
    pub count: Option<u64>,
    /// In one sentence.
    pub sentence: String,
}

/// A thread's closed budget: the parts sum to `wall_ns`.
#[derive(Debug, Clone, Serialize)]
pub struct ThreadBudget {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// What it does.
    pub role: Role,
    /// Time that it existed in the window.
    pub wall_ns: u64,
    /// On CPU.
    pub on_cpu_ns: u64,
    /// Waiting for a CPU, throttled included.
    pub run_queue_ns: u64,
    /// Waiting for work.
    pub idle_ns: u64,
    /// Waiting for anything else, by syscall.
    pub blocked: Vec<BlockedLine>,
    /// What is left.
    pub unexplained_ns: u64,
    /// Times it came onto a CPU.
    pub switches: u64,
    /// Of these, those that the kernel's tracepoint did not tell; their time is from its own count.
    pub unseen_switches: u64,
    /// CPU samples taken of it.
    pub samples: u64,
    /// What the kernel's own counters say of the same time; nothing for a thread that ended.
    pub kernel: Option<KernelSums>,
}

/// `/proc/PID/task/TID/schedstat` over the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KernelSums {
    /// On CPU.
    pub on_cpu_ns: u64,
    /// In the run queue.
    pub run_queue_ns: u64,
}

/// One reason for being blocked.
#[derive(Debug, Clone, Serialize)]
pub struct BlockedLine {
    /// Syscall, or `page fault`.
    pub syscall: &'static str,
    /// Whether the sleep could be interrupted (`S` in ps).
    pub interruptible: bool,
    /// Whether it was charged to no cause, as waiting for work.
    pub idle: bool,
    /// How many waits.
    pub count: u64,
    /// Their time.
    pub total_ns: u64,
    /// Median.
    pub p50_ns: Option<u64>,
    /// 95th percentile.
    pub p95_ns: Option<u64>,
    /// The longest.
    pub max_ns: u64,
}

/// Block I/O of one role on one device.
#[derive(Debug, Clone, Serialize)]
pub struct BlockLine {
    /// Who.
    pub role: Role,
    /// Device name, or its numbers.
    pub device: String,
    /// What.
    pub operation: &'static str,
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
    /// In the queue, in all.
    pub queue_ns: u64,
    /// In the device, in all.
    pub device_ns: u64,
    /// 95th percentile in the queue.
    pub queue_p95_ns: Option<u64>,
    /// Median in the device.
    pub device_p50_ns: Option<u64>,
    /// 95th percentile in the device.
    pub device_p95_ns: Option<u64>,
    /// Failed.
    pub errors: u64,
}

/// One of our sums beside the kernel's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What is compared.
    pub what: &'static str,
    /// Where the kernel's comes from.
    pub source: &'static str,
    /// Ours.
    pub ours: u64,
    /// The kernel's.
    pub kernels: u64,
    /// Unit of both.
    pub unit: &'static str,
    /// Whether the kernel's counter also counts for others than the ship, so that ours is a part of it.
    pub others_included: bool,
}

/// What the profiler cost.
#[derive(Debug, Clone, Serialize)]
pub struct OwnCost {
    /// CPU time of its process in the window.
    pub process_cpu_ns: u64,
    /// CPU time of its programs in the window, extrapolated; nothing if not measured.
    pub programs_cpu_ns: Option<u64>,
    /// Share of one CPU that both took.
    pub cpu_ratio: f64,
    /// Largest resident set.
    pub max_resident_bytes: u64,
    /// Bytes of records.
    pub record_bytes: u64,
    /// Records.
    pub records: u64,
    /// Each program: runs and nanoseconds per run while they were counted.
    pub programs: Vec<ProgramLine>,
}

/// What one program cost while it was counted.
#[derive(Debug, Clone, Serialize)]
pub struct ProgramLine {
    /// Its name.
    pub program: String,
    /// Runs.
    pub runs: u64,
    /// Nanoseconds per run.
    pub ns_per_run: f64,
}

/// Something lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// What, and what it means.
    pub what: &'static str,
    /// How many.
    pub count: u64,
}
