//! The kernel and the machine as a whole: version, memory, load, pressure and settings.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use procfs_core::{ExplicitSystemInfo, FromReadSI, KernelStats, LoadAverage, Meminfo, VmStat};
use serde::{Deserialize, Serialize};

use super::{ReadError, Reading, Roots, read_parsed, read_text};

/// Settings that a check, a fix or a doubt depends on. They are kept as the text the kernel gives.
pub const SYSCTLS: [&str; 25] = [
    "fs.file-max",
    "kernel.bpf_stats_enabled",
    "kernel.kptr_restrict",
    "kernel.perf_event_max_stack",
    "kernel.perf_event_paranoid",
    "kernel.sched_autogroup_enabled",
    "kernel.sched_schedstats",
    "kernel.task_delayacct",
    "kernel.unprivileged_bpf_disabled",
    "net.core.bpf_jit_enable",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "vm.dirty_background_bytes",
    "vm.dirty_background_ratio",
    "vm.dirty_bytes",
    "vm.dirty_ratio",
    "vm.max_map_count",
    "vm.overcommit_memory",
    "vm.swappiness",
    "vm.watermark_scale_factor",
    "vm.zone_reclaim_mode",
];

/// A kernel release as two numbers, which is all that features go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KernelVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
}

impl KernelVersion {
    /// A version, for comparison.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads the start of a release such as `6.1.0-18-amd64`.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a capture keeps of kernel and machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// `uname -r`.
    pub release: Reading<String>,
    /// CPUs that are online.
    pub online_cpus: Reading<u32>,
    /// Name of the first CPU.
    pub cpu_model: Reading<String>,
    /// Clock ticks per second, the unit of start times in `/proc/PID/stat`.
    pub clock_ticks_hz: u64,
    /// Size of a page.
    pub page_bytes: u64,
    /// Runnable and uninterruptible threads, averaged over one, five and fifteen minutes.
    pub load_average: Reading<[f32; 3]>,
    /// Memory and swap.
    pub memory: Reading<MemoryFacts>,
    /// Stall shares by resource (`cpu`, `io`, `memory`).
    pub pressure: BTreeMap<String, Reading<PressureFacts>>,
    /// [`SYSCTLS`], by dotted name.
    pub sysctls: BTreeMap<String, Reading<String>>,
    /// Transparent huge pages: the chosen word of `enabled`.
    pub transparent_huge_pages: Reading<String>,
    /// Block devices that are swapped to (`major << 20 | minor`); unknown where one swaps to a file.
    #[serde(default = "swap_devices_unread")]
    pub swap_devices: Reading<Vec<u32>>,
}

/// Memory and swap of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryFacts {
    /// All of it.
    pub total_bytes: u64,
    /// What can be had without swapping.
    pub available_bytes: Option<u64>,
    /// Page cache.
    pub cached_bytes: u64,
    /// Page cache that waits to be written.
    pub dirty_bytes: u64,
    /// Swap space.
    pub swap_total_bytes: u64,
    /// Swap space that is free.
    pub swap_free_bytes: u64,
}

/// One file of `/proc/pressure`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PressureFacts {
    /// Percentage of the last 10 s in which at least one task stalled.
    pub some_avg10_percent: f32,
    /// Stall time of at least one task since boot.
    pub some_total_us: u64,
    /// Stall time of all tasks at once since boot; for CPU only from Linux 5.13 on.
    pub full_total_us: Option<u64>,
}

/// Reads what a capture keeps of kernel and machine.
pub fn kernel_facts(roots: &Roots) -> KernelFacts {
    let pressure = ["cpu", "io", "memory"]
        .map(|resource| (resource.to_owned(), pressure(roots, resource).into()));
    KernelFacts {
        release: release(roots).into(),
        online_cpus: online_cpus(roots).into(),
        cpu_model: cpu_model(roots),
        clock_ticks_hz: rustix::param::clock_ticks_per_second(),
        page_bytes: rustix::param::page_size() as u64,
        load_average: read_parsed::<LoadAverage>(&roots.proc.join("loadavg"))
            .map(|load| [load.one, load.five, load.fifteen])
            .into(),
        memory: memory(roots).into(),
        pressure: pressure.into(),
        sysctls: SYSCTLS
            .map(|name| (name.to_owned(), sysctl(roots, name).into()))
            .into(),
        transparent_huge_pages: chosen_word(
            &roots.sys.join("kernel/mm/transparent_hugepage/enabled"),
        )
        .into(),
        swap_devices: swap_devices(roots).into(),
    }
}

/// For captures of profilers that did not read it.
fn swap_devices_unread() -> Reading<Vec<u32>> {
    Reading::unknown("the capture does not hold it")
}

