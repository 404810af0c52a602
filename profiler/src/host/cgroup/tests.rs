//! Tests of the control group readers on small trees.

use std::path::Path;

use super::*;
use crate::host::process::Process;
use crate::host::{Reading, Roots};

/// A host with files as recorded, and process 7 in the groups given.
struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new(mountinfo: &str, cgroup: &str) -> Self {
        let host = Self {
            root: tempfile::tempdir().unwrap(),
        };
        host.put("proc/self/mountinfo", mountinfo);
        host.put("proc/7/cgroup", cgroup);
        host
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn roots(&self) -> Roots {
        Roots::under(self.root.path())
    }

    fn process(&self) -> Process {
        Process::new(&self.roots(), 7)
    }

    fn facts(&self) -> CgroupFacts {
        cgroup_facts(&self.roots(), &self.process())
    }
}

const V2_MOUNT: &str = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
const V1_MOUNTS: &str = "\
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

#[test]
fn v2_limits_come_from_every_level() {
    let host = Host::new(V2_MOUNT, "0::/ship.slice/zod.service\n");
    let top = "sys/fs/cgroup";
    host.put(
        &format!("{top}/cgroup.controllers"),
        "cpuset cpu io memory pids\n",
    );
    let slice = format!("{top}/ship.slice");
    host.put(&format!("{slice}/cpu.max"), "50000 100000\n");
    host.put(
        &format!("{slice}/cpu.stat"),
        "usage_usec 9\nnr_periods 40\nnr_throttled 12\nthrottled_usec 340000\n",
    );
    host.put(&format!("{slice}/memory.max"), "max\n");
    host.put(&format!("{slice}/memory.high"), "max\n");
    let own = format!("{slice}/zod.service");
    host.put(&format!("{own}/cpu.max"), "200000 100000\n");
    host.put(
        &format!("{own}/cpu.stat"),
        "nr_periods 40\nnr_throttled 0\nthrottled_usec 0\n",
    );
    host.put(&format!("{own}/cpu.weight"), "100\n");
    host.put(&format!("{own}/cpuset.cpus.effective"), "0-1\n");
    host.put(
        &format!("{own}/io.max"),
        "8:16 rbps=max wbps=max riops=max wiops=120\n",
    );
    host.put(&format!("{own}/memory.max"), "2147483648\n");
    host.put(&format!("{own}/memory.high"), "1073741824\n");
    host.put(&format!("{own}/memory.current"), "900000000\n");
    host.put(
        &format!("{slice}/memory.events"),
        "low 0\nhigh 0\nmax 10\noom 0\noom_kill 0\n",
    );
    host.put(
        &format!("{own}/memory.events"),
        "low 0\nhigh 3\nmax 2\noom 1\noom_kill 1\n",
    );
    host.put(
        &format!("{own}/memory.stat"),
        "anon 5\nworkingset_refault_anon 3\nworkingset_refault_file 4\n",
    );

    let facts = host.facts();
    let tightest = facts.tightest_cpu_limit().unwrap();
    assert_eq!(
        (tightest.group.as_path(), tightest.cpus()),
        (Path::new("/ship.slice"), 0.5)
    );
    assert_eq!(facts.cpu_limits.known().unwrap().len(), 2);
    assert_eq!(facts.cpu_weight, Reading::Known(100));
    assert_eq!(facts.cpus, Reading::Known("0-1".to_owned()));
    let memory = facts.tightest_memory_limit().unwrap();
    assert_eq!(memory.limit_bytes, 1 << 30);
    assert_eq!(memory.used_bytes, Reading::Known(900_000_000));
    let io: Vec<_> = facts.io_limits.known().unwrap().iter().collect();
    assert_eq!(
        (io.len(), io[0].device, io[0].per_second),
        (1, (8, 16), 120)
    );
    assert_eq!(
        (io[0].file(), io[0].line(None)),
        ("io.max", "8:16 wiops=max".into())
    );
    let group = group_memory(&host.roots(), &host.process());
    let group = group.known().unwrap();
    assert_eq!(
        (group.refaulted_file_pages, group.refaulted_anonymous_pages),
        (Some(4), Some(3))
    );
    assert_eq!(group.limit_hits_total, Some(15));
    assert_eq!(group.oom_kills_total, Some(1));

    let Reading::Known(levels) = throttling(&host.roots(), &host.process()) else {
        panic!("not read");
    };
    assert_eq!(levels.len(), 2);
    assert_eq!(levels[1].throttled_periods_total, 12);
    assert_eq!(levels[1].throttled_ns, 340_000_000);
}

