//! The Hoon stack of mars' main thread, read from its memory at a sample. The thread is the one that the
//! sampling clock interrupted, so nothing changes under the walk; what is not in memory is not paged
//! in, and ends it (`profiler/src/hoon/walk.rs` is the same in plain Rust).

use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::macros::{map, perf_event};
use aya_ebpf::maps::{PerCpuArray, ProgramArray};
use aya_ebpf::programs::PerfEventContext;
use profiler_common::hoon::LOOM_START;
use profiler_common::hoon::{
    END_ABSENT, END_FRAMES, END_LAYOUT, END_MALFORMED, END_ROADS, END_WHOLE, FRAME_ABSENT,
    FRAME_HUNK, FRAME_LOSE, FRAME_MEAN, FRAME_OTHER, FRAME_ROAD_SHIFT, FRAME_SPOT, FRAME_TEXT,
    HoonFrame, HoonRecord, HoonScratch, MAX_FRAMES, MAX_ROADS, TAG_HUNK, TAG_LOSE, TAG_MEAN,
    TAG_SPOT, V4, is_cell, is_direct, road_address,
};
use profiler_common::loss as reason;
use profiler_common::record::{KIND_HOON, RecordHeader};

use crate::{NO_WAKEUP, RECORDS, loss, ship};

/// Where a stack is walked and its record built. All that a step of the walk leaves to the next is kept
/// here and not in registers, so that to the verifier every step is like the one before.
#[map]
static HOON_SCRATCH: PerCpuArray<HoonScratch> = PerCpuArray::with_max_entries(1, 0);

/// Steps of the walk: one for each hint, one to leave each road, one to find that there are too many.
const MAX_STEPS: usize = MAX_FRAMES + MAX_ROADS + 1;

/// The program that walks: one of its own, because with the C stack before it the kernel's verifier would
/// meet more branches than older ones allow (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
#[map]
static HOON_PROGRAM: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// A watched thread was sampled: records its Hoon stack if it is one that computes Nock. Returns only if
/// not, or if the program was refused.
#[inline(always)]
pub fn sampled(ctx: &PerfEventContext, header: RecordHeader) -> Option<()> {
    // The king computes with a small kernel of its own, which tells nothing.
    if header.tgid != header.tid || ship::is_king(header.tgid) {
        return None;
    }
    let scratch = HOON_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: this CPU's scratch; perf events of one CPU do not nest. Nothing here needs to be dropped.
    unsafe {
        (*scratch).record = HoonRecord {
            header: RecordHeader {
                kind: KIND_HOON,
                ..header
            },
            event_number: 0,
            end: END_WHOLE,
            roads: 0,
            frame_bytes: 0,
            zero: 0,
        };
        (*scratch).count = 0;
        HOON_PROGRAM.tail_call(ctx, 0);
    }
    Some(())
}

/// The rest of a sample of `cpu_clock`.
#[perf_event]
pub fn cpu_clock_hoon(_ctx: PerfEventContext) -> u32 {
    if let Some(scratch) = HOON_SCRATCH.get_ptr_mut(0) {
        // SAFETY: as in `sampled`, which has begun the record.
        unsafe {
            (*scratch).record.end = match find_roads(scratch) {
                Ok(()) => walk(scratch),
                Err(end) => end,
            };
            output(scratch);
        }
    }
    0
}

/// Notes the addresses of all roads and the beginning of the innermost one's list.
#[inline(always)]
unsafe fn find_roads(scratch: *mut HoonScratch) -> Result<(), u32> {
    let [version, parameters, event_number]: [u64; 3] = read(LOOM_START).ok_or(END_ABSENT)?;
    if version != V4.version || parameters & V4.parameters_mask != V4.parameters {
        return Err(END_LAYOUT);
    }
    // SAFETY: by the caller.
    unsafe { (*scratch).record.event_number = event_number };
    let mut road = V4.home();
    for index in 0..MAX_ROADS {
        // SAFETY: by the caller.
        unsafe {
            (*scratch).roads[index] = road;
            (*scratch).record.roads = index as u32 + 1;
        }
        match read::<u32>(road + V4.kid as u64).ok_or(END_ABSENT)? {
            0 => {
                // SAFETY: by the caller.
                unsafe {
                    (*scratch).road = index as u32;
                    (*scratch).list = read(road + V4.tax as u64).ok_or(END_ABSENT)?;
                }
                return Ok(());
            }
            kid => road = road_address(kid),
        }
    }
    Err(END_ROADS)
}