/// Reads `/proc/swaps`: a line of headings, then one line for each area, its name first.
fn swap_devices(roots: &Roots) -> Result<Vec<u32>, ReadError> {
    let path = roots.proc.join("swaps");
    let text = read_text(&path)?;
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, kind) = (words.next()?, words.next()?);
        let name = name.strip_prefix("/dev/").filter(|_| kind == "partition")?;
        let number = read_text(&roots.sys.join("class/block").join(name).join("dev")).ok()?;
        let (major, minor) = number.trim().split_once(':')?;
        Some(major.parse::<u32>().ok()? << 20 | minor.parse::<u32>().ok()?)
    };
    text.lines()
        .skip(1)
        .map(|line| device(line).ok_or_else(|| ReadError::malformed(&path, line)))
        .collect()
}

/// The kernel's release, `uname -r`.
pub fn release(roots: &Roots) -> Result<String, ReadError> {
    sysctl(roots, "kernel.osrelease")
}

/// A kernel setting as text, without the line's end.
pub fn sysctl(roots: &Roots, name: &str) -> Result<String, ReadError> {
    Ok(read_text(&roots.sysctl_path(name))?.trim().to_owned())
}

/// The word in brackets of a file such as `[mq-deadline] none`.
pub fn chosen_word(path: &Path) -> Result<String, ReadError> {
    let text = read_text(path)?;
    let chosen = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or_else(|| text.trim(), |(word, _)| word);
    Ok(chosen.to_owned())
}

/// Number of CPUs in a list such as `0-3,8`.
fn online_cpus(roots: &Roots) -> Result<u32, ReadError> {
    let path = roots.sys.join("devices/system/cpu/online");
    let text = read_text(&path)?;
    count_cpus(text.trim()).ok_or_else(|| ReadError::malformed(&path, text.trim()))
}

/// Number of CPUs in a list such as `0-3,8`; `None` when it is no such list.
pub fn count_cpus(list: &str) -> Option<u32> {
    list.split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            Some(last.checked_sub(first)? + 1)
        })
        .sum()
}

fn cpu_model(roots: &Roots) -> Reading<String> {
    match read_text(&roots.proc.join("cpuinfo")) {
        // aarch64 gives numbers only, and no name.
        Ok(text) => text
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(
                || Reading::unknown("/proc/cpuinfo names no model"),
                |(_, model)| Reading::Known(model.trim().to_owned()),
            ),
        Err(error) => Reading::unknown(error.to_string()),
    }
}

fn memory(roots: &Roots) -> Result<MemoryFacts, ReadError> {
    let info: Meminfo = read_parsed(&roots.proc.join("meminfo"))?;
    Ok(MemoryFacts {
        total_bytes: info.mem_total,
        available_bytes: info.mem_available,
        cached_bytes: info.cached,
        dirty_bytes: info.dirty,
        swap_total_bytes: info.swap_total,
        swap_free_bytes: info.swap_free,
    })
}

/// Stall times for one resource (`cpu`, `io`, `memory`).
pub fn pressure(roots: &Roots, resource: &str) -> Result<PressureFacts, ReadError> {
    let path = roots.proc.join("pressure").join(resource);
    parse_pressure(&path, &read_text(&path)?)
}

fn parse_pressure(path: &Path, text: &str) -> Result<PressureFacts, ReadError> {
    // procfs-core's parsers of whole files want a `full` line, which CPU pressure has only since
    // Linux 5.13; its parser of one line is what is needed.
    let line = |kind: &str| {
        text.lines()
            .find(|line| line.starts_with(kind))
            .map(procfs_core::parse_pressure_record)
            .transpose()
            .map_err(|error| ReadError::parse(path, error))
    };
    let some = line("some ")?.ok_or_else(|| ReadError::malformed(path, "no line `some`"))?;
    Ok(PressureFacts {
        some_avg10_percent: some.avg10,
        some_total_us: some.total,
        full_total_us: line("full ")?.map(|full| full.total),
    })
}

/// Scheduler counters of the whole machine since boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerCounters {
    /// Context switches.
    pub context_switches_total: u64,
    /// Time that the hypervisor gave to others while this machine wanted to run, by CPU.
    /// Its grain is a clock tick.
    pub steal_ns_by_cpu: Vec<u64>,
    /// Time that all CPUs together spent in the idle loop with I/O outstanding.
    pub iowait_ns: u64,
    /// Time that all CPUs together were idle, I/O or not.
    pub idle_ns: u64,
}

