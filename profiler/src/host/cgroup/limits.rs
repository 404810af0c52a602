//! Limits and costs at each level of a process' control groups.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Hierarchy, Version, hierarchies};
use crate::host::process::Process;
use crate::host::{ReadError, Reading, Roots, read_text, read_value};

/// v1 has no word for "no limit": it shows the largest multiple of the page size that fits, and
/// any amount of that order is none (kernel `mm/page_counter.c`, `PAGE_COUNTER_MAX`).
const V1_UNLIMITED_BYTES: u64 = 1 << 60;

/// What a process' control groups allow it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CgroupFacts {
    /// CPU limit at each level that has one, innermost first; empty: none has.
    pub cpu_limits: Reading<Vec<CpuLimit>>,
    /// CPU weight of its own group: `cpu.weight` (v2, default 100) or `cpu.shares` (v1, default
    /// 1024).
    pub cpu_weight: Reading<u64>,
    /// CPUs that its own group may use, as a list (`0-3`).
    pub cpus: Reading<String>,
    /// I/O limits at each level that has some, innermost first; empty: none has.
    pub io_limits: Reading<Vec<IoLimit>>,
    /// Memory limit at each level that has one, innermost first; empty: none has.
    pub memory_limits: Reading<Vec<MemoryLimit>>,
}

impl CgroupFacts {
    /// The tightest CPU limit, in CPUs; `None` where there is none.
    pub fn tightest_cpu_limit(&self) -> Option<&CpuLimit> {
        self.cpu_limits
            .known()?
            .iter()
            .min_by(|a, b| a.cpus().total_cmp(&b.cpus()))
    }

    /// The tightest memory limit; `None` where there is none.
    pub fn tightest_memory_limit(&self) -> Option<&MemoryLimit> {
        self.memory_limits
            .known()?
            .iter()
            .min_by_key(|limit| limit.limit_bytes)
    }
}

/// A CPU quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuLimit {
    /// The group that sets it, from the root of the hierarchy.
    pub group: PathBuf,
    /// Which interface changes it.
    pub version: Version,
    /// CPU time that the group gets in each period.
    pub quota_us: u64,
    /// The period.
    pub period_us: u64,
}

impl CpuLimit {
    /// The quota in CPUs.
    pub fn cpus(&self) -> f64 {
        self.quota_us as f64 / self.period_us as f64
    }
}

/// A limit on reads or writes of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoLimit {
    /// The group that sets it, from the root of the hierarchy.
    pub group: PathBuf,
    /// Which interface changes it.
    pub version: Version,
    /// Device, major and minor number.
    pub device: (u32, u32),
    /// `rbps`, `wbps`, `riops` or `wiops`: bytes or operations a second, as v2 calls them.
    pub kind: String,
    /// How many a second.
    pub per_second: u64,
}

/// A memory limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimit {
    /// The group that sets it, from the root of the hierarchy.
    pub group: PathBuf,
    /// The lower of `memory.max` and `memory.high` (v2), or `memory.limit_in_bytes` (v1).
    pub limit_bytes: u64,
    /// What the group uses, page cache included.
    pub used_bytes: Reading<u64>,
}

/// What memory has cost a process' own group since it was made. `None`: this kernel does not count it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMemory {
    /// File pages that were read back soon after they had been evicted.
    pub refaulted_file_pages: Option<u64>,
    /// Anonymous pages that were read back soon after they had been evicted.
    pub refaulted_anonymous_pages: Option<u64>,
    /// Faults that had to wait for I/O.
    pub major_faults_total: Option<u64>,
    /// Times that it, or a group above it, wanted more memory than its limit: `memory.failcnt` (v1),
    /// `high` and `max` of `memory.events` (v2).
    pub limit_hits_total: Option<u64>,
    /// Kills for want of memory.
    pub oom_kills_total: Option<u64>,
}

/// What the CPU quota of one group has cost since the group was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttling {
    /// The group, from the root of the hierarchy.
    pub group: PathBuf,
    /// Periods in which a member wanted to run.
    pub periods_total: u64,
    /// Periods in which the quota ran out.
    pub throttled_periods_total: u64,
    /// Time without quota, added up over the CPUs that the group wanted to run on: it may exceed
    /// the wall time.
    pub throttled_ns: u64,
}

/// Reads the limits on `process`.
pub fn cgroup_facts(roots: &Roots, process: &Process) -> CgroupFacts {
    let all = match hierarchies(roots, process) {
        Ok(all) => all,
        Err(error) => return unreadable(&error.to_string()),
    };
    CgroupFacts {
        cpu_limits: at(&all, "cpu", cpu_limits),
        cpu_weight: at(&all, "cpu", |place| {
            own_value(place, ("cpu.shares", "cpu.weight"))
        }),
        cpus: at(&all, "cpuset", |place| {
            own_value(place, ("cpuset.effective_cpus", "cpuset.cpus.effective"))
        }),
        io_limits: match at(&all, "io", io_limits) {
            // Its name in v1.
            Reading::Unknown { .. } => at(&all, "blkio", io_limits),
            known => known,
        },
        memory_limits: at(&all, "memory", memory_limits),
    }
}

