//! Our sums beside the kernel's own counters, read at both ends of the window.
//!
//! Only what we count ourselves is compared. File pages that were read back after an eviction are no
//! sum of ours: no tracepoint tells them, so they are the kernel's number wherever they are shown.

use super::{Check, KernelSums};
use crate::aggregate::Summaries;
use crate::aggregate::block::Operation;
use crate::aggregate::sched::ThreadSummary;
use crate::attribute::Attribution;
use crate::host::block::{Backing, BlockDevice, DiskCounters};
use crate::host::counters::KernelCounters;
use crate::model::{Capture, sum};

/// Name of the comparison of what was charged to a quota.
pub const THROTTLED_TIME: &str = "throttled time";
/// Name of the check of everybody's bytes on the pier's device.
pub const DISK_BYTES: &str = "the disk's bytes";

/// Name of the check of the time in which the pier's device was busy.
pub const DISK_BUSY: &str = "the disk's busy time";

const SCHEDSTAT: &str = "/proc/PID/task/TID/schedstat";

/// All comparisons that this capture allows.
pub fn checks(capture: &Capture, summaries: &Summaries, attribution: &Attribution) -> Vec<Check> {
    [
        on_cpu(capture, summaries),
        run_queue(capture, summaries),
        throttled(capture, attribution),
        written(capture, summaries),
        read(capture, summaries),
        of_device(capture, summaries, Operation::Write),
        of_device(capture, summaries, Operation::Read),
        on_device(capture, summaries),
        device_busy(capture, summaries),
        major_faults(summaries, capture),
        swapped_in(capture, summaries),
        lost_datagrams(capture, summaries),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the kernel counted for a thread in the window; nothing unless both ends saw it.
pub fn kernel_sums(capture: &Capture, tid: u32) -> Option<KernelSums> {
    let (before, after) = (
        &capture.meta.counters_start.threads,
        &capture.meta.counters_end.threads,
    );
    let used = after.get(&tid)?.since(before.get(&tid)?);
    Some(KernelSums {
        on_cpu_ns: used.on_cpu_ns,
        run_queue_ns: used.run_queue_ns,
    })
}

/// Sums ours and the kernel's over the threads that both ends saw.
fn over_threads(
    capture: &Capture,
    summaries: &Summaries,
    ours: fn(&ThreadSummary) -> u64,
    kernels: fn(&KernelSums) -> u64,
) -> Option<(u64, u64)> {
    let both: Vec<(u64, u64)> = summaries
        .threads
        .iter()
        .filter_map(|thread| {
            Some((
                ours(thread),
                kernels(&kernel_sums(capture, thread.thread.tid)?),
            ))
        })
        .collect();
    let (ours, kernels): (Vec<u64>, Vec<u64>) = both.into_iter().unzip();
    (!ours.is_empty()).then(|| (sum(ours), sum(kernels)))
}

fn on_cpu(capture: &Capture, summaries: &Summaries) -> Option<Check> {
    let (ours, kernels) = over_threads(capture, summaries, |t| t.on_cpu_ns, |k| k.on_cpu_ns)?;
    Some(Check {
        what: "on-CPU time",
        source: SCHEDSTAT,
        ours,
        kernels,
        unit: "ns",
        others_included: false,
    })
}

fn run_queue(capture: &Capture, summaries: &Summaries) -> Option<Check> {
    let (ours, kernels) = over_threads(capture, summaries, |t| t.run_queue_ns, |k| k.run_queue_ns)?;
    Some(Check {
        what: "run-queue time",
        source: SCHEDSTAT,
        ours,
        kernels,
        unit: "ns",
        others_included: false,
    })
}

/// Time in which that device had a request. The kernel's is counted in its ticks, and from when a request
/// is made; ours from when the device has it.
fn device_busy(capture: &Capture, summaries: &Summaries) -> Option<Check> {
    let device = summaries.neighbours.as_ref()?.devices.first()?;
    let name = super::build::device_name(&capture.meta, device.dev);
    let of = |counters: &KernelCounters| Some(counters.disks.known()?.get(&name)?.busy_ns);
    let before = of(&capture.meta.counters_start)?;
    Some(Check {
        what: DISK_BUSY,
        source: "/proc/diskstats",
        ours: device.busy_ns,
        kernels: of(&capture.meta.counters_end)?.saturating_sub(before),
        unit: "ns",
        others_included: false,
    })
}

/// Everybody's bytes on the device that the pier's file system is on.
fn on_device(capture: &Capture, summaries: &Summaries) -> Option<Check> {
    let device = summaries.neighbours.as_ref()?.devices.first()?;
    let name = super::build::device_name(&capture.meta, device.dev);
    let of = |counters: &KernelCounters| {
        let disk = counters.disks.known()?.get(&name)?;
        Some(disk.read_bytes.saturating_add(disk.written_bytes))
    };
    let (before, after) = (
        of(&capture.meta.counters_start)?,
        of(&capture.meta.counters_end)?,
    );
    Some(Check {
        what: DISK_BYTES,
        source: "/proc/diskstats",
        ours: sum(device.users.iter().map(|user| user.bytes)),
        kernels: after.saturating_sub(before),
        unit: "bytes",
        others_included: false,
    })
}

fn major_faults(summaries: &Summaries, capture: &Capture) -> Option<Check> {
    let kernels = crate::attribute::PageInRule::of(&capture.meta).major_faults?;
    Some(Check {
        what: "major faults",
        source: "/proc/PID/stat",
        ours: summaries.memory.major_faults?,
        kernels,
        unit: "",
        others_included: false,
    })
}

/// Difference of a counter of `/proc/PID/io` over the ship's processes.
fn io(capture: &Capture, of: fn(&crate::host::counters::IoCounters) -> u64) -> Option<u64> {
    let (before, after) = (&capture.meta.counters_start, &capture.meta.counters_end);
    let differences = after.processes.iter().map(|(tgid, after)| {
        let before = before.processes.get(tgid)?.io.known()?;
        Some(of(after.io.known()?).saturating_sub(of(before)))
    });
    differences.collect::<Option<Vec<u64>>>().map(sum)
}

/// The device that the pier's file system is on.
fn top_device(capture: &Capture) -> Option<&BlockDevice> {
    match &capture.meta.host.storage.backing {
        Backing::Devices(devices) => devices.first(),
        _ => None,
    }
}

/// Bytes of the ship's own bios on the devices that `counts` names.
fn bio_bytes(
    capture: &Capture,
    summaries: &Summaries,
    operation: Operation,
    counts: impl Fn(u32) -> bool,
) -> Option<u64> {
    let of = summaries
        .block
        .iter()
        .filter(|block| block.operation == operation && counts(block.dev));
    (capture.meta.attached("block_bio_queue") && capture.meta.attached("block_rq_complete"))
        .then(|| sum(of.map(|block| block.bytes)))
}

fn block_bytes(capture: &Capture, summaries: &Summaries, operation: Operation) -> Option<u64> {
    // Stacked devices show every byte once more; the topmost, where the file system is, counts.
    let top = top_device(capture)?;
    let (number, is_stacked) = (top.major << 20 | top.minor, top.class.is_stacked());
    // A process' counter has what it read from swap (`submit_bio`, block/blk-core.c), but not what it
    // wrote there: that is counted where a file's page becomes dirty.
    let swap = capture.meta.host.kernel.swap_devices.known();
    let swaps = |dev: u32| swap.is_some_and(|swap| swap.contains(&dev));
    bio_bytes(capture, summaries, operation, |dev| {
        if swaps(dev) {
            operation == Operation::Read
        } else {
            dev == number || !is_stacked
        }
    })
}

/// The device's own counters know everybody's bytes: also what the file system's journal and the
/// kernel's writers wrote in the ship's name.
fn of_device(capture: &Capture, summaries: &Summaries, operation: Operation) -> Option<Check> {
    let top = top_device(capture)?;
    let number = top.major << 20 | top.minor;
    let ours = bio_bytes(capture, summaries, operation, |dev| dev == number)?;
    let of = |counters: &DiskCounters| match operation {
        Operation::Write => counters.written_bytes,
        _ => counters.read_bytes,
    };
    let before = capture.meta.counters_start.disks.known()?.get(&top.name)?;
    let after = capture.meta.counters_end.disks.known()?.get(&top.name)?;
    Some(Check {
        what: match operation {
            Operation::Write => "bytes written to the pier's device",
            _ => "bytes read from the pier's device",
        },
        source: "/proc/diskstats",
        ours,
        kernels: of(after).saturating_sub(of(before)),
        unit: "bytes",
        others_included: true,
    })
}

/// What was charged to a quota. The kernel's time cannot be more than the ship's threads were seen to
/// wait for a CPU, unless somebody else in the group waited.
fn throttled(capture: &Capture, attribution: &Attribution) -> Option<Check> {
    let kernels = crate::attribute::throttled_by_kernel_ns(&capture.meta)?;
    Some(Check {
        what: THROTTLED_TIME,
        source: "cpu.stat",
        ours: attribution.quota_ns,
        kernels,
        unit: "ns",
        others_included: false,
    })
}

/// Pages that the ship's threads read from swap themselves. Nothing is said of swap in files, whose
/// bytes look like any file's.
fn swapped_in(capture: &Capture, summaries: &Summaries) -> Option<Check> {
    let kernel = &capture.meta.host.kernel;
    let swap = kernel
        .swap_devices
        .known()
        .filter(|swap| !swap.is_empty())?;
    let bytes = bio_bytes(capture, summaries, Operation::Read, |dev| {
        swap.contains(&dev)
    })?;
    Some(Check {
        what: "pages swapped in",
        source: "/proc/vmstat pswpin",
        ours: bytes.checked_div(kernel.page_bytes)?,
        kernels: summaries.memory.swapped_in_pages?,
        unit: "",
        others_included: true,
    })
}

fn written(capture: &Capture, summaries: &Summaries) -> Option<Check> {
    let ours = block_bytes(capture, summaries, Operation::Write)?;
    let kernels = io(capture, |io| {
        io.write_bytes.saturating_sub(io.cancelled_write_bytes)
    })?;
    Some(Check {
        what: "bytes written",
        source: "/proc/PID/io",
        ours,
        kernels,
        unit: "bytes",
        others_included: false,
    })
}

fn read(capture: &Capture, summaries: &Summaries) -> Option<Check> {
    let ours = block_bytes(capture, summaries, Operation::Read)?;
    let kernels = io(capture, |io| io.read_bytes)?;
    Some(Check {
        what: "bytes read",
        source: "/proc/PID/io",
        ours,
        kernels,
        unit: "bytes",
        others_included: false,
    })
}

fn lost_datagrams(capture: &Capture, summaries: &Summaries) -> Option<Check> {
    let ours = summaries.udp.as_ref()?.dropped?;
    let before = capture.meta.counters_start.udp_sockets.known()?;
    let after = capture.meta.counters_end.udp_sockets.known()?;
    let differences = after.iter().filter_map(|after| {
        let before = before.iter().find(|before| before.inode == after.inode)?;
        Some(after.drops_total.saturating_sub(before.drops_total))
    });
    let kernels = sum(differences);
    Some(Check {
        what: "lost datagrams",
        source: "/proc/net/udp",
        ours,
        kernels,
        unit: "",
        others_included: false,
    })
}
