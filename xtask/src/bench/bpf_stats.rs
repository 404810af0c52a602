//! The kernel's own account of eBPF programs: how often each ran, and for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use harness::faults::Setting;
use serde::Deserialize;

use crate::shell;

/// Makes the kernel keep the account (5.1); it costs a few ns per run while it does.
const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The account is kept while this lives.
#[derive(Debug)]
pub struct BpfStats {
    _setting: Setting,
}

impl BpfStats {
    /// Turns it on; dropping puts it back to what it was.
    pub fn enable() -> Result<Self> {
        let setting = Setting::set(SWITCH, "1").context("the account needs Linux 5.1")?;
        Ok(Self { _setting: setting })
    }
}

/// One program's account since it was loaded.
#[derive(Clone, Debug, Deserialize)]
pub struct Program {
    id: u32,
    /// Whole where the program has BTF; else the kernel keeps 15 characters.
    #[serde(default)]
    pub name: String,
    /// Time in the program, ns.
    #[serde(default)]
    pub run_time_ns: u64,
    /// Number of runs.
    #[serde(default)]
    pub run_cnt: u64,
}

/// All programs that a process holds, by id.
pub fn programs_of(pid: u32) -> Result<BTreeMap<u32, Program>> {
    let held = held_ids(pid)?;
    let text = shell::output_of(Command::new("bpftool").args(["prog", "show", "-j"]))
        .context("`bpftool prog show -j` failed")?;
    let programs: Vec<Program> =
        serde_json::from_str(&text).context("`bpftool prog show -j` wrote no list of programs")?;
    Ok(programs
        .into_iter()
        .filter(|program| held.contains(&program.id))
        .map(|program| (program.id, program))
        .collect())
}

/// A descriptor of a program names its id (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c). bpftool says
/// the same only where it was built with its own eBPF programs, which Debian's is not.
fn held_ids(pid: u32) -> Result<BTreeSet<u32>> {
    let directory = PathBuf::from(format!("/proc/{pid}/fdinfo"));
    let entries = fs::read_dir(&directory)
        .with_context(|| format!("could not read {}", directory.display()))?;
    // A descriptor may be closed while we look.
    let texts = entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok());
    Ok(texts.filter_map(|text| program_id(&text)).collect())
}

fn program_id(fdinfo: &str) -> Option<u32> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_read_from_fdinfo() {
        let text = "pos:\t0\nflags:\t02000002\nprog_type:\t26\nprog_id:\t171\nrun_time_ns:\t0\n";
        assert_eq!(program_id(text), Some(171));
        assert_eq!(program_id("pos:\t0\n"), None);
    }
}
