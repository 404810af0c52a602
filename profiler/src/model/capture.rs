//! A capture: what `drain` saw, with the host's facts, the clocks and the losses.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use profiler_common::ames::{PacketKey, PacketTotals, Times};
use profiler_common::block::{BlockKey, BlockTotals};
use profiler_common::loss;
use profiler_common::neighbour::{AheadKey, AheadTotals, DeviceTotals, IoKey, IoTotals};
use profiler_common::sched::{Thread, WaitKey, Waits};
use profiler_common::snapshot::SnapshotTotals;
use profiler_common::turnaround::Turnaround;
use profiler_common::udp::{UdpKey, UdpTotals};
use profiler_common::writeback::{File, FileIo, FileIoKey, FileKey};
use serde::{Deserialize, Serialize};

use super::{Event, Symbols};
use crate::hoon::HoonNames;
use crate::host::counters::KernelCounters;
use crate::host::memory::{Mappings, RangeUse};
use crate::host::neighbours::NeighbourFacts;
use crate::host::{HostFacts, Reading};
use crate::ship::loom::LoomAnswer;
use crate::ship::{Setup, Ship};

/// Everything that a report is made of.
#[derive(Debug)]
pub struct Capture {
    /// Circumstances.
    pub meta: Meta,
    /// Records, decoded, in the order of their times.
    pub events: Vec<Event>,
    /// Sums that the programs kept.
    pub totals: Totals,
    /// Names of the addresses in stacks.
    pub symbols: Symbols,
    /// Names of what Hoon stacks are made of.
    pub hoon: HoonNames,
}

/// What the king said of its messages to mars that were not answered (`lord/queue` of `%peel /info`), at a
/// moment between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnderWay {
    /// When it was about to be asked.
    pub asked_ktime_ns: u64,
    /// When its answer had been read.
    pub told_ktime_ns: u64,
    /// How many.
    pub messages: u64,
}

/// Circumstances of a capture.
#[derive(Debug, Serialize, Deserialize)]
pub struct Meta {
    /// Version of the profiler that took it.
    pub profiler_version: String,
    /// The architecture it was taken on (syscall numbers depend on it).
    pub architecture: String,
    /// The ship.
    pub ship: Ship,
    /// The host.
    pub host: HostFacts,
    /// When it was.
    pub clocks: Clocks,
    /// Seconds that were asked for.
    pub requested_s: u64,
    /// Waits at least this long were recorded.
    pub threshold_ns: u64,
    /// Waits at least this long were recorded without stacks.
    #[serde(default)]
    pub timeline_ns: u64,
    /// CPU samples per second and CPU.
    pub sample_hz: u64,
    /// Why it ended.
    pub ended: EndReason,
    /// What was attached and what was not.
    pub probes: Vec<ProbeStatus>,
    /// Processes that the ship forked and that were watched from then on.
    pub followed_tgids: Vec<u32>,
    /// What procfs said of the ship's threads when the window opened.
    pub thread_states_start: Vec<ThreadState>,
    /// What procfs said of the ship's threads at the end.
    pub thread_states: Vec<ThreadState>,
    /// The kernel's own counters when the window opened.
    pub counters_start: KernelCounters,
    /// The kernel's own counters when the window closed.
    pub counters_end: KernelCounters,
    /// The head of the loom when the window opened.
    pub loom_start: LoomAnswer,
    /// The head of the loom when the window closed.
    pub loom_end: LoomAnswer,
    /// What the addresses of the ship's processes were for, by process.
    pub mappings: BTreeMap<u32, Mappings>,
    /// What part of the loom was in memory when the window closed.
    pub loom_use: Reading<RangeUse>,
    /// What the king said, each time that it was asked, of what it had sent to mars.
    #[serde(default)]
    pub under_way: Vec<UnderWay>,
    /// What the king itself counted of its datagrams when the window had opened, by vere's names.
    #[serde(default = "king_not_asked")]
    pub king_counters_start: Reading<BTreeMap<String, u64>>,
    /// The same before it closed.
    #[serde(default = "king_not_asked")]
    pub king_counters_end: Reading<BTreeMap<String, u64>>,
    /// How the ship is set up on its host.
    #[serde(default = "Setup::not_kept")]
    pub setup: Reading<Setup>,
    /// Who the neighbours are that used CPU and disk beside the ship.
    #[serde(default = "NeighbourFacts::not_kept")]
    pub neighbours: Reading<NeighbourFacts>,
    /// What could not be kept.
    pub losses: Losses,
    /// What the programs cost.
    pub program_costs: Vec<ProgramCost>,
    /// Time for which the kernel kept count of that.
    pub cost_measured_ns: u64,
    /// The profiler's own process.
    pub own_tgid: u32,
    /// What it used.
    pub own_use: OwnUse,
    /// Bytes of records drained.
    pub record_bytes: u64,
    /// Number of records drained.
    pub records: u64,
}

