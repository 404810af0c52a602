//! Entries for the disk.

use super::*;

pub fn rows() -> Vec<Row> {
    let slow = |summaries: &mut Summaries| {
        for thread in &mut summaries.threads {
            if thread.role == Role::CommitWorker {
                for wait in &mut thread.waits {
                    wait.histogram.add_values(50_000_000, 100_000);
                }
            }
        }
    };
    let queued = |summaries: &mut Summaries| {
        for block in &mut summaries.block {
            block.queue_ns = block.device_ns + 1000;
        }
    };
    let unqueued = |summaries: &mut Summaries| {
        for block in &mut summaries.block {
            block.queue_ns = 0;
        }
    };
    let limited = || Put("sys/fs/cgroup/ships/io.max", "8:0 wiops=40\n");
    let strict = |row: Row| row.edit(Replace("proc/2386/mountinfo", "rw,relatime", "rw"));
    vec![
        row("chop", AlreadySo),
        three_epochs(row("chop", WouldHelp)).space(90, 1000),
        three_epochs(row("chop", NoEvidence)).space(10, 90_000_000),
        three_epochs(row("chop", WouldHarm)).space(100, 0),
        row("chop", CannotTell).edit(Remove("piers/zod/.urb/log")),
        row("dirty-ratio", AlreadySo).edit(Put("proc/sys/vm/dirty_background_ratio", "1\n")),
        row("dirty-ratio", WouldHelp)
            .leaf(Leaf::Snapshot, 5)
            .capture(held_back),
        row("dirty-ratio", NoEvidence).capture(|capture| {
            capture.symbols.errors.remove(&0);
        }),
        row("dirty-ratio", CannotTell).edit(Remove("proc/sys/vm/dirty_background_ratio")),
        row("dirty-ratio", CannotTell).edit(Put("proc/sys/vm/dirty_background_bytes", "9\n")),
        row("disk-class", WouldHelp)
            .leaf(Leaf::LogCommit, 10)
            .sums(slow),
        row("disk-class", NoEvidence),
        row("disk-class", CannotTell).edit(limited()),
        row("disk-space", AlreadySo).space(10, 90_000_000),
        row("disk-space", WouldHelp).space(90, 1000),
        row("disk-space", CannotTell).capture(|capture| {
            capture.meta.host.storage.space = Reading::unknown("no");
        }),
        row("io-limit", AlreadySo),
        row("io-limit", WouldHelp)
            .edit(limited())
            .leaf(Leaf::LogCommit, 9),
        row("io-limit", NoEvidence)
            .edit(limited())
            .leaf(Leaf::LogCommit, 0),
        row("io-limit", CannotTell).edit(NO_GROUPS),
        row("io-scheduler", AlreadySo),
        row("io-scheduler", WouldHelp)
            .edit(BFQ)
            .leaf(Leaf::LogCommit, 9)
            .sums(queued),
        row("io-scheduler", NoEvidence).edit(BFQ).sums(unqueued),
        row("io-scheduler", CannotTell).edit(Remove("sys/devices/pci0/ata1/block/sda/dev")),
        row("noatime", AlreadySo).edit(Replace("proc/2386/mountinfo", "relatime", "noatime")),
        row("noatime", NoEvidence),
        strict(row("noatime", NoEvidence)),
        strict(row("noatime", WouldHelp))
            .leaf(Leaf::LogCommit, 9)
            .sums(journal),
        row("noatime", CannotTell).edit(Remove("proc/2386/mountinfo")),
        row("snap-time", AlreadySo).edit(Replace("proc/2386/cmdline", "\x00120\0", "\x003600\0")),
        row("snap-time", WouldHelp).leaf(Leaf::Snapshot, 9),
        row("snap-time", NoEvidence),
        row("snap-time", WouldHarm)
            .leaf(Leaf::Snapshot, 9)
            .capture(|capture| mappings(capture, 40_000)),
        row("snap-time", CannotTell)
            .leaf(Leaf::Snapshot, 9)
            .capture(|capture| {
                capture.meta.ship.generation = Generation::Serf;
                capture.meta.ship.config.as_mut().unwrap().snap_time_s = None;
            }),
    ]
}
