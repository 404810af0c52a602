//! The fixes: each an item that describes itself, checks the host, and says what it would change
//! here, by this capture's numbers.
//!
//! An entry is not believed: it answers *already so*, *would help* (with its gain), *no evidence
//! here*, *would harm*, or *cannot tell*, and says why.

pub mod advice;
pub mod affinity;
pub mod ames_port;
mod bandwidth;
mod bbr;
mod chop;
mod cpu_quota;
mod dirty_ratio;
pub mod disk_class;
mod disk_space;
mod entry;
mod faster_cpu;
mod fewer_ships;
pub mod file_limits;
mod geography;
mod io_limit;
pub mod io_scheduler;
pub mod loom_size;
mod max_map_count;
mod meld;
mod meld_schedule;
mod nice;
pub mod noatime;
mod pack;
mod pack_schedule;
mod place;
mod ram;
pub mod rmem_max;
mod snap_time;
mod steal;
mod step;
pub mod suspend_apps;
mod swap_off;
mod swappiness;
mod tcp_buffers;
#[cfg(test)]
pub(crate) mod tests;
mod thp;

pub use cpu_quota::limit_that_throttled;
pub use entry::{
    Answer, Assessment, Entry, Gain, Kind, LeafGain, Manner, Restart, Risk, Situation,
};
pub use io_limit::limits;
pub use step::{Step, Trial};

use entry::Setting;
use step::keep_sysctls;

use crate::attribute::Leaf;
use crate::host::cgroup::Version;
use crate::model::Meta;

/// What a quicker or less limited disk can shrink.
const DISK_LEAVES: &[Leaf] = &[
    Leaf::LogCommit,
    Leaf::Snapshot,
    Leaf::PageIn,
    Leaf::OtherFile,
];

/// All fixes, in the order of their names.
pub const ENTRIES: &[Entry] = &[
    affinity::ENTRY,
    ames_port::ENTRY,
    bandwidth::ENTRY,
    bbr::ENTRY,
    chop::ENTRY,
    cpu_quota::ENTRY,
    dirty_ratio::ENTRY,
    disk_class::ENTRY,
    disk_space::ENTRY,
    faster_cpu::ENTRY,
    fewer_ships::ENTRY,
    file_limits::ENTRY,
    geography::ENTRY,
    io_limit::ENTRY,
    io_scheduler::ENTRY,
    loom_size::ENTRY,
    max_map_count::ENTRY,
    meld::ENTRY,
    meld_schedule::ENTRY,
    nice::ENTRY,
    noatime::ENTRY,
    pack::ENTRY,
    pack_schedule::ENTRY,
    ram::ENTRY,
    rmem_max::ENTRY,
    snap_time::ENTRY,
    steal::ENTRY,
    suspend_apps::ENTRY,
    swap_off::ENTRY,
    swappiness::ENTRY,
    tcp_buffers::ENTRY,
    thp::ENTRY,
];

/// What a kernel setting says, if it could be read.
fn sysctl<'a>(meta: &'a Meta, name: &str) -> Option<&'a str> {
    let value = meta.host.kernel.sysctls.get(name)?;
    value.known().map(String::as_str)
}

/// Whether a version is this one or a later one; nothing if it is not known.
fn is_at_least(version: Option<&str>, least: (u32, u32)) -> Option<bool> {
    let mut numbers = version?.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor) >= least),
        // The next major has everything.
        (Some(Ok(major)), _) => Some(major > least.0),
        _ => None,
    }
}

/// Which interface the ship's memory group has.
fn memory_version(meta: &Meta) -> Version {
    match meta.ship.cgroups.known() {
        Some(groups) if groups.contains_key("memory") => Version::V1,
        _ => Version::V2,
    }
}