/// Counters of a king that was not asked for them.
pub fn king_not_asked() -> Reading<BTreeMap<String, u64>> {
    Reading::unknown("the king was not asked")
}

impl Meta {
    /// Whether a probe was attached.
    pub fn attached(&self, probe: &str) -> bool {
        self.probes
            .iter()
            .any(|status| status.name == probe && status.error.is_none())
    }
}

/// Both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC` when the window opened.
    pub start_ktime_ns: u64,
    /// `CLOCK_MONOTONIC` when it closed.
    pub end_ktime_ns: u64,
    /// `CLOCK_REALTIME` when it opened.
    pub start_unix_ns: u64,
}

impl Clocks {
    /// Length of the window.
    pub fn duration_ns(&self) -> u64 {
        self.end_ktime_ns.saturating_sub(self.start_ktime_ns)
    }
}

/// Why a capture ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its time was up.
    TimeIsUp,
    /// Ctrl-C, or SIGTERM.
    Interrupted,
    /// The ship's king ended.
    ShipExited,
    /// The records had reached their size limit.
    SizeLimit,
}

/// A probe, and whether it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// Name of its attach point.
    pub name: String,
    /// Why it could not be attached; nothing if it is.
    pub error: Option<String>,
    /// What the report lacks without it.
    pub missing_without: String,
}

/// What a program cost while the kernel kept count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramCost {
    /// Its name.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// How long, in all.
    pub run_time_ns: u64,
}

/// What the profiler's own process used during the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnUse {
    /// User and system time.
    pub cpu_ns: u64,
    /// Largest resident set so far.
    pub max_resident_bytes: u64,
}

/// A thread as procfs showed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadState {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name.
    pub comm: String,
    /// State letter of `/proc/PID/stat`.
    pub state: char,
    /// Syscall it is blocked in; `-1` outside of one, nothing if it runs or cannot be read.
    pub syscall_nr: Option<i32>,
}

/// What could not be kept, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Counted by the programs, by `profiler_common::loss`.
    pub kernel: Vec<u64>,
    /// Records that could not be decoded.
    pub malformed_records: u64,
}

impl Losses {
    /// One of the reasons of `profiler_common::loss`.
    pub fn of(&self, reason: u32) -> u64 {
        self.kernel.get(reason as usize).copied().unwrap_or(0)
    }

    /// Threads, waits and processes that no sum counts: what is said of the whole ship may be wrong.
    pub fn of_budgets(&self) -> u64 {
        let reasons = [loss::THREAD_SLOT, loss::WAIT_SLOT, loss::PROCESS_SLOT];
        reasons.iter().map(|&reason| self.of(reason)).sum()
    }

