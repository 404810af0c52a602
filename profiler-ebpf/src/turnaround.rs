//! Sampling mode: how long events take, from the king's message to mars' answer. Both are seen where the
//! sockets are, so that nobody else's system calls become slower for it.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user};
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use core::hint::black_box;
use profiler_common::histogram;
use profiler_common::syscall::{FRAME_HEADER_BYTES, IoVector};
use profiler_common::turnaround::{Turnaround, UNDER_WAY, is_poke};

use crate::atomic::add;
use crate::kernel::syscall_arguments;
use crate::ship;

/// Sums by a ship's number. User space enters the ships; nothing else is counted.
#[map]
static TURNAROUND: HashMap<u32, Turnaround> = HashMap::with_max_entries(256, NO_PREALLOC);

/// `BPF_F_NO_PREALLOC` (`include/uapi/linux/bpf.h`).
const NO_PREALLOC: u32 = 1;

/// The noun of a frame whose parts are at `vectors` (`pkg/vere/newt.c`): nothing if it is none. The error
/// is that the parts cannot be read.
#[inline(always)]
pub fn frame(vectors: u64, count: u64) -> Result<Option<IoVector>, ()> {
    // The header and the noun; libuv writes each message by itself.
    if count != 2 {
        return Ok(None);
    }
    // SAFETY: the helper checks the address.
    let Ok([header, noun]) = (unsafe { bpf_probe_read_user(vectors as *const [IoVector; 2]) })
    else {
        return Err(());
    };
    if header.length != FRAME_HEADER_BYTES {
        return Ok(None);
    }
    // A header that is not in memory cannot be checked. The frame is kept: its descriptor tells.
    // SAFETY: as above.
    if let Ok(bytes) = unsafe { bpf_probe_read_user(header.base as *const [u8; 5]) } {
        let length = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        if bytes[0] != 0 || u64::from(length) != noun.length {
            return Ok(None);
        }
    }
    Ok(Some(noun))
}

/// The current thread has sent `bytes` into a socket that is none of datagrams or of a network.
#[inline(always)]
pub fn sent(bytes: i32) -> Option<()> {
    let id = bpf_get_current_pid_tgid();
    let tgid = (id >> 32) as u32;
    if tgid != id as u32 || bytes <= FRAME_HEADER_BYTES as i32 || !ship::may_watch(tgid) {
        return None;
    }
    let [syscall_nr, vectors, count] = syscall_arguments()?;
    if syscall_nr != profiler_common::arch::WRITEV as u64 {
        return None;
    }
    message(tgid, frame(vectors, count).ok()??)
}

/// The main thread of a process sends a frame with this noun.
#[inline(always)]
pub fn message(tgid: u32, noun: IoVector) -> Option<()> {
    let process = ship::process(tgid)?;
    // SAFETY: the helper checks the address; no arguments.
    let (first, now) = unsafe {
        (
            bpf_probe_read_user(noun.base as *const u64).ok()?,
            bpf_ktime_get_ns(),
        )
    };
    if !is_poke(first) {
        return None;
    }
    ship::window(now)?;
    // SAFETY: live map values. What the king changes and what mars does are apart.
    unsafe {
        let sums = TURNAROUND.get_ptr_mut((*process).ship)?;
        if (*process).is_king != 0 {
            asked(sums, now);
        } else {
            answered(sums, now);
        }
    }
    Some(())
}

#[inline(always)]
unsafe fn asked(sums: *mut Turnaround, now: u64) {
    // SAFETY: by the caller; the index is masked.
    unsafe {
        let sent = (&raw const (*sums).sent).read_volatile();
        let answered = (&raw const (*sums).answered).read_volatile();
        let under_way = sent.wrapping_sub(answered);
        if under_way as usize >= UNDER_WAY {
            // More than can be: answers were not seen.
            add(&raw mut (*sums).unmatched, u64::from(under_way));
            (&raw mut (*sums).answered).write_volatile(sent);
        }
        let times = (&raw mut (*sums).sent_ktime_ns).cast::<u64>();
        let place = sent as usize & (UNDER_WAY - 1);
        times.add(place).write_volatile(now);
        (&raw mut (*sums).sent).write_volatile(sent.wrapping_add(1));
    }
}

#[inline(always)]
unsafe fn answered(sums: *mut Turnaround, now: u64) {
    // SAFETY: by the caller; the indices are masked or compared.
    unsafe {
        let answered = (&raw const (*sums).answered).read_volatile();
        if answered == (&raw const (*sums).sent).read_volatile() {
            add(&raw mut (*sums).unmatched, 1);
            return;
        }
        let times = (&raw const (*sums).sent_ktime_ns).cast::<u64>();
        let place = answered as usize & (UNDER_WAY - 1);
        let took_ns = now.saturating_sub(times.add(place).read_volatile());
        (&raw mut (*sums).answered).write_volatile(answered.wrapping_add(1));
        (*sums).count += 1;
        (*sums).total_ns += took_ns;
        // LLVM sees that it is in bounds, and would leave out the check that the verifier needs.
        let bucket = black_box(histogram::index(took_ns));
        if bucket < histogram::BUCKETS {
            (*sums).buckets[bucket] += 1;
        }
    }
}
