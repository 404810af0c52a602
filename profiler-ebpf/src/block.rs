//! Block I/O, charged to the thread that queued the bio.
//!
//! At the moment a request is issued, most bytes of a commit seem to come from kblockd; only
//! `block_bio_queue` runs in the thread that wanted the I/O. So bios are remembered by address
//! from there; a request leads back to them when it is issued and when it completes.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use profiler_common::block::{
    Bio, BioDoneRecord, BioRecord, BioScratch, BlockKey, BlockTotals, MAX_BIOS_PER_REQUEST,
    OP_FLUSH, OP_MASK, OP_WRITE, STACK_INTERVAL_NS,
};
use profiler_common::histogram;
use profiler_common::loss as reason;
use profiler_common::neighbour::MAX_BIOS;
use profiler_common::offsets::ABSENT;
use profiler_common::record::{KIND_BIO, KIND_BIO_DONE, RecordHeader, StackLengths};
use profiler_common::writeback::{BY_ITSELF, NO_FILE};

use crate::atomic;
use crate::kernel::{offset, read};
use crate::{NO_WAKEUP, RECORDS, loss, neighbour, recording, sampling, ship, stack, writeback};

/// Bios under way, by address: those of watched threads, and others' on devices of the pier.
#[map]
static BLOCK_BIOS: HashMap<u64, Bio> = HashMap::with_max_entries(16_384, 0);

/// Sums by thread, device and operation.
#[map]
static BLOCK_TOTALS: HashMap<BlockKey, BlockTotals> = HashMap::with_max_entries(1024, 0);

/// Zeroes to begin an entry with: too large for a program's stack.
#[map]
static BLOCK_NEW_TOTALS: Array<BlockTotals> = Array::with_max_entries(1, 0);

/// Where a record is built.
#[map]
static BLOCK_SCRATCH: PerCpuArray<BioScratch> = PerCpuArray::with_max_entries(1, 0);

/// When each thread's last bio with a stack was recorded. Where it is full, every bio has one.
#[map]
static BLOCK_STACK_TIMES: HashMap<u32, u64> = HashMap::with_max_entries(1024, 0);

/// How many of them are under way. While none is, requests cost one load.
#[map]
static BLOCK_UNDER_WAY: Array<u64> = Array::with_max_entries(1, 0);

#[inline(always)]
fn any_under_way() -> bool {
    // A racy read does: the counter was raised before the request was made.
    BLOCK_UNDER_WAY.get(0).is_some_and(|counter| *counter != 0)
}

/// Adds to the count of bios under way.
#[inline(always)]
fn count_under_way(difference: i64) {
    if let Some(counter) = BLOCK_UNDER_WAY.get_ptr_mut(0) {
        atomic::add(counter, difference as u64);
    }
}

/// A bio is followed (1), or not any more (-1).
#[inline(always)]
fn count_bio(dev: u32, owned: u32, difference: i64) {
    count_under_way(difference);
    if let Some(device) = neighbour::device(dev) {
        neighbour::count_bio(device, owned, difference);
    }
}

/// Device of a bio, as the kernel encodes it: the whole disk where the bio is for a partition, because
/// a disk's time is shared by all of its partitions.
#[inline(always)]
fn device(bio: *const c_void) -> Option<u32> {
    if offset!(bio_bdev) != ABSENT {
        let bdev = read::<u64>(bio, offset!(bio_bdev))? as *const c_void;
        return disk_number(read::<u64>(bdev, offset!(bdev_disk))? as *const c_void);
    }
    disk_number(read::<u64>(bio, offset!(bio_disk))? as *const c_void)
}

#[inline(always)]
fn disk_number(disk: *const c_void) -> Option<u32> {
    let major = read::<u32>(disk, offset!(disk_major))?;
    let minor = read::<u32>(disk, offset!(disk_first_minor))?;
    Some(major << 20 | minor)
}

/// An argument whose position depends on the kernel.
#[inline(always)]
fn arg(ctx: &BtfTracePointContext, position: u32) -> *const c_void {
    if position == 0 {
        ctx.arg(0)
    } else {
        second_arg(ctx.as_ptr())
    }
}

/// Not inlined: LLVM would make one load of both, at an offset that it computes, and the verifier
/// takes no context pointer that was changed.
#[inline(never)]
fn second_arg(ctx: *mut c_void) -> *const c_void {
    BtfTracePointContext::new(ctx).arg(1)
}

