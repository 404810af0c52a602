//! Loading the programs, attaching them, and reading what they summed up.
//!
//! A probe that this kernel does not have is left out and named, with what is therefore missing.
//! Everything is held by file descriptors of this process: when it ends, in any way, nothing
//! stays in the kernel.

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::{PerfEvent, Program, TracePoint};
use aya::util::online_cpus;
use aya::{Ebpf, EbpfLoader, Endianness, Pod, VerifierLogLevel};
use profiler_common::block::{BlockKey, BlockTotals};
use profiler_common::loss;
use profiler_common::memory::Functions;
use profiler_common::neighbour::DeviceTotals;
use profiler_common::offsets::Offsets;
use profiler_common::sampling::PendingStack;
use profiler_common::sched::{Thread, WaitKey, Waits};
use profiler_common::ship::{ShipProcess, Window, filter_slot};
use profiler_common::udp::{UdpKey, UdpTotals};
use thiserror::Error;

use super::btf::{Btf, BtfError};
use super::kallsyms;
use super::offsets::{self, MissingField};
use super::{sampling, writeback};
use crate::model::{NeighbourTotals, ProbeStatus, ProgramCost, Totals};

/// Where the kernel shows its BTF.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// The compiled programs, aligned as an ELF file must be.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("PROFILER_BPF_OBJECT"));

/// Why nothing could be attached.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// No BTF to read.
    #[error(
        "cannot read {BTF_PATH}: {0}; the kernel must be built with CONFIG_DEBUG_INFO_BTF \
         (every distribution's kernel since 2021 is)"
    )]
    NoBtf(#[source] std::io::Error),
    /// BTF that makes no sense.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The kernel is too old or too strange.
    #[error(transparent)]
    Field(#[from] MissingField),
    /// Not allowed.
    #[error("the kernel refused the eBPF programs ({0}); run as root: sudo profile …")]
    NotPermitted(String),
    /// The object or its maps could not be loaded.
    #[error("cannot load the eBPF programs: {0}")]
    Load(String),
    /// A program without which there is no budget.
    #[error("cannot attach {probe}: {reason}; without it no thread has a budget")]
    Required {
        /// Its name.
        probe: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// A map operation failed.
    #[error("cannot access the eBPF map {map}: {reason}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        reason: String,
    },
}

/// How the programs are to run.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// Whether single waits and block I/O are recorded; otherwise there are only their sums.
    pub recording: bool,
    /// Waits at least this long are recorded with stacks.
    pub threshold_ns: u64,
    /// Waits at least this long are recorded without.
    pub timeline_ns: u64,
    /// CPU samples per second and CPU; 0 for none.
    pub sample_hz: u64,
    /// Size of the ring buffer; a power of two.
    pub ring_bytes: u32,
    /// Diagnostics of the programs, off unless asked for: then they cost nothing, because the
    /// verifier removes them.
    pub log_level: log::LevelFilter,
}

/// A program that attaches to a tracepoint, and what is missing without it.
pub struct Tracepoint {
    /// Its name, which is the program's too.
    pub name: &'static str,
    /// Whether there is no report without it.
    pub required: bool,
    /// What is missing without it.
    pub without: &'static str,
    /// Whether only records tell what it tells: then it is left out where nothing is recorded.
    pub for_records: bool,
}

