//! What of host and ship is another between two captures. A change that is to be judged should be the only
//! one.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::host::Reading;
use crate::host::block::BlockDevice;
use crate::host::cgroup::CgroupFacts;
use crate::host::process::ProcessFacts;
use crate::model::Meta;
use crate::report::units::bytes;
use crate::ship::{MarsConfig, ShipProcess};

/// Settings that change nothing of what a ship does: the profiler itself turns them, or only its like
/// reads them.
const NO_SETTINGS_OF_SHIPS: [&str; 9] = [
    "kernel.bpf_stats_enabled",
    "kernel.kptr_restrict",
    "kernel.perf_event_max_stack",
    "kernel.perf_event_paranoid",
    "kernel.sched_schedstats",
    "kernel.task_delayacct",
    "kernel.unprivileged_bpf_disabled",
    "net.core.bpf_jit_enable",
    "fs.file-max",
];
/// Total memory of one and the same machine differs by what the kernel takes at boot.
const MEMORY_STEP_BYTES: u64 = 64 << 20;

/// One thing that is another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What.
    pub what: String,
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
}

/// Values by name; nothing is a value that could not be read.
type Values = BTreeMap<String, Option<String>>;

/// What differs, by name. What either capture does not know is not compared; what only one of them has at
/// all (a limit, a device) is "none" in the other.
pub fn changes(before: &Meta, after: &Meta) -> Vec<Change> {
    let none = || Some("none".to_owned());
    let (old, new) = (values(before), values(after));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let of = |values: &Values| values.get(name).cloned().unwrap_or_else(none);
            let (before, after) = (of(&old)?, of(&new)?);
            (before != after).then(|| Change {
                what: name.clone(),
                before,
                after,
            })
        })
        .collect()
}

/// Adds values.
#[derive(Default)]
struct Collector(Values);

impl Collector {
    fn add(&mut self, name: impl Into<String>, value: Option<impl Display>) {
        self.0.insert(name.into(), value.map(|v| v.to_string()));
    }

    fn reading<T: Display>(&mut self, name: impl Into<String>, value: &Reading<T>) {
        self.add(name, value.known());
    }

    /// Values that there may be several of, or none.
    fn list<T>(
        &mut self,
        what: &str,
        values: &Reading<Vec<T>>,
        name_value: impl Fn(&T) -> (String, String),
    ) {
        match values {
            Reading::Known(values) => {
                for (name, value) in values.iter().map(name_value) {
                    self.add(name, Some(value));
                }
            }
            // Under the name that "none" would be compared with.
            Reading::Unknown { .. } => self.add(what, None::<String>),
        }
    }
}

fn values(meta: &Meta) -> Values {
    let mut all = Collector::default();
    kernel(&mut all, meta);
    storage(&mut all, meta);
    limits(&mut all, &meta.host.cgroup);
    ship(&mut all, meta);
    let profiler = format!(
        "{}, waits from {} µs",
        meta.profiler_version,
        meta.threshold_ns / 1000
    );
    all.add("profile", Some(profiler));
    all.0
}

fn kernel(all: &mut Collector, meta: &Meta) {
    let kernel = &meta.host.kernel;
    all.reading("kernel", &kernel.release);
    all.reading("CPUs online", &kernel.online_cpus);
    all.reading("CPU model", &kernel.cpu_model);
    all.reading("transparent huge pages", &kernel.transparent_huge_pages);
    let memory = kernel.memory.known();
    let steps = memory.map(|memory| memory.total_bytes.div_ceil(MEMORY_STEP_BYTES));
    all.add("memory", steps.map(|n| bytes(n * MEMORY_STEP_BYTES)));
    all.add("swap", memory.map(|m| bytes(m.swap_total_bytes)));
    for (name, value) in &kernel.sysctls {
        if !NO_SETTINGS_OF_SHIPS.contains(&name.as_str()) {
            all.reading(name.clone(), value);
        }
    }
    let buffers = &meta.host.udp_buffers;
    all.list("receive buffer", buffers, |socket| {
        let size = bytes(socket.receive_buffer_bytes);
        ("receive buffer".to_owned(), size)
    });
}

