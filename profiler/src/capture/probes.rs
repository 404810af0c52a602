//! Loading the programs, attaching them, and emptying their ring buffer.
//!
//! A probe that this kernel does not have is left out and named, with what is therefore missing.
//! Everything is held by file descriptors of this process: when it ends, in any way, nothing
//! stays in the kernel.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::{MapData, ProgramArray, RingBuf};
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent};
use aya::programs::{FEntry, PerfEvent, Program};
use aya::util::online_cpus;
use aya::{Ebpf, EbpfLoader, Endianness, VerifierLogLevel};
use profiler_common::arch::SYSCALL_PREFIX;
use profiler_common::loss;
use profiler_common::memory::Functions;
use profiler_common::offsets::Offsets;
use thiserror::Error;

use super::ames;
use super::btf::{Btf, BtfError};
use super::maps::map_error;
use super::misses::Misses;
use super::offsets::{self, MissingField};
use super::points::{
    CPU_CLOCK, CPU_CLOCK_HOON, ENTRIES, Entry, PAGE_FAULT_MAJOR, SOCK_SEND_LENGTH, SYS_ENTER,
    TRACEPOINTS, Tracepoint,
};
use super::{kallsyms, sampling, writeback};
use crate::model::{ProbeStatus, ProgramCost};

/// Where the kernel shows its BTF.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// The map of the stacks that threads are blocked with, and how many it holds where none is recorded.
const WAIT_STACKS_UNUSED: (&str, u32) = ("SCHED_STACKS", 1);

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
    /// Whether C stacks are taken; not where it is known that the ship's vere keeps no frame pointers.
    pub user_stacks: bool,
    /// Size of the ring buffer; a power of two.
    pub ring_bytes: u32,
    /// Diagnostics of the programs, off unless asked for: then they cost nothing, because the
    /// verifier removes them.
    pub log_level: log::LevelFilter,
}