/// All of them.
pub const TRACEPOINTS: &[Tracepoint] = &[
    tracepoint("sched_switch", true, "thread budgets"),
    tracepoint("sched_wakeup", true, "thread budgets"),
    Tracepoint {
        for_records: true,
        ..tracepoint("sched_waking", false, "who woke a thread")
    },
    tracepoint(
        "sched_process_fork",
        false,
        "threads and processes started during the capture",
    ),
    tracepoint(
        "sched_process_exit",
        false,
        "threads that end during the capture",
    ),
    tracepoint(
        "mm_vmscan_direct_reclaim_begin",
        false,
        "time that threads had to free memory",
    ),
    tracepoint(
        "mm_vmscan_direct_reclaim_end",
        false,
        "time that threads had to free memory",
    ),
    tracepoint(
        "mm_vmscan_memcg_reclaim_begin",
        false,
        "time that threads had to free memory of their control group",
    ),
    tracepoint(
        "mm_vmscan_memcg_reclaim_end",
        false,
        "time that threads had to free memory of their control group",
    ),
    tracepoint(
        "mm_compaction_begin",
        false,
        "time that threads had to move pages",
    ),
    tracepoint(
        "mm_compaction_end",
        false,
        "time that threads had to move pages",
    ),
    tracepoint("signal_generate", false, "pages of the loom made dirty"),
    tracepoint("block_bio_queue", false, "block I/O"),
    tracepoint(
        "block_split",
        false,
        "block I/O larger than the device takes at once",
    ),
    tracepoint(
        "block_rq_issue",
        false,
        "time that block I/O waited in the queue",
    ),
    tracepoint("block_rq_complete", false, "block I/O"),
    tracepoint("block_bio_complete", false, "block I/O on stacked devices"),
    tracepoint(
        "sock_recv_length",
        false,
        "datagrams received (kernel 6.3 and later)",
    ),
    tracepoint(
        "sock_send_length",
        false,
        "datagrams sent (kernel 6.3 and later)",
    ),
    tracepoint(
        "udp_fail_queue_rcv_skb",
        false,
        "datagrams lost at a full receive buffer",
    ),
];

const fn tracepoint(name: &'static str, required: bool, without: &'static str) -> Tracepoint {
    Tracepoint {
        name,
        required,
        without,
        for_records: false,
    }
}

/// Entries of syscalls by which snapshots are found, and what is missing without one of them. musl
/// opens files with `open` where there is one.
const SNAPSHOT_ENTRIES: &[&str] = &[
    #[cfg(target_arch = "x86_64")]
    "sys_enter_open",
    "sys_enter_openat",
    "sys_enter_madvise",
];
const WITHOUT_SNAPSHOTS: &str = "when and how long the ship stood still for a snapshot";

/// Entries of syscalls by which the ship's events are told apart, while single waits are recorded.
const EVENT_ENTRIES: &[&str] = &[
    "sys_enter_sigaltstack",
    "sys_enter_writev",
    "sys_enter_fdatasync",
    "sys_enter_epoll_pwait",
];
const WITHOUT_EVENTS: &str = "how long the ship's events took, and where";

/// Name of the sampling program.
const CPU_CLOCK: &str = "cpu_clock";
/// Name of the program for major faults, and what is missing without it.
const PAGE_FAULT_MAJOR: (&str, &str) = (
    "page_fault_major",
    "which files and addresses major faults were for",
);

/// The attached programs.
pub struct Probes {
    ebpf: Ebpf,
    records: RingBuf<MapData>,
    statuses: Vec<ProbeStatus>,
}