#[inline(always)]
unsafe fn walk(scratch: *mut HoonScratch) -> u32 {
    for _ in 0..MAX_STEPS {
        // SAFETY: by the caller.
        if let Err(end) = unsafe { step(scratch) } {
            return end;
        }
    }
    END_FRAMES
}

/// Takes one hint, or leaves a road whose list is at its end. The error is how the walk ends.
#[inline(always)]
unsafe fn step(scratch: *mut HoonScratch) -> Result<(), u32> {
    // SAFETY: by the caller. Volatile, so that nothing is carried from step to step in registers.
    let (list, road, count) = unsafe {
        (
            (&raw const (*scratch).list).read_volatile(),
            (&raw const (*scratch).road).read_volatile(),
            (&raw const (*scratch).count).read_volatile() as usize,
        )
    };
    if list == 0 {
        if road == 0 {
            return Err(END_WHOLE);
        }
        let outer = (road - 1) as usize & (MAX_ROADS - 1);
        // SAFETY: by the caller; the index is masked.
        unsafe {
            let address = (&raw const (*scratch).roads)
                .cast::<u64>()
                .add(outer)
                .read_volatile();
            (&raw mut (*scratch).road).write_volatile(outer as u32);
            let list = read(address + V4.tax as u64).ok_or(END_ABSENT)?;
            (&raw mut (*scratch).list).write_volatile(list);
        }
        return Ok(());
    }
    if !is_cell(list) {
        return Err(END_MALFORMED);
    }
    if count >= MAX_FRAMES {
        return Err(END_FRAMES);
    }
    let (entry, rest) = cell(list).ok_or(END_ABSENT)?;
    if !is_cell(entry) {
        return Err(END_MALFORMED);
    }
    let (tag, data) = cell(entry).ok_or(END_ABSENT)?;
    let mut frame = frame(tag, data);
    frame.kind |= road << FRAME_ROAD_SHIFT;
    // SAFETY: by the caller; the index is masked.
    unsafe {
        let frames = (&raw mut (*scratch).frames).cast::<HoonFrame>();
        frames.add(count & (MAX_FRAMES - 1)).write_volatile(frame);
        (&raw mut (*scratch).count).write_volatile(count as u32 + 1);
        (&raw mut (*scratch).list).write_volatile(rest);
    }
    Ok(())
}

/// What a hint is: the noun that tells it, and its hash.
#[inline(always)]
fn frame(tag: u32, data: u32) -> HoonFrame {
    let mut kind = match tag {
        TAG_SPOT => FRAME_SPOT,
        TAG_MEAN if is_cell(data) => FRAME_MEAN,
        TAG_MEAN => FRAME_TEXT,
        TAG_HUNK => FRAME_HUNK,
        TAG_LOSE => FRAME_LOSE,
        _ => FRAME_OTHER,
    };
    let mut noun = if kind == FRAME_OTHER { tag } else { data };
    if kind == FRAME_MEAN {
        match cell(data) {
            Some((battery, _)) => noun = battery,
            None => kind |= FRAME_ABSENT,
        }
    }
    let mut mug = 0;
    if !is_direct(noun) && kind & FRAME_ABSENT == 0 {
        match read::<[u32; 2]>(V4.address(noun)) {
            Some([_, hash]) => mug = hash,
            None => kind |= FRAME_ABSENT,
        }
    }
    HoonFrame { kind, noun, mug }
}

/// Head and tail.
#[inline(always)]
fn cell(reference: u32) -> Option<(u32, u32)> {
    let [head, tail] = read::<[u32; 2]>(V4.address(reference) + 8)?;
    Some((head, tail))
}

#[inline(always)]
fn read<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper checks the address, and neither faults nor waits.
    unsafe { bpf_probe_read_user(address as *const T).ok() }
}

#[inline(always)]
unsafe fn output(scratch: *mut HoonScratch) {
    // SAFETY: by the caller; the length is bounded by what the scratch holds.
    unsafe {
        let count = (&raw const (*scratch).count).read_volatile() as usize;
        if count > MAX_FRAMES {
            return;
        }
        let frame_bytes = count * size_of::<HoonFrame>();
        (*scratch).record.frame_bytes = frame_bytes as u32;
        let size = size_of::<HoonRecord>() + frame_bytes;
        let bytes = core::slice::from_raw_parts(scratch.cast::<u8>(), size);
        if RECORDS.output::<[u8]>(bytes, NO_WAKEUP).is_err() {
            loss::count(reason::HOON_RECORD);
        }
    }
}
