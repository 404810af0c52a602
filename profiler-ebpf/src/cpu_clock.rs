//! `cpu-clock` perf event: what a ship's threads do on CPU.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{map, perf_event};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::PerfEventContext;
use profiler_common::cpu_clock::{SampleRecord, SampleScratch};
use profiler_common::loss as reason;
use profiler_common::record::{KIND_SAMPLE, RecordHeader};

use crate::{NO_WAKEUP, RECORDS, hoon, loss, recording, sampling, ship, stack};

/// Where a sample is built: too large for a program's stack.
#[map]
static CPU_CLOCK_SCRATCH: PerCpuArray<SampleScratch> = PerCpuArray::with_max_entries(1, 0);

/// One tick on one CPU.
#[perf_event]
pub fn cpu_clock(ctx: PerfEventContext) -> u32 {
    try_cpu_clock(&ctx);
    0
}

#[inline(always)]
fn try_cpu_clock(ctx: &PerfEventContext) -> Option<()> {
    let id = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((id >> 32) as u32, id as u32);
    if !ship::watches(tgid) {
        return None;
    }
    // SAFETY: no arguments.
    let (now, cpu) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    ship::window(now)?;
    if !recording() {
        return sampling::ticked(ctx.as_ptr(), tgid, tid);
    }
    let header = RecordHeader {
        ktime_ns: now,
        kind: KIND_SAMPLE,
        cpu,
        tgid,
        tid,
    };
    let scratch = CPU_CLOCK_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's scratch; perf events of one CPU do not nest.
    unsafe {
        let lengths = stack::take(ctx.as_ptr(), &raw mut (*scratch).stack);
        (*scratch).record = SampleRecord {
            header,
            stack: lengths,
        };
        let size = size_of::<SampleRecord>() + stack::bytes(&lengths);
        let bytes = core::slice::from_raw_parts(scratch.cast::<u8>(), size);
        if RECORDS.output::<[u8]>(bytes, NO_WAKEUP).is_err() {
            loss::count(reason::SAMPLE_RECORD);
        }
    }
    hoon::sampled(ctx, header)
}
