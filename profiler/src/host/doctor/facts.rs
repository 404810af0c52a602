//! What the checks are made of, read from the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::host::filesystem::{SpaceFacts, own_mounts, space};
use crate::host::kernel::{chosen_word, release, sysctl};
use crate::host::process::Process;
use crate::host::{ReadError, Reading, Roots, entry_names, read_text};

/// A tracepoint that the profiler attaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededTracepoint {
    /// Its name in the kernel.
    pub name: String,
    /// Whether nothing works without it.
    pub required: bool,
    /// What the report lacks without it.
    pub without: String,
}

/// Whether the Nock process' memory can be read and understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemoryAccess {
    /// Its layout is known; what was read, in a few words.
    Known(String),
    /// It can be read, and the layout is not known; what was found instead.
    UnknownLayout(String),
    /// It cannot be read; why.
    Unreadable(String),
}

/// Whether a ship was found and can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShipAccess {
    /// A ship was found.
    Found {
        /// Its name or pier.
        label: String,
        /// What its memory answered.
        memory: MemoryAccess,
        /// Its executable, or why it could not be opened.
        executable: Reading<PathBuf>,
    },
    /// None was, or more than one.
    NotFound {
        /// The sentence of the error.
        sentence: String,
    },
}

/// Everything that the checks judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorFacts {
    /// Effective capabilities of this process, as a bit set.
    pub capabilities: Reading<u64>,
    /// Seccomp mode of this process: 0 off, 1 strict, 2 filter.
    pub seccomp_mode: Reading<u32>,
    /// Inode of this process' PID namespace.
    pub pid_namespace_inode: Reading<u64>,
    /// Inode of this process' user namespace.
    pub user_namespace_inode: Reading<u64>,
    /// Kernel release.
    pub release: Reading<String>,
    /// Identifiers of `/etc/os-release`: `ID` and `ID_LIKE`, in lower case.
    pub distribution: Vec<String>,
    /// Tracepoints that the kernel's BTF describes.
    pub btf_tracepoints: Reading<BTreeSet<String>>,
    /// Groups of events in tracefs (`sched`, `syscalls` …).
    pub tracefs_groups: Reading<BTreeSet<String>>,
    /// Lockdown mode in force; `None` where the kernel has no lockdown.
    pub lockdown: Reading<Option<String>>,
    /// Settings by dotted name.
    pub sysctls: BTreeMap<String, Reading<String>>,
    /// Whether `/proc/kallsyms` shows addresses to this process.
    pub kernel_addresses_shown: Reading<bool>,
    /// `/proc/self/schedstat`.
    pub schedstat: Reading<String>,
    /// `/proc/pressure/cpu`.
    pub pressure: Reading<String>,
    /// cgroup controllers that are mounted somewhere.
    pub controllers: Reading<BTreeSet<String>>,
    /// The directory that results go to.
    pub output_directory: PathBuf,
    /// Room there.
    pub output_space: Reading<SpaceFacts>,
    /// Room that a capture may need.
    pub output_needed_bytes: u64,
    /// The tracepoints that the profiler attaches to.
    pub needed_tracepoints: Vec<NeededTracepoint>,
    /// The ship.
    pub ship: ShipAccess,
}

/// Settings that a check looks at.
const SYSCTLS: [&str; 4] = [
    "kernel.kptr_restrict",
    "kernel.perf_event_max_stack",
    "kernel.task_delayacct",
    "net.core.bpf_jit_enable",
];

/// Reads everything that the checks judge. `output_needed_bytes` is the size limit of a capture.
pub fn gather(
    roots: &Roots,
    needed_tracepoints: Vec<NeededTracepoint>,
    ship: ShipAccess,
    output_directory: &Path,
    output_needed_bytes: u64,
) -> DoctorFacts {
    let own = Process::own(roots);
    let status: Reading<_> = own.status().into();
    DoctorFacts {
        capabilities: status.clone().map(|status| status.capeff),
        // A kernel without seccomp has no such line, and no filter.
        seccomp_mode: status.map(|status| status.seccomp.unwrap_or(0)),
        pid_namespace_inode: own.namespace("pid").into(),
        user_namespace_inode: own.namespace("user").into(),
        release: release(roots).into(),
        distribution: distribution(roots),
        btf_tracepoints: btf_tracepoints(&roots.sys.join("kernel/btf/vmlinux")).into(),
        tracefs_groups: tracefs_groups(roots).into(),
        lockdown: lockdown(roots),
        sysctls: SYSCTLS
            .map(|name| (name.to_owned(), sysctl(roots, name).into()))
            .into(),
        kernel_addresses_shown: kernel_addresses_shown(&roots.proc.join("kallsyms")).into(),
        schedstat: read_text(&own.path("schedstat")).into(),
        pressure: read_text(&roots.proc.join("pressure/cpu")).into(),
        controllers: controllers(roots).into(),
        output_space: space(output_directory).into(),
        output_directory: output_directory.to_path_buf(),
        output_needed_bytes,
        needed_tracepoints,
        ship,
    }
}