/// `block:block_bio_queue(bio)`, in the thread that wants the I/O.
#[btf_tracepoint(function = "block_bio_queue")]
pub fn block_bio_queue(ctx: BtfTracePointContext) -> i32 {
    let id = bpf_get_current_pid_tgid();
    let (tgid, tid) = ((id >> 32) as u32, id as u32);
    let watched = ship::watches(tgid);
    if watched || recording() {
        try_block_bio_queue(&ctx, tgid, tid, watched);
    }
    0
}

#[inline(always)]
fn try_block_bio_queue(
    ctx: &BtfTracePointContext,
    tgid: u32,
    tid: u32,
    watched: bool,
) -> Option<()> {
    if !recording() && !sampling::sums_io() {
        return None;
    }
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    ship::window(now)?;
    let bio = arg(ctx, offset!(bio_queue_arg));
    let dev = device(bio)?;
    let pier_device = neighbour::device(dev);
    if !watched {
        pier_device?;
        if BLOCK_UNDER_WAY.get(0).is_some_and(|n| *n >= MAX_BIOS) {
            loss::count(reason::NEIGHBOUR_SLOT);
            return None;
        }
    }
    let (ahead_own, ahead_others) = pier_device.map_or((0, 0), |d| neighbour::under_way(d));
    let opf = read::<u32>(bio, offset!(bio_opf))?;
    let bytes = read::<u32>(bio, offset!(bio_size)).unwrap_or(0);
    let mut entry = Bio {
        queued_ktime_ns: now,
        issued_ktime_ns: 0,
        tgid,
        tid,
        dev,
        opf,
        bytes,
        watched: watched.into(),
        owned: watched.into(),
        via: BY_ITSELF,
        in_device: 0,
        reserved: 0,
        file: NO_FILE,
        clock: 0,
        others_clock: u64::MAX,
        ahead_own,
        ahead_others,
    };
    let owner = if recording() {
        writeback::origin(bio, &mut entry)
    } else {
        None
    };
    // An entry at this address is of a bio whose end was not seen.
    if let Some(stale) = BLOCK_BIOS.get_ptr(bio as u64) {
        // SAFETY: a live map value, of which nobody knows any more.
        let (dev, owned, in_device) = unsafe { ((*stale).dev, (*stale).owned, (*stale).in_device) };
        count_bio(dev, owned, -1);
        if in_device != 0
            && let Some(device) = neighbour::device(dev)
        {
            neighbour::leaves(device, owned, now);
        }
    }
    if let Some(device) = pier_device {
        // A flush has no data, and its request is never issued: others are in its name
        // (`block/blk-flush.c`).
        if bytes == 0 || neighbour::takes_bios(device) {
            entry.in_device = 1;
            (entry.clock, entry.others_clock) = neighbour::enters(device, entry.owned, now);
        }
    }
    if BLOCK_BIOS.insert(bio as u64, entry, 0).is_err() {
        loss::count(if watched {
            reason::BIO_SLOT
        } else {
            reason::NEIGHBOUR_SLOT
        });
        if entry.in_device != 0
            && let Some(device) = pier_device
        {
            neighbour::leaves(device, entry.owned, now);
        }
        return None;
    }
    count_bio(dev, entry.owned, 1);
    if pier_device.is_some() {
        neighbour::name_queuer(&entry, owner);
    }
    if !watched || !recording() {
        return Some(());
    }
    // SAFETY: copied at once; the entry is changed by this thread alone.
    let stack_ktime_ns = unsafe { BLOCK_STACK_TIMES.get(tid) }.copied().unwrap_or(0);
    let with_stack = now - stack_ktime_ns >= STACK_INTERVAL_NS;
    let scratch = BLOCK_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's scratch. A program of this kind is not entered again on the same CPU
    // (the kernel refuses recursion), and preemption is off.
    unsafe {
        let lengths = if with_stack {
            stack::take(ctx.as_ptr(), &raw mut (*scratch).stack)
        } else {
            StackLengths::NONE
        };
        (*scratch).record = BioRecord {
            header: RecordHeader {
                ktime_ns: now,
                kind: KIND_BIO,
                cpu: bpf_get_smp_processor_id(),
                tgid,
                tid,
            },
            sector: read(bio, offset!(bio_sector)).unwrap_or(0),
            dev,
            opf,
            bytes,
            reserved: 0,
            stack: lengths,
        };
        let size = size_of::<BioRecord>() + stack::bytes(&lengths);
        let bytes = core::slice::from_raw_parts(scratch.cast::<u8>(), size);
        if RECORDS.output::<[u8]>(bytes, NO_WAKEUP).is_err() {
            loss::count(reason::BIO_RECORD);
        } else if with_stack {
            let _ = BLOCK_STACK_TIMES.insert(tid, now, 0);
        }
    }
    Some(())
}