/// Reads `/proc/stat`.
pub fn scheduler_counters(roots: &Roots) -> Result<SchedulerCounters, ReadError> {
    let ticks_hz = rustix::param::clock_ticks_per_second();
    let system = ExplicitSystemInfo {
        boot_time_secs: 0,
        ticks_per_second: ticks_hz,
        page_size: rustix::param::page_size() as u64,
        is_little_endian: cfg!(target_endian = "little"),
    };
    let path = roots.proc.join("stat");
    let text = read_text(&path)?;
    let stats = KernelStats::from_read(text.as_bytes(), &system)
        .map_err(|error| ReadError::parse(&path, error))?;
    let ns = |ticks: u64| ticks.saturating_mul(1_000_000_000 / ticks_hz);
    let iowait = stats.total.iowait.unwrap_or(0);
    Ok(SchedulerCounters {
        context_switches_total: stats.ctxt,
        steal_ns_by_cpu: stats
            .cpu_time
            .iter()
            .map(|cpu| ns(cpu.steal.unwrap_or(0)))
            .collect(),
        iowait_ns: ns(iowait),
        idle_ns: ns(stats.total.idle + iowait),
    })
}

/// Memory-management events of the whole machine since boot, in pages or times. `None`: this
/// kernel does not count it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCounters {
    /// Faults that had to wait for I/O.
    pub major_faults_total: Option<u64>,
    /// Pages read from swap.
    pub swapped_in_pages: Option<u64>,
    /// Pages written to swap.
    pub swapped_out_pages: Option<u64>,
    /// Anonymous pages read back soon after they had been evicted.
    pub refaulted_anonymous_pages: Option<u64>,
    /// File pages read back soon after they had been evicted.
    pub refaulted_file_pages: Option<u64>,
    /// Pages that allocating tasks themselves looked at to free memory.
    pub direct_reclaim_scanned_pages: Option<u64>,
    /// Times that an allocation waited for compaction.
    pub compaction_stalls_total: Option<u64>,
    /// Kills for want of memory.
    pub oom_kills_total: Option<u64>,
}

/// Reads `/proc/vmstat`.
pub fn memory_counters(roots: &Roots) -> Result<MemoryCounters, ReadError> {
    let VmStat(counts) = read_parsed(&roots.proc.join("vmstat"))?;
    let count = |name: &str| {
        counts
            .get(name)
            .and_then(|&count| u64::try_from(count).ok())
    };
    Ok(MemoryCounters {
        major_faults_total: count("pgmajfault"),
        swapped_in_pages: count("pswpin"),
        swapped_out_pages: count("pswpout"),
        refaulted_anonymous_pages: count("workingset_refault_anon"),
        // Up to Linux 5.8 there was one count for both, which then counted file pages only
        // (kernel commit 170b04b7ae49).
        refaulted_file_pages: count("workingset_refault_file")
            .or_else(|| count("workingset_refault")),
        direct_reclaim_scanned_pages: count("pgscan_direct"),
        compaction_stalls_total: count("compact_stall"),
        oom_kills_total: count("oom_kill"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_by_their_first_two_numbers() {
        let parse = |release| KernelVersion::parse(release);
        assert_eq!(parse("6.1.0-18-amd64"), Some(KernelVersion::new(6, 1)));
        assert_eq!(parse("5.10"), Some(KernelVersion::new(5, 10)));
        assert_eq!(parse("6.18-rc1+"), Some(KernelVersion::new(6, 18)));
        assert_eq!(parse("x"), None);
        assert!(KernelVersion::new(5, 10) > KernelVersion::new(5, 9));
    }

    #[test]
    fn cpu_pressure_of_old_kernels_has_no_full_line() {
        let some = "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\n";
        let old = parse_pressure(Path::new("cpu"), some).unwrap();
        assert_eq!((old.some_total_us, old.full_total_us), (77, None));
        let full = format!("{some}full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n");
        let new = parse_pressure(Path::new("io"), &full).unwrap();
        assert_eq!(new.full_total_us, Some(5));
        assert!(parse_pressure(Path::new("io"), "").is_err());
    }

    #[test]
    fn swap_in_a_file_makes_its_devices_unknown() {
        let folder = tempfile::TempDir::new().unwrap();
        let roots = Roots::under(folder.path());
        let sys = folder.path().join("sys/class/block/zram0");
        std::fs::create_dir_all(&sys).unwrap();
        std::fs::write(sys.join("dev"), "253:1\n").unwrap();
        std::fs::create_dir(folder.path().join("proc")).unwrap();
        let swaps = folder.path().join("proc/swaps");
        let head = "Filename Type Size Used Priority\n";
        std::fs::write(&swaps, head).unwrap();
        assert_eq!(swap_devices(&roots).unwrap(), [0; 0]);
        let device = format!("{head}/dev/zram0 partition 524284 0 5\n");
        std::fs::write(&swaps, &device).unwrap();
        assert_eq!(swap_devices(&roots).unwrap(), [253 << 20 | 1]);
        std::fs::write(&swaps, format!("{device}/swapfile file 9 0 -2\n")).unwrap();
        assert!(swap_devices(&roots).is_err());
    }

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(count_cpus("0-3,8"), Some(5));
        assert_eq!(count_cpus("0"), Some(1));
        assert_eq!(count_cpus(""), None);
        assert_eq!(count_cpus("3-1"), None);
    }
}