impl Probes {
    /// Loads and attaches everything that this kernel has.
    ///
    /// # Errors
    /// If not even the scheduler can be watched.
    pub fn attach(options: &ProbeOptions) -> Result<Self, ProbeError> {
        let bytes = std::fs::read(BTF_PATH).map_err(ProbeError::NoBtf)?;
        let kernel = Btf::parse(bytes)?;
        let offsets = offsets::resolve(&kernel)?;
        let btf = aya::Btf::parse_file(BTF_PATH, Endianness::default())
            .map_err(|error| ProbeError::Load(error.to_string()))?;
        // Not known where addresses are hidden; then waits for swap count as waits for files.
        let functions = kallsyms::functions();
        let mut ebpf = load(options, &offsets, &functions, &btf)?;
        let records = ebpf
            .take_map("RECORDS")
            .ok_or_else(|| map_error("RECORDS", "missing"))?;
        let records = RingBuf::try_from(records).map_err(|e| map_error("RECORDS", e))?;
        let mut probes = Self {
            ebpf,
            records,
            statuses: Vec::new(),
        };
        // States are followed from the first switch seen; nothing is summed before the window.
        probes.set_window(u64::MAX, u64::MAX)?;
        let wanted = |tracepoint: &&Tracepoint| options.recording || !tracepoint.for_records;
        for tracepoint in TRACEPOINTS.iter().filter(wanted) {
            let result = probes.attach_tracepoint(tracepoint.name, &kernel, &btf);
            if let (Err(reason), true) = (&result, tracepoint.required) {
                return Err(ProbeError::Required {
                    probe: tracepoint.name,
                    reason: reason.clone(),
                });
            }
            probes.note(tracepoint.name, tracepoint.without, result.err());
        }
        for name in SNAPSHOT_ENTRIES {
            let result = probes.attach_syscall_entry(name);
            probes.note(name, WITHOUT_SNAPSHOTS, result.err());
        }
        if options.recording {
            let result = probes.attach_tracepoint(writeback::tracepoint(&kernel), &kernel, &btf);
            probes.note(
                writeback::tracepoint(&kernel),
                writeback::WITHOUT,
                result.err(),
            );
            for name in EVENT_ENTRIES {
                let result = probes.attach_syscall_entry(name);
                probes.note(name, WITHOUT_EVENTS, result.err());
            }
        }
        if !options.recording {
            probes.attach_empty(&btf);
        }
        if options.sample_hz > 0 {
            let sampling = probes.attach_cpu_clock(options.sample_hz);
            probes.note(
                CPU_CLOCK,
                "what runs on the CPU (no on-CPU flamegraph)",
                sampling.err(),
            );
        }
        Ok(probes)
    }

    fn note(&mut self, name: &str, without: &str, error: Option<String>) {
        self.statuses.push(ProbeStatus {
            name: name.to_owned(),
            error,
            missing_without: without.to_owned(),
        });
    }

    fn attach_tracepoint(
        &mut self,
        name: &'static str,
        kernel: &Btf,
        btf: &aya::Btf,
    ) -> Result<(), String> {
        if kernel.tracepoint(name).is_none() {
            return Err("this kernel has no such tracepoint".to_owned());
        }
        let Some(Program::BtfTracePoint(program)) = self.ebpf.program_mut(name) else {
            return Err("the object holds no such program".to_owned());
        };
        program.load(name, btf).map_err(|error| chain(&error))?;
        program.attach().map_err(|error| chain(&error))?;
        Ok(())
    }

    fn attach_syscall_entry(&mut self, name: &'static str) -> Result<(), String> {
        let Some(program) = self.ebpf.program_mut(name) else {
            return Err("the object holds no such program".to_owned());
        };
        let program: &mut TracePoint = program.try_into().map_err(|e| chain(&e))?;
        program.load().map_err(|error| chain(&error))?;
        program
            .attach("syscalls", name)
            .map_err(|error| chain(&error))?;
        Ok(())
    }

    fn attach_cpu_clock(&mut self, hz: u64) -> Result<(), String> {
        let Some(program) = self.ebpf.program_mut(CPU_CLOCK) else {
            return Err("the object holds no such program".to_owned());
        };
        let program: &mut PerfEvent = program.try_into().map_err(|e| chain(&e))?;
        program.load().map_err(|error| chain(&error))?;
        for cpu in online_cpus().map_err(|(path, error)| format!("{path}: {error}"))? {
            let config = PerfEventConfig::Software(SoftwareEvent::CpuClock);
            let scope = PerfEventScope::AllProcessesOneCpu { cpu };
            program
                .attach(config, scope, SamplePolicy::Frequency(hz), false)
                .map_err(|error| chain(&error))?;
        }
        Ok(())
    }

    /// Follows the major faults of threads, and of those that they create. Unlike the other programs
    /// this one is bound to them, so that nobody else's faults run it.
    pub fn watch_faults(&mut self, tids: &[u32]) {
        let result = self.attach_page_faults(tids);
        let (name, without) = PAGE_FAULT_MAJOR;
        self.note(name, without, result.err());
    }