fn storage(all: &mut Collector, meta: &Meta) {
    let storage = &meta.host.storage;
    let mount = storage.mount.known();
    all.add("file system", mount.map(|mount| &mount.fs_type));
    all.add("mount options", mount.map(|m| m.options.join(",")));
    for device in storage.backing.devices() {
        device_values(all, device);
    }
}

fn device_values(all: &mut Collector, device: &BlockDevice) {
    let name = &device.name;
    all.add(
        format!("device {name}"),
        Some(match &device.model {
            Some(model) => model.trim().to_owned(),
            None => "there".to_owned(),
        }),
    );
    all.reading(format!("scheduler of {name}"), &device.scheduler);
    all.reading(format!("queue of {name}"), &device.queue_requests);
    all.reading(format!("write cache of {name}"), &device.write_cache);
}

fn limits(all: &mut Collector, cgroup: &CgroupFacts) {
    // By value and not by group: a group's name may be another after each start.
    let cpus = cgroup.cpu_limits.known();
    let tightest = cgroup.tightest_cpu_limit();
    all.add(
        "CPU quota",
        cpus.map(|_| tightest.map_or("none".to_owned(), |limit| format!("{:.2}", limit.cpus()))),
    );
    let memory = cgroup.memory_limits.known();
    let tightest = cgroup.tightest_memory_limit();
    all.add(
        "memory limit",
        memory.map(|_| tightest.map_or("none".to_owned(), |limit| bytes(limit.limit_bytes))),
    );
    all.reading("CPU weight", &cgroup.cpu_weight);
    all.reading("CPUs of the group", &cgroup.cpus);
    all.list("I/O limit", &cgroup.io_limits, |limit| {
        let (major, minor) = limit.device;
        (
            format!("I/O limit {} of {major}:{minor}", limit.kind),
            format!("{} a second", limit.per_second),
        )
    });
}

fn ship(all: &mut Collector, meta: &Meta) {
    let ship = &meta.ship;
    all.add("vere", ship.version.as_ref());
    if let Some(config) = &ship.config {
        mars(all, config);
    }
    let processes = [("king", Some(&ship.king)), ("mars", ship.mars.as_ref())];
    for (role, process) in processes {
        let facts = |process: &ShipProcess| meta.host.processes.get(&process.tgid)?.known();
        process_values(all, role, process.and_then(facts));
    }
    let setup = meta.setup.known();
    let runner = setup.and_then(|setup| setup.runner.known());
    all.add("run by", runner.map(|runner| runner.words()));
    let port = setup.and_then(|setup| setup.chosen_port.known());
    all.add(
        "Ames port",
        port.map(|port| port.map_or("any".to_owned(), |port| port.to_string())),
    );
}

fn mars(all: &mut Collector, config: &MarsConfig) {
    let default = |value: Option<u64>| Some(value.map_or("default".to_owned(), |v| v.to_string()));
    all.add("--loom", default(config.loom_bex.map(u64::from)));
    all.add("--snap-time", default(config.snap_time_s));
    all.add("--lmdb-map-size", default(config.lmdb_map_bytes));
    all.add(
        "--temporary-cache-size",
        default(config.temporary_cache_entries),
    );
    all.add(
        "--persistent-cache-size",
        default(config.persistent_cache_entries),
    );
    all.add("--toss", default(config.toss));
    let flags = config.runtime_flags.map(|flags| flags.names().join(" "));
    all.add("vere's flags", flags);
}

fn process_values(all: &mut Collector, role: &str, facts: Option<&ProcessFacts>) {
    all.add(format!("nice of {role}"), facts.map(|facts| facts.nice));
    let cpus = facts.and_then(|facts| facts.allowed_cpus.known());
    let ranges = cpus.map(|ranges| {
        let ranges = ranges.iter().map(|(from, to)| match from == to {
            true => from.to_string(),
            false => format!("{from}-{to}"),
        });
        ranges.collect::<Vec<_>>().join(",")
    });
    all.add(format!("CPUs of {role}"), ranges);
}