/// The attached programs.
pub struct Probes {
    pub(super) ebpf: Ebpf,
    records: RingBuf<MapData>,
    statuses: Vec<ProbeStatus>,
    /// What programs missed, with the reason that it is counted under.
    pub(super) misses: Vec<(u32, Misses)>,
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
            misses: Vec::new(),
        };
        // States are followed from the first switch seen; nothing is summed before the window.
        probes.set_window(u64::MAX, u64::MAX)?;
        let wanted = |tracepoint: &&Tracepoint| options.recording || !tracepoint.for_records;
        for tracepoint in TRACEPOINTS.iter().filter(wanted) {
            if tracepoint.name == SYS_ENTER {
                probes.attach_entries(options.recording, tracepoint.without, &kernel, &btf);
                continue;
            }
            let result = probes.attach_tracepoint(tracepoint.name, &kernel, &btf);
            if let (Err(reason), true) = (&result, tracepoint.required) {
                return Err(ProbeError::Required {
                    probe: tracepoint.name,
                    reason: reason.clone(),
                });
            }
            probes.note(tracepoint.name, tracepoint.without, result.err());
        }
        if options.recording {
            let result = probes.attach_tracepoint(writeback::tracepoint(&kernel), &kernel, &btf);
            probes.note(
                writeback::tracepoint(&kernel),
                writeback::WITHOUT,
                result.err(),
            );
        }
        if !options.recording {
            probes.attach_empty(&btf);
            // Where sockets do not tell what is sent, system calls must, at everybody's cost.
            if kernel.tracepoint(SOCK_SEND_LENGTH).is_none() {
                let without = "how long the ship's events take";
                probes.attach_entries(options.recording, without, &kernel, &btf);
            }
        }
        if !options.user_stacks {
            probes.note(
                "frame pointers",
                "C stacks",
                Some("releases of vere up to 3.1 are built without them".to_owned()),
            );
        }
        if options.sample_hz > 0 {
            let sampling = probes.attach_cpu_clock(options.sample_hz);
            probes.note(
                CPU_CLOCK,
                "what runs on the CPU (no on-CPU flamegraph)",
                sampling.err(),
            );
            if options.recording {
                let walking = probes.add_hoon_walk();
                probes.note(CPU_CLOCK_HOON, "Hoon stacks", walking.err());
            }
        }
        probes.open_misses();
        Ok(probes)
    }

    /// Lets the entries of the system calls be seen that bound an event: each by a program of its own,
    /// which costs other calls nothing; where the kernel refuses one of these, all by one.
    fn attach_entries(&mut self, recording: bool, without: &str, kernel: &Btf, btf: &aya::Btf) {
        let wanted = |entry: &&Entry| recording || !entry.for_records;
        let wanted = || ENTRIES.iter().filter(wanted);
        let refused = wanted().find_map(|entry| {
            let reason = self.attach_entry(entry, btf).err()?;
            Some((entry, reason))
        });
        let Some((entry, reason)) = refused else {
            for entry in wanted() {
                self.note(entry.name, without, None);
            }
            return;
        };
        log::debug!("{}: {reason}; {SYS_ENTER} is used", entry.name);
        // Of entries that were attached before: their descriptors will be others'.
        self.misses.clear();
        for entry in wanted() {
            if let Some(Program::FEntry(program)) = self.ebpf.program_mut(entry.name) {
                // Not loaded: then there is nothing to do.
                let _ = program.unload();
            }
        }
        let result = self.attach_tracepoint(SYS_ENTER, kernel, btf);
        self.note(SYS_ENTER, without, result.err());
    }

    fn attach_entry(&mut self, entry: &Entry, btf: &aya::Btf) -> Result<(), String> {
        let Some(program) = self.ebpf.program_mut(entry.name) else {
            return Err("the object holds no such program".to_owned());
        };
        let program: &mut FEntry = program.try_into().map_err(|e| chain(&e))?;
        let function = format!("{SYSCALL_PREFIX}{}", entry.call);
        program
            .load(&function, btf)
            .map_err(|error| chain(&error))?;
        // A kernel that does not count them lets a program be run within itself.
        let fd = program.fd().map_err(|error| chain(&error))?;
        let misses = Misses::open(fd.as_fd().as_raw_fd())
            .ok_or("this kernel does not count what a preempted program misses")?;
        program.attach().map_err(|error| chain(&error))?;
        self.misses.push((loss::ENTRY_MISSED, misses));
        Ok(())
    }

    /// Opens the counters of what every other program misses.
    fn open_misses(&mut self) {
        let is_entry = |name: &str| ENTRIES.iter().any(|entry| entry.name == name);
        let others = self.ebpf.programs().filter(|(name, _)| !is_entry(name));
        let counters = others.filter_map(|(_, program)| {
            // Not loaded: it misses nothing.
            let fd = program.fd().ok()?;
            Misses::open(fd.as_fd().as_raw_fd())
        });
        let counters = counters.map(|counter| (loss::RUN_MISSED, counter));
        self.misses.extend(counters.collect::<Vec<_>>());
    }

    pub(super) fn note(&mut self, name: &str, without: &str, error: Option<String>) {
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

    /// Gives `cpu_clock` the program that goes on where it ends.
    fn add_hoon_walk(&mut self) -> Result<(), String> {
        let Some(program) = self.ebpf.program_mut(CPU_CLOCK_HOON) else {
            return Err("the object holds no such program".to_owned());
        };
        let program: &mut PerfEvent = program.try_into().map_err(|e| chain(&e))?;
        program.load().map_err(|error| chain(&error))?;
        let fd = program.fd().and_then(|fd| Ok(fd.try_clone()?));
        let fd = fd.map_err(|error| chain(&error))?;
        let map = self.ebpf.map_mut("HOON_PROGRAM");
        let map = map.ok_or("the object holds no such map")?;
        let mut programs = ProgramArray::try_from(map).map_err(|error| chain(&error))?;
        programs.set(0, &fd, 0).map_err(|error| chain(&error))
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

    /// Hands every record that waits in the ring buffer to `sink`.
    pub fn drain(&mut self, mut sink: impl FnMut(&[u8])) {
        while let Some(record) = self.records.next() {
            sink(&record);
        }
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
}

fn load(
    options: &ProbeOptions,
    offsets: &Offsets,
    functions: &Functions,
    btf: &aya::Btf,
) -> Result<Ebpf, ProbeError> {
    let log_level = options.log_level as u8;
    let recording = u32::from(options.recording);
    let user_stacks = u32::from(options.user_stacks);
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(btf))
        // Nothing where the verifier takes a program; where it does not, its reason.
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global("OFFSETS", offsets, true)
        .override_global("FUNCTIONS", functions, true)
        .override_global("THRESHOLD_NS", &options.threshold_ns, true)
        .override_global("TIMELINE_NS", &options.timeline_ns, true)
        .override_global("RECORDING", &recording, true)
        .override_global("USER_STACKS", &user_stacks, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries("RECORDS", options.ring_bytes);
    if options.recording {
        let (map, entries) = sampling::UNUSED;
        loader.map_max_entries(map, entries);
    } else {
        for (map, entries) in ames::UNUSED.into_iter().chain([WAIT_STACKS_UNUSED]) {
            loader.map_max_entries(map, entries);
        }
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

/// An error with all its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
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