    fn attach_page_faults(&mut self, tids: &[u32]) -> Result<(), String> {
        let Some(program) = self.ebpf.program_mut(PAGE_FAULT_MAJOR.0) else {
            return Err("the object holds no such program".to_owned());
        };
        let program: &mut PerfEvent = program.try_into().map_err(|e| chain(&e))?;
        program.load().map_err(|error| chain(&error))?;
        for &pid in tids {
            let config = PerfEventConfig::Software(SoftwareEvent::PageFaultsMaj);
            let scope = PerfEventScope::OneProcess { pid, cpu: None };
            match program.attach(config, scope, SamplePolicy::Period(1), true) {
                Ok(_) => {}
                // It has ended since it was listed.
                Err(error) if !std::path::Path::new(&format!("/proc/{pid}")).exists() => {
                    log::debug!("thread {pid} has ended: {error}");
                }
                Err(error) => return Err(chain(&error)),
            }
        }
        Ok(())
    }

    /// What attached and what did not.
    pub fn statuses(&self) -> &[ProbeStatus] {
        &self.statuses
    }

    /// The diagnostics of the programs, for `aya_log`.
    pub fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Watches a process. `ship` tells ships apart.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn watch_process(&mut self, tgid: u32, ship: u32, is_king: bool) -> Result<(), ProbeError> {
        let process = ShipProcess {
            ship,
            followed: 0,
            is_king: is_king.into(),
        };
        let mut processes: HashMap<_, u32, ShipProcess> = self.map_mut("SHIP_PROCESSES")?;
        processes
            .insert(tgid, process, 0)
            .map_err(|e| map_error("SHIP_PROCESSES", e))?;
        let mut filter: Array<_, u8> = self.map_mut("SHIP_FILTER")?;
        filter
            .set(filter_slot(tgid), 1, 0)
            .map_err(|e| map_error("SHIP_FILTER", e))
    }