/// Reads what CPU quotas have cost `process`' group and its ancestors, for the levels that have a
/// quota.
pub fn throttling(roots: &Roots, process: &Process) -> Reading<Vec<Throttling>> {
    match hierarchies(roots, process) {
        Ok(all) => at(&all, "cpu", |place| {
            cpu_limits(place)?
                .iter()
                .map(|limit| level_throttling(place, &limit.group))
                .collect()
        }),
        Err(error) => Reading::unknown(error.to_string()),
    }
}

/// Reads what memory has cost `process`' group.
pub fn group_memory(roots: &Roots, process: &Process) -> Reading<GroupMemory> {
    match hierarchies(roots, process) {
        Ok(all) => at(&all, "memory", group_memory_of),
        Err(error) => Reading::unknown(error.to_string()),
    }
}

fn unreadable(reason: &str) -> CgroupFacts {
    CgroupFacts {
        cpu_limits: Reading::unknown(reason),
        cpu_weight: Reading::unknown(reason),
        cpus: Reading::unknown(reason),
        io_limits: Reading::unknown(reason),
        memory_limits: Reading::unknown(reason),
    }
}

/// Asks the hierarchy that has `controller`. On a hybrid host a controller is in one place only.
fn at<T>(
    all: &[Hierarchy],
    controller: &str,
    read: impl FnOnce(&Hierarchy) -> Result<T, ReadError>,
) -> Reading<T> {
    match all
        .iter()
        .find(|place| place.controllers.iter().any(|own| own == controller))
    {
        Some(place) => read(place).into(),
        None => Reading::unknown(format!(
            "the {controller} controller is not mounted here, or the group is outside our cgroup namespace"
        )),
    }
}

fn own_value<T: std::str::FromStr>(
    place: &Hierarchy,
    (v1, v2): (&str, &str),
) -> Result<T, ReadError> {
    let file = match place.version {
        Version::V1 => v1,
        Version::V2 => v2,
    };
    read_value(&place.mount_point.join(&place.group).join(file))
}