/// `block:block_split(bio, new_sector)`: `bio` is a new one for the front of the one that its
/// `bi_private` names (`bio_chain`, `block/bio.c`), which keeps the rest.
#[btf_tracepoint(function = "block_split")]
pub fn block_split(ctx: BtfTracePointContext) -> i32 {
    if any_under_way() {
        try_block_split(arg(&ctx, offset!(bio_split_arg)));
    }
    0
}

#[inline(always)]
fn try_block_split(front: *const c_void) -> Option<()> {
    let rest = read::<u64>(front, offset!(bio_private))?;
    let entry = BLOCK_BIOS.get_ptr_mut(rest)?;
    let front_bytes = read::<u32>(front, offset!(bio_size))?;
    // SAFETY: a live map value: an entry goes only when its bio completes, and this one has not.
    let bio = unsafe {
        (*entry).bytes = (*entry).bytes.saturating_sub(front_bytes);
        Bio {
            bytes: front_bytes,
            in_device: 0,
            ..*entry
        }
    };
    if BLOCK_BIOS.insert(front as u64, bio, 0).is_err() {
        loss::count(reason::BIO_SLOT);
        return None;
    }
    count_bio(bio.dev, bio.owned, 1);
    Some(())
}

/// `block:block_rq_issue(request)`: the request goes to the device.
#[btf_tracepoint(function = "block_rq_issue")]
pub fn block_rq_issue(ctx: BtfTracePointContext) -> i32 {
    if any_under_way() {
        try_block_rq_issue(arg(&ctx, offset!(rq_issue_arg)));
    }
    0
}

#[inline(always)]
fn try_block_rq_issue(request: *const c_void) -> Option<()> {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let mut bio = read::<u64>(request, offset!(request_bio))?;
    // Where it is not known, nothing is behind anybody.
    let others_clock = enters(bio, now).unwrap_or(u64::MAX);
    for _ in 0..MAX_BIOS_PER_REQUEST {
        if bio == 0 {
            return Some(());
        }
        if let Some(entry) = BLOCK_BIOS.get_ptr_mut(bio) {
            // SAFETY: a live map value; its bio is in this request, which is not complete.
            unsafe {
                (*entry).issued_ktime_ns = now;
                (*entry).others_clock = others_clock;
            }
        }
        bio = read::<u64>(bio as *const c_void, offset!(bio_next))?;
    }
    loss::count(reason::BIO_CHAIN);
    None
}

/// A request goes into the device; its first bio stands for it. One that is issued again, after the
/// device could not take it, is in already. Returns the device's clock of others' requests.
#[inline(always)]
fn enters(first: u64, now: u64) -> Option<u64> {
    if !recording() {
        return None;
    }
    let entry = BLOCK_BIOS.get_ptr_mut(first)?;
    // SAFETY: a live map value; its bio is in this request, which is not complete.
    unsafe {
        if (*entry).in_device == 0 {
            let device = neighbour::device((*entry).dev)?;
            let (clock, others_clock) = neighbour::enters(device, (*entry).owned, now);
            (*entry).clock = clock;
            (*entry).others_clock = others_clock;
            (*entry).in_device = 1;
        }
        Some((*entry).others_clock)
    }
}

/// `block:block_rq_complete(request, error, bytes)`: that many bytes of the request are done,
/// bio by bio from its first.
#[btf_tracepoint(function = "block_rq_complete")]
pub fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    if any_under_way() {
        try_block_rq_complete(&ctx);
    }
    0
}

#[inline(always)]
fn try_block_rq_complete(ctx: &BtfTracePointContext) -> Option<()> {
    let request: *const c_void = ctx.arg(0);
    let error = ctx.arg::<i32>(1);
    let mut left = ctx.arg::<u32>(2);
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let mut bio = read::<u64>(request, offset!(request_bio))?;
    for i in 0..MAX_BIOS_PER_REQUEST {
        if bio == 0 {
            return Some(());
        }
        let bytes = read::<u32>(bio as *const c_void, offset!(bio_size))?;
        if bytes > left {
            // The rest of this bio is still to come.
            return Some(());
        }
        left -= bytes;
        let next = read::<u64>(bio as *const c_void, offset!(bio_next))?;
        block_bio_done(bio, bytes, error, now, u32::from(i == 0));
        bio = next;
    }
    loss::count(reason::BIO_CHAIN);
    None
}