#[test]
fn v1_units_and_words_differ() {
    let host = Host::new(V1_MOUNTS, "4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n");
    for level in [
        "sys/fs/cgroup/cpu,cpuacct",
        "sys/fs/cgroup/cpu,cpuacct/docker",
    ] {
        host.put(&format!("{level}/cpu.cfs_quota_us"), "-1\n");
        host.put(&format!("{level}/cpu.cfs_period_us"), "100000\n");
    }
    let cpu = "sys/fs/cgroup/cpu,cpuacct/docker/ab";
    host.put(&format!("{cpu}/cpu.cfs_quota_us"), "150000\n");
    host.put(&format!("{cpu}/cpu.cfs_period_us"), "100000\n");
    host.put(&format!("{cpu}/cpu.shares"), "1024\n");
    host.put(
        &format!("{cpu}/cpu.stat"),
        "nr_periods 10\nnr_throttled 3\nthrottled_time 45000123\n",
    );
    for (level, limit) in [
        ("", "9223372036854771712"),
        ("/docker", "9223372036854771712"),
        ("/docker/ab", "2147483648"),
    ] {
        let memory = format!("sys/fs/cgroup/memory{level}");
        host.put(&format!("{memory}/memory.limit_in_bytes"), limit);
        host.put(&format!("{memory}/memory.usage_in_bytes"), "77\n");
    }
    host.put(
        "sys/fs/cgroup/memory/docker/ab/memory.stat",
        "cache 1\nworkingset_refault 21\n",
    );

    host.put(
        "proc/7/cgroup",
        "5:blkio:/b\n4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n",
    );
    for (file, line) in [
        ("read_bps", ""),
        ("write_bps", ""),
        ("read_iops", ""),
        ("write_iops", "254:0 40\n"),
    ] {
        let file = format!("sys/fs/cgroup/blkio/b/blkio.throttle.{file}_device");
        host.put(&file, line);
    }

    let facts = host.facts();
    let io = &facts.io_limits.known().unwrap()[0];
    assert_eq!(
        (io.device, io.kind.as_str(), io.per_second),
        ((254, 0), "wiops", 40)
    );
    assert_eq!(
        (io.file(), io.line(Some(40)), io.line(None)),
        (
            "blkio.throttle.write_iops_device",
            "254:0 40".into(),
            "254:0 0".into()
        )
    );
    let limits = facts.cpu_limits.known().unwrap();
    assert_eq!(limits.len(), 1);
    assert_eq!(limits[0].cpus(), 1.5);
    assert_eq!(facts.cpu_weight, Reading::Known(1024));
    assert_eq!(facts.memory_limits.known().unwrap().len(), 1);
    let group = group_memory(&host.roots(), &host.process());
    assert_eq!(group.known().unwrap().refaulted_file_pages, Some(21));
    // There is no cpuset hierarchy on this host, which is not the same as "all CPUs".
    assert!(facts.cpus.reason().unwrap().contains("cpuset"));

    let levels = throttling(&host.roots(), &host.process());
    assert_eq!(levels.known().unwrap()[0].throttled_ns, 45_000_123);
}

#[test]
fn on_a_hybrid_host_each_controller_is_in_one_place() {
    let unified = V2_MOUNT.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ");
    let host = Host::new(
        &format!("{unified}{V1_MOUNTS}"),
        "4:memory:/a\n2:cpu,cpuacct:/\n1:name=systemd:/a\n0::/a\n",
    );
    host.put("sys/fs/cgroup/unified/cgroup.controllers", "io\n");
    host.put("sys/fs/cgroup/unified/a/cpu.max", "1 1\n");
    host.put("sys/fs/cgroup/cpu,cpuacct/cpu.shares", "1024\n");
    host.put(
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "9223372036854771712\n",
    );
    host.put("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4096\n");
    let facts = host.facts();
    // The root group has no quota file, and the v2 file of a controller that v1 has is nothing.
    assert_eq!(facts.cpu_limits, Reading::Known(Vec::new()));
    assert_eq!(facts.tightest_memory_limit().unwrap().limit_bytes, 4096);
}

#[test]
fn a_group_outside_our_namespace_is_unknown() {
    let host = Host::new(V2_MOUNT, "0::/../other\n");
    host.put("sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
    assert!(host.facts().cpu_limits.reason().is_some());
}