/// Collects what `read` finds at each level. The root group has no such files, hence no limit.
fn each_level<T>(
    place: &Hierarchy,
    read: impl Fn(&Path, &Path) -> Result<Option<T>, ReadError>,
) -> Result<Vec<T>, ReadError> {
    let mut found = Vec::new();
    for (group, directory) in place.levels() {
        match read(&group, &directory) {
            Ok(value) => found.extend(value),
            Err(error) if error.is_absent() && directory.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn cpu_limits(place: &Hierarchy) -> Result<Vec<CpuLimit>, ReadError> {
    each_level(place, |group, directory| {
        let Some((quota_us, period_us)) = (match place.version {
            Version::V1 => v1_quota(directory)?,
            Version::V2 => v2_quota(&directory.join("cpu.max"))?,
        }) else {
            return Ok(None);
        };
        Ok(Some(CpuLimit {
            group: group.to_path_buf(),
            version: place.version,
            quota_us,
            period_us,
        }))
    })
}

/// A negative quota is none.
fn v1_quota(directory: &Path) -> Result<Option<(u64, u64)>, ReadError> {
    let quota_us: i64 = read_value(&directory.join("cpu.cfs_quota_us"))?;
    let Ok(quota_us) = u64::try_from(quota_us) else {
        return Ok(None);
    };
    Ok(Some((
        quota_us,
        read_value(&directory.join("cpu.cfs_period_us"))?,
    )))
}

/// `max 100000` is no quota, `200000 100000` is two CPUs.
fn v2_quota(path: &Path) -> Result<Option<(u64, u64)>, ReadError> {
    let text = read_text(path)?;
    let malformed = || ReadError::malformed(path, text.trim());
    let (quota, period) = text.trim().split_once(' ').ok_or_else(malformed)?;
    if quota == "max" {
        return Ok(None);
    }
    let parse = |number: &str| number.parse().map_err(|_| malformed());
    Ok(Some((parse(quota)?, parse(period)?)))
}

/// v1 has a file for each kind; v2 one for all.
const V1_IO_FILES: [(&str, &str); 4] = [
    ("blkio.throttle.read_bps_device", "rbps"),
    ("blkio.throttle.write_bps_device", "wbps"),
    ("blkio.throttle.read_iops_device", "riops"),
    ("blkio.throttle.write_iops_device", "wiops"),
];

impl IoLimit {
    /// Name of the file that changes it.
    pub fn file(&self) -> &'static str {
        let named = |(_, kind): &&(&str, &str)| *kind == self.kind;
        match self.version {
            Version::V1 => V1_IO_FILES.iter().find(named).map_or("", |(file, _)| file),
            Version::V2 => "io.max",
        }
    }

    /// What to write there for this many a second; for none at all without a number.
    pub fn line(&self, per_second: Option<u64>) -> String {
        let (major, minor) = self.device;
        match (self.version, per_second) {
            (Version::V1, number) => format!("{major}:{minor} {}", number.unwrap_or(0)),
            (Version::V2, Some(number)) => format!("{major}:{minor} {}={number}", self.kind),
            (Version::V2, None) => format!("{major}:{minor} {}=max", self.kind),
        }
    }
}

fn io_limits(place: &Hierarchy) -> Result<Vec<IoLimit>, ReadError> {
    let levels = each_level(place, |group, directory| {
        let mut found = Vec::new();
        let mut add = |device: &str, kind: &str, number: &str| {
            let device = device
                .split_once(':')
                .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
            if let (Some(device), Ok(per_second)) = (device, number.parse()) {
                found.push(IoLimit {
                    group: group.to_path_buf(),
                    version: place.version,
                    device,
                    kind: kind.to_owned(),
                    per_second,
                });
            }
        };
        match place.version {
            Version::V1 => {
                for (file, kind) in V1_IO_FILES {
                    for line in read_text(&directory.join(file))?.lines() {
                        if let Some((device, number)) = line.split_once(' ') {
                            add(device, kind, number);
                        }
                    }
                }
            }
            Version::V2 => {
                for line in read_text(&directory.join("io.max"))?.lines() {
                    let mut words = line.split(' ');
                    let device = words.next().unwrap_or_default();
                    for (kind, number) in words.filter_map(|word| word.split_once('=')) {
                        // `max` is no number, and no limit.
                        add(device, kind, number);
                    }
                }
            }
        }
        Ok(Some(found))
    })?;
    Ok(levels.into_iter().flatten().collect())
}

fn memory_limits(place: &Hierarchy) -> Result<Vec<MemoryLimit>, ReadError> {
    each_level(place, |group, directory| {
        let (limit, used) = match place.version {
            Version::V1 => {
                let limit: u64 = read_value(&directory.join("memory.limit_in_bytes"))?;
                let limit = (limit < V1_UNLIMITED_BYTES).then_some(limit);
                (limit, "memory.usage_in_bytes")
            }
            Version::V2 => {
                let max = v2_bytes(&directory.join("memory.max"))?;
                let high = v2_bytes(&directory.join("memory.high"))?;
                let limit = max.into_iter().chain(high).min();
                (limit, "memory.current")
            }
        };
        Ok(limit.map(|limit_bytes| MemoryLimit {
            group: group.to_path_buf(),
            limit_bytes,
            used_bytes: read_value(&directory.join(used)).into(),
        }))
    })
}

fn v2_bytes(path: &Path) -> Result<Option<u64>, ReadError> {
    let text = read_text(path)?;
    match text.trim() {
        "max" => Ok(None),
        bytes => bytes
            .parse()
            .map(Some)
            .map_err(|_| ReadError::malformed(path, bytes)),
    }
}

/// The line `name value` of a flat keyed file.
fn keyed(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?
        .trim()
        .parse()
        .ok()
}

fn group_memory_of(place: &Hierarchy) -> Result<GroupMemory, ReadError> {
    let directory = place.mount_point.join(&place.group);
    let stat = read_text(&directory.join("memory.stat"))?;
    let count = |name: &str| keyed(&stat, name);
    let hits = each_level(place, |_, directory| limit_hits(place.version, directory));
    let kills = match place.version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    let kills = read_text(&directory.join(kills)).ok();
    Ok(GroupMemory {
        // One count up to Linux 5.8, for file pages (kernel commit 170b04b7ae49).
        refaulted_file_pages: count("workingset_refault_file")
            .or_else(|| count("workingset_refault")),
        refaulted_anonymous_pages: count("workingset_refault_anon"),
        major_faults_total: count("pgmajfault"),
        limit_hits_total: hits.ok().map(|hits| hits.iter().sum()),
        oom_kills_total: kills.and_then(|text| keyed(&text, "oom_kill")),
    })
}

fn limit_hits(version: Version, directory: &Path) -> Result<Option<u64>, ReadError> {
    match version {
        Version::V1 => read_value(&directory.join("memory.failcnt")).map(Some),
        Version::V2 => {
            let events = read_text(&directory.join("memory.events"))?;
            let of = |name| keyed(&events, name).unwrap_or(0);
            Ok(Some(of("high") + of("max")))
        }
    }
}

fn level_throttling(place: &Hierarchy, group: &Path) -> Result<Throttling, ReadError> {
    let below = group.strip_prefix("/").unwrap_or(group);
    let path = place.mount_point.join(below).join("cpu.stat");
    let text = read_text(&path)?;
    let value = |name: &str| {
        keyed(&text, name).ok_or_else(|| ReadError::malformed(&path, format!("no line {name}")))
    };
    Ok(Throttling {
        group: group.to_path_buf(),
        periods_total: value("nr_periods")?,
        throttled_periods_total: value("nr_throttled")?,
        throttled_ns: match place.version {
            Version::V1 => value("throttled_time")?,
            Version::V2 => value("throttled_usec")?.saturating_mul(1000),
        },
    })
}