/// `block:block_bio_complete(queue, bio)`: for devices that handle bios without requests (device
/// mapper, zram); bios in requests were completed above.
#[btf_tracepoint(function = "block_bio_complete")]
pub fn block_bio_complete(ctx: BtfTracePointContext) -> i32 {
    if any_under_way() {
        let bio: *const c_void = ctx.arg(1);
        // Its iterator is used up by now; the size went with it. Not by way of `block_bio_done`:
        // the verifier takes no pointer for a number.
        // SAFETY: no arguments.
        try_block_bio_done(bio as u64, 0, 0, unsafe { bpf_ktime_get_ns() }, 1);
    }
    0
}

/// A bio is done. A function of global linkage and plain numbers: the verifier checks it once, not
/// once for each turn of the loop that calls it, which exceeds its limit of a million steps.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn block_bio_done(
    address: u64,
    bytes: u32,
    error: i32,
    now: u64,
    first: u32,
) -> i32 {
    try_block_bio_done(address, bytes, error, now, first);
    0
}

/// Adds a completed bio to the sums and records it.
#[inline(always)]
fn try_block_bio_done(address: u64, bytes: u32, error: i32, now: u64, first: u32) -> Option<()> {
    // SAFETY: copied at once; only the completion of a bio removes its entry.
    let bio = *unsafe { BLOCK_BIOS.get(address) }?;
    if BLOCK_BIOS.remove(address).is_ok() {
        count_under_way(-1);
    }
    // A bio without a request is used up by now, and tells no size any more.
    let bytes = if bio.issued_ktime_ns == 0 {
        bio.bytes
    } else {
        bytes
    };
    neighbour::bio_done(&bio, bytes, first, now);
    if bio.watched == 0 {
        return Some(());
    }
    ship::window(now)?;
    add(&bio, bytes, error, now);
    if !recording() {
        return Some(());
    }
    let record = BioDoneRecord {
        header: RecordHeader {
            ktime_ns: now,
            kind: KIND_BIO_DONE,
            // SAFETY: no arguments.
            cpu: unsafe { bpf_get_smp_processor_id() },
            tgid: bio.tgid,
            tid: bio.tid,
        },
        queued_ktime_ns: bio.queued_ktime_ns,
        issued_ktime_ns: bio.issued_ktime_ns,
        dev: bio.dev,
        opf: bio.opf,
        bytes,
        error,
    };
    if RECORDS.output::<BioDoneRecord>(&record, NO_WAKEUP).is_err() {
        loss::count(reason::BIO_RECORD);
    }
    Some(())
}

#[inline(always)]
fn add(bio: &Bio, bytes: u32, error: i32, now: u64) -> Option<()> {
    let op = bio.opf & OP_MASK;
    let key = BlockKey {
        tgid: bio.tgid,
        tid: bio.tid,
        dev: bio.dev,
        op: if op == OP_WRITE && bytes == 0 {
            OP_FLUSH
        } else {
            op
        },
    };
    let totals = match BLOCK_TOTALS.get_ptr_mut(key) {
        Some(totals) => totals,
        None => {
            let _ = BLOCK_TOTALS.insert(key, BLOCK_NEW_TOTALS.get(0)?, 1);
            let Some(totals) = BLOCK_TOTALS.get_ptr_mut(key) else {
                loss::count(reason::BLOCK_SLOT);
                return None;
            };
            totals
        }
    };
    let issued = if bio.issued_ktime_ns != 0 {
        bio.issued_ktime_ns
    } else {
        bio.queued_ktime_ns
    };
    let (queue_ns, device_ns) = (issued - bio.queued_ktime_ns, now - issued);
    let (queue_bucket, device_bucket) = (histogram::index(queue_ns), histogram::index(device_ns));
    // SAFETY: a live map value. Completions of one process may run on several CPUs at once, so
    // the sums are atomic.
    unsafe {
        atomic::add(&raw mut (*totals).count, 1);
        atomic::add(&raw mut (*totals).bytes, u64::from(bytes));
        atomic::add(&raw mut (*totals).queue_ns, queue_ns);
        atomic::add(&raw mut (*totals).device_ns, device_ns);
        if error != 0 {
            atomic::add(&raw mut (*totals).errors, 1);
        }
        if queue_ns + device_ns > (*totals).max_ns {
            (*totals).max_ns = queue_ns + device_ns;
        }
        if queue_bucket < histogram::BUCKETS && device_bucket < histogram::BUCKETS {
            (*totals).queue_buckets[queue_bucket] += 1;
            (*totals).device_buckets[device_bucket] += 1;
        }
    }
    Some(())
}