    /// Everything whose loss makes a statement of the report incomplete. Stacks that could not
    /// be read are not among them: the interval they belong to is there.
    pub fn total(&self) -> u64 {
        let kernel: u64 = (0..loss::REASONS)
            .filter(|&reason| reason != loss::USER_STACK)
            .map(|reason| self.of(reason))
            .sum();
        kernel + self.malformed_records
    }
}

/// Sums that the programs kept, each list in the order of its keys.
#[derive(Debug, Default)]
pub struct Totals {
    /// Threads by id.
    pub threads: Vec<(u32, Thread)>,
    /// Reasons for waiting.
    pub waits: Vec<(WaitKey, Waits)>,
    /// Block I/O.
    pub block: Vec<(BlockKey, BlockTotals)>,
    /// UDP sockets.
    pub udp: Vec<(UdpKey, UdpTotals)>,
    /// Snapshots by process.
    pub snapshots: Vec<(u32, SnapshotTotals)>,
    /// How long events took, by a ship's number; only while sampling, and in no capture file.
    pub turnaround: Vec<(u32, Turnaround)>,
    /// Datagrams by whom they are from and for; empty in a sampler's window.
    pub ames: AmesTotals,
    /// What neighbours did; empty in a sampler's window.
    pub neighbours: NeighbourTotals,
    /// The ship's I/O by file; empty in a sampler's window.
    pub writeback: WritebackTotals,
}

/// The ship's I/O by file, whoever sent it to the device.
#[derive(Debug, Default, Clone)]
pub struct WritebackTotals {
    /// The files that there is I/O of, by their keys' numbers.
    pub files: Vec<(FileKey, File)>,
    /// Their I/O by file, device and kind.
    pub io: Vec<(FileIoKey, FileIo)>,
}

/// Datagrams by whom they are from and for, and times around them.
#[derive(Debug, Default, Clone)]
pub struct AmesTotals {
    /// Datagrams, in the order of [`packet_order`].
    pub packets: Vec<(PacketKey, PacketTotals)>,
    /// Times, by `profiler_common::ames::TIME_…`; empty if none was measured.
    pub times: Vec<(u32, Times)>,
}

/// What datagrams are ordered by: the numbers of both ships, then all the rest.
pub fn packet_order(key: &PacketKey) -> impl Ord + use<> {
    let number = |[low, high]: [u64; 2]| u128::from(high) << 64 | u128::from(low);
    (
        (number(key.sender), number(key.receiver)),
        (key.kind, key.flags),
        (key.remote_address, key.remote_port),
    )
}

impl NeighbourTotals {
    /// Processes of the `most` largest sums of each kind.
    pub fn heaviest(&self, most: usize) -> BTreeSet<u32> {
        let mut ahead: BTreeMap<u32, u64> = BTreeMap::new();
        for (key, totals) in &self.ahead {
            let of = ahead.entry(key.tgid).or_default();
            *of = of.saturating_add(totals.total_ns);
        }
        let mut io: BTreeMap<u32, u64> = BTreeMap::new();
        for (key, totals) in &self.io {
            let of = io.entry(key.tgid).or_default();
            *of = of.saturating_add(totals.device_ns);
        }
        let heaviest = |sums: BTreeMap<u32, u64>| {
            let mut sums: Vec<(u32, u64)> = sums.into_iter().collect();
            sums.sort_by_key(|(tgid, ns)| (Reverse(*ns), *tgid));
            sums.into_iter().take(most).map(|(tgid, _)| tgid)
        };
        heaviest(ahead).chain(heaviest(io)).collect()
    }
}

/// Who else used the CPUs that the ship waited for, and the devices of its pier.
#[derive(Debug, Default, Clone)]
pub struct NeighbourTotals {
    /// What ran while threads of the ship waited for a CPU.
    pub ahead: Vec<(AheadKey, AheadTotals)>,
    /// Devices of the pier, by number.
    pub devices: Vec<(u32, DeviceTotals)>,
    /// Their I/O by process, the ship's included.
    pub io: Vec<(IoKey, IoTotals)>,
}