fn distribution(roots: &Roots) -> Vec<String> {
    let text = read_text(&roots.host_path(Path::new("/etc/os-release"))).unwrap_or_default();
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_default()
            .trim_matches('"')
            .to_lowercase()
    };
    format!("{} {}", value("ID"), value("ID_LIKE"))
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Names of the tracepoints in a kernel's BTF. Each is a typedef `btf_trace_NAME` (kernel
/// `include/trace/bpf_probe.h`), so the names in the string section are enough; the section is
/// found by the header (kernel `include/uapi/linux/btf.h`).
fn btf_tracepoints(path: &Path) -> Result<BTreeSet<String>, ReadError> {
    const MAGIC: u16 = 0xeb9f;
    let bytes = std::fs::read(path).map_err(|error| ReadError::io(path, error))?;
    let word = |offset: usize| {
        let field = bytes.get(offset..)?.first_chunk()?;
        usize::try_from(u32::from_ne_bytes(*field)).ok()
    };
    let strings = || {
        let magic = u16::from_ne_bytes(*bytes.first_chunk()?);
        let (header_len, offset, len) = (word(4)?, word(16)?, word(20)?);
        let start = header_len.checked_add(offset)?;
        (magic == MAGIC).then(|| bytes.get(start..start.checked_add(len)?))?
    };
    let strings = strings().ok_or_else(|| ReadError::malformed(path, "its header"))?;
    Ok(strings
        .split(|&byte| byte == 0)
        .filter_map(|name| name.strip_prefix(b"btf_trace_"))
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

fn tracefs_groups(roots: &Roots) -> Result<BTreeSet<String>, ReadError> {
    // Where debugfs is mounted, tracefs appears below it by itself.
    let places = ["kernel/tracing/events", "kernel/debug/tracing/events"];
    let mut answer = Err(ReadError::Absent {
        path: roots.sys.join("kernel/tracing/events"),
    });
    for place in places {
        match entry_names(&roots.sys.join(place)) {
            Ok(names) => {
                return Ok(names
                    .iter()
                    .map(|name| name.to_string_lossy().into_owned())
                    .collect());
            }
            Err(error) if error.is_absent() => {}
            Err(error) => answer = Err(error),
        }
    }
    answer
}

fn lockdown(roots: &Roots) -> Reading<Option<String>> {
    let security = roots.sys.join("kernel/security");
    match chosen_word(&security.join("lockdown")) {
        Ok(mode) => Reading::Known(Some(mode)),
        Err(error) if !error.is_absent() => Err(error).into(),
        // The list of security modules is there whenever securityfs is mounted.
        Err(_) if security.join("lsm").exists() => Reading::Known(None),
        Err(_) => Reading::unknown(
            "securityfs is not mounted, `sudo mount -t securityfs none /sys/kernel/security` \
             makes the mode visible",
        ),
    }
}

/// Whether any symbol has an address. The first ones may be per-CPU symbols, whose addresses begin at
/// 0 even where they are shown; hidden, all are 0 (`kallsyms_show_value`, `kernel/ksyms_common.c`).
fn kernel_addresses_shown(path: &Path) -> Result<bool, ReadError> {
    use std::io::{BufRead, BufReader};
    let file = std::fs::File::open(path).map_err(|error| ReadError::io(path, error))?;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| ReadError::io(path, error))?;
        let address = line.split_whitespace().next().unwrap_or_default();
        match u64::from_str_radix(address, 16) {
            Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(_) => return Err(ReadError::malformed(path, line.trim())),
        }
    }
    Ok(false)
}

fn controllers(roots: &Roots) -> Result<BTreeSet<String>, ReadError> {
    let mut found = BTreeSet::new();
    for mount in own_mounts(roots)? {
        match mount.fs_type.as_str() {
            "cgroup" => found.extend(mount.options),
            "cgroup2" => {
                let path = roots
                    .host_path(&mount.mount_point)
                    .join("cgroup.controllers");
                found.extend(read_text(&path)?.split_whitespace().map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(found)
}