    /// The processes that are watched: those named, and those that they forked.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn watched_processes(&self) -> Result<Vec<(u32, ShipProcess)>, ProbeError> {
        entries::<u32, ShipProcess>(&self.ebpf, "SHIP_PROCESSES")
    }

    /// Counts datagrams at a UDP socket.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn watch_socket(&mut self, netns: u32, port: u16) -> Result<(), ProbeError> {
        let mut sockets: HashMap<_, UdpKey, UdpTotals> = self.map_mut("UDP_SOCKETS")?;
        let key = UdpKey {
            netns,
            port: port.into(),
        };
        let zero: UdpTotals = zerocopy::FromZeros::new_zeroed();
        sockets
            .insert(key, zero, 0)
            .map_err(|e| map_error("UDP_SOCKETS", e))
    }

    /// Follows everybody's I/O on a device, to tell whose was ahead of the ship's. `takes_bios`: it has no
    /// requests.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn watch_device(
        &mut self,
        major: u32,
        minor: u32,
        takes_bios: bool,
    ) -> Result<(), ProbeError> {
        let mut devices: HashMap<_, u32, DeviceTotals> = self.map_mut("NEIGHBOUR_DEVICES")?;
        let device = DeviceTotals {
            takes_bios: takes_bios.into(),
            ..zerocopy::FromZeros::new_zeroed()
        };
        devices
            .insert(major << 20 | minor, device, 0)
            .map_err(|e| map_error("NEIGHBOUR_DEVICES", e))
    }

    /// Opens or closes the capture's window.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn set_window(&mut self, start_ktime_ns: u64, end_ktime_ns: u64) -> Result<(), ProbeError> {
        let mut window: Array<_, Window> = self.map_mut("SHIP_WINDOW")?;
        window
            .set(
                0,
                Window {
                    start_ktime_ns,
                    end_ktime_ns,
                },
                0,
            )
            .map_err(|e| map_error("SHIP_WINDOW", e))
    }

    /// Hands every record that waits in the ring buffer to `sink`.
    pub fn drain(&mut self, mut sink: impl FnMut(&[u8])) {
        while let Some(record) = self.records.next() {
            sink(&record);
        }
    }

    /// Forgets threads that have ended, so that their places are free for others.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn forget(&mut self, totals: &Totals, tids: &[u32]) -> Result<(), ProbeError> {
        let mut threads: HashMap<_, u32, Thread> = self.map_mut("SCHED_THREADS")?;
        for tid in tids {
            removed(threads.remove(tid), "SCHED_THREADS")?;
        }
        let mut pending: HashMap<_, u32, PendingStack> = self.map_mut("STACK_PENDING")?;
        for tid in tids {
            removed(pending.remove(tid), "STACK_PENDING")?;
        }
        let mut waits: HashMap<_, WaitKey, Waits> = self.map_mut("SCHED_WAITS")?;
        for (key, _) in totals
            .waits
            .iter()
            .filter(|(key, _)| tids.contains(&key.tid))
        {
            removed(waits.remove(key), "SCHED_WAITS")?;
        }
        let mut block: HashMap<_, BlockKey, BlockTotals> = self.map_mut("BLOCK_TOTALS")?;
        for (key, _) in totals
            .block
            .iter()
            .filter(|(key, _)| tids.contains(&key.tid))
        {
            removed(block.remove(key), "BLOCK_TOTALS")?;
        }
        Ok(())
    }

    /// Enters threads before their process is watched; one that is there already stays as it is.
    ///
    /// # Errors
    /// If the kernel refuses the map update for another reason than that the map is full, which is
    /// counted as lost when the thread is seen.
    pub fn enter_threads(&mut self, entries: &[(u32, Thread)]) -> Result<(), ProbeError> {
        /// `BPF_NOEXIST` (`include/uapi/linux/bpf.h`).
        const NOEXIST: u64 = 1;
        let mut threads: HashMap<_, u32, Thread> = self.map_mut("SCHED_THREADS")?;
        for (tid, thread) in entries {
            match threads.insert(tid, thread, NOEXIST) {
                Ok(()) => {}
                Err(aya::maps::MapError::SyscallError(error))
                    if matches!(
                        error.io_error.raw_os_error(),
                        Some(libc::EEXIST | libc::E2BIG)
                    ) => {}
                Err(error) => return Err(map_error("SCHED_THREADS", error)),
            }
        }
        Ok(())
    }

    /// Stops watching a process.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn unwatch_process(&mut self, tgid: u32) -> Result<(), ProbeError> {
        let mut processes: HashMap<_, u32, ShipProcess> = self.map_mut("SHIP_PROCESSES")?;
        removed(processes.remove(&tgid), "SHIP_PROCESSES")
    }

    /// Reads all sums. The window must be closed, so that they stand still.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub fn totals(&self) -> Result<Totals, ProbeError> {
        let mut totals = Totals {
            threads: entries(&self.ebpf, "SCHED_THREADS")?,
            waits: entries(&self.ebpf, "SCHED_WAITS")?,
            block: entries(&self.ebpf, "BLOCK_TOTALS")?,
            udp: entries(&self.ebpf, "UDP_SOCKETS")?,
            snapshots: entries(&self.ebpf, "SNAPSHOTS")?,
            neighbours: NeighbourTotals {
                ahead: entries(&self.ebpf, "NEIGHBOUR_AHEAD")?,
                devices: entries(&self.ebpf, "NEIGHBOUR_DEVICES")?,
                io: entries(&self.ebpf, "NEIGHBOUR_IO")?,
            },
            writeback: writeback::totals(&self.ebpf)?,
        };
        // The kernel's order is that of its hash; ours must not depend on it.
        totals.threads.sort_by_key(|(tid, _)| *tid);
        totals
            .waits
            .sort_by_key(|(key, _)| (key.tid, key.syscall_nr, key.task_state));
        totals
            .block
            .sort_by_key(|(key, _)| (key.tgid, key.tid, key.dev, key.op));
        totals.udp.sort_by_key(|(key, _)| (key.netns, key.port));
        totals.snapshots.sort_by_key(|(tgid, _)| *tgid);
        let neighbours = &mut totals.neighbours;
        neighbours
            .ahead
            .sort_by_key(|(key, _)| (key.waiter_tgid, key.tgid));
        neighbours.devices.sort_by_key(|(dev, _)| *dev);
        neighbours
            .io
            .sort_by_key(|(key, _)| (key.dev, key.tgid, key.via));
        Ok(totals)
    }

    /// Losses, by `profiler_common::loss`.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn losses(&self) -> Result<Vec<u64>, ProbeError> {
        let map = self
            .ebpf
            .map("LOSSES")
            .ok_or_else(|| map_error("LOSSES", "missing"))?;
        let losses: PerCpuArray<_, u64> =
            PerCpuArray::try_from(map).map_err(|e| map_error("LOSSES", e))?;
        (0..loss::REASONS)
            .map(|reason| {
                let per_cpu = losses.get(&reason, 0).map_err(|e| map_error("LOSSES", e))?;
                Ok(per_cpu.iter().sum())
            })
            .collect()
    }

    /// How often each program ran, and how long in all, while the kernel kept count.
    pub fn costs(&self) -> Vec<ProgramCost> {
        let mut costs: Vec<ProgramCost> = self
            .ebpf
            .programs()
            .filter_map(|(name, program)| {
                let info = program.info().ok()?;
                Some(ProgramCost {
                    program: name.to_owned(),
                    runs: info.run_count(),
                    run_time_ns: u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX),
                })
            })
            .collect();
        costs.sort_by(|a, b| a.program.cmp(&b.program));
        costs
    }

    pub(super) fn program_mut(&mut self, name: &str) -> Option<&mut Program> {
        self.ebpf.program_mut(name)
    }

    pub(super) fn map_mut<'a, M>(&'a mut self, name: &'static str) -> Result<M, ProbeError>
    where
        M: TryFrom<&'a mut Map, Error = MapError>,
    {
        let map = self
            .ebpf
            .map_mut(name)
            .ok_or_else(|| map_error(name, "missing"))?;
        M::try_from(map).map_err(|e| map_error(name, e))
    }
}

