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
    /// Memory limit at each level that has one, innermost first; empty: none has.
    pub memory_limits: Reading<Vec<MemoryLimit>>,
    /// Pages of its own group that were read back soon after they had been evicted, since the
    /// group was made.
    pub refaulted_pages: Reading<u64>,
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
        memory_limits: at(&all, "memory", memory_limits),
        refaulted_pages: at(&all, "memory", refaulted_pages),
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

fn unreadable(reason: &str) -> CgroupFacts {
    CgroupFacts {
        cpu_limits: Reading::unknown(reason),
        cpu_weight: Reading::unknown(reason),
        cpus: Reading::unknown(reason),
        memory_limits: Reading::unknown(reason),
        refaulted_pages: Reading::unknown(reason),
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

fn refaulted_pages(place: &Hierarchy) -> Result<u64, ReadError> {
    let path = place.mount_point.join(&place.group).join("memory.stat");
    let text = read_text(&path)?;
    // One count up to Linux 5.8, two since.
    let split = ["workingset_refault_anon", "workingset_refault_file"]
        .iter()
        .filter_map(|name| keyed(&text, name))
        .reduce(|sum, count| sum + count);
    split
        .or_else(|| keyed(&text, "workingset_refault"))
        .ok_or_else(|| ReadError::malformed(&path, "no workingset_refault"))
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