fn load(
    options: &ProbeOptions,
    offsets: &Offsets,
    functions: &Functions,
    btf: &aya::Btf,
) -> Result<Ebpf, ProbeError> {
    let log_level = options.log_level as u8;
    let recording = u32::from(options.recording);
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(btf))
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .override_global("OFFSETS", offsets, true)
        .override_global("FUNCTIONS", functions, true)
        .override_global("THRESHOLD_NS", &options.threshold_ns, true)
        .override_global("TIMELINE_NS", &options.timeline_ns, true)
        .override_global("RECORDING", &recording, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries("RECORDS", options.ring_bytes);
    if options.recording {
        let (map, entries) = sampling::UNUSED;
        loader.map_max_entries(map, entries);
    }
    loader.load(OBJECT).map_err(|error| {
        let reason = chain(&error);
        let os_error =
            std::error::Error::source(&error).and_then(|e| e.downcast_ref::<std::io::Error>());
        let refused = os_error.is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
        if refused || reason.contains("Operation not permitted") {
            ProbeError::NotPermitted(reason)
        } else {
            ProbeError::Load(reason)
        }
    })
}

pub(super) fn entries<K: Pod, V: Pod>(
    ebpf: &Ebpf,
    name: &'static str,
) -> Result<Vec<(K, V)>, ProbeError> {
    let map = ebpf.map(name).ok_or_else(|| map_error(name, "missing"))?;
    let map: HashMap<_, K, V> = HashMap::try_from(map).map_err(|e| map_error(name, e))?;
    map.iter()
        .map(|entry| entry.map_err(|e| map_error(name, e)))
        .collect()
}

/// The outcome of a removal; what was not there is gone as well.
pub(super) fn removed(result: Result<(), MapError>, map: &'static str) -> Result<(), ProbeError> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        Err(error) => Err(map_error(map, error)),
    }
}

pub(super) fn map_error(map: &'static str, reason: impl ToString) -> ProbeError {
    ProbeError::Map {
        map,
        reason: reason.to_string(),
    }
}

/// An error with all its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.lines().take(3).collect::<Vec<_>>().join("; ")
}
