//! Who else used the CPU that a thread of the ship waited for, and the devices of its pier.
//!
//! **CPU.** Who ran last before the thread came on says little of a wait through which several tasks
//! ran. So while any thread of the ship waits, each CPU keeps its latest runs, and when a waiting thread
//! comes onto a CPU, its whole wait is charged to what ran there meanwhile. A switch between tasks of
//! others costs one load more as long as no thread of the ship waits; while one does, all CPUs keep
//! their runs, because where a woken thread will run is known only in the end. A thread that moves to
//! another CPU is charged to what ran where it came to run.
//!
//! **Devices.** A bio of others is followed like one of the ship, but only on the devices that user
//! space named, without a record and without a stack. By process: count, bytes and time in the device.
//! When the ship queues a bio, what is under way there says how much of its time it is behind others:
//! a device serves what it has, whoever sent it.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_task};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray};
use core::ffi::c_void;
use core::ptr;
use profiler_common::block::{Bio, OP_MASK, OP_READ, OP_WRITE};
use profiler_common::loss as reason;
use profiler_common::neighbour::{
    AheadKey, AheadTotals, CLOCK_UNITS, DeviceTotals, FORGOTTEN, IoKey, IoTotals, KIND_FLUSH,
    KIND_READ, KIND_WRITE, MAX_BIOS, MAX_DEVICES, MIN_AHEAD_NS, RUNS, Run, Runs,
};
use profiler_common::ship::Window;
use profiler_common::writeback::Owner;

use crate::kernel::{Task, offset, read};
use crate::{atomic, loss, recording, ship, writeback};

/// How many threads of the ship wait for a CPU. A global: every switch of the machine looks at it, and a
/// global is one load where a map's value is a look-up.
#[unsafe(no_mangle)]
static mut NEIGHBOUR_WAITING: u64 = 0;

/// The latest runs of each CPU, while a thread of the ship waits.
#[map]
static NEIGHBOUR_RUNS: PerCpuArray<Runs> = PerCpuArray::with_max_entries(1, 0);

/// What ran while threads of the ship waited.
#[map]
static NEIGHBOUR_AHEAD: HashMap<AheadKey, AheadTotals> = HashMap::with_max_entries(1024, 0);

/// The devices of the pier. User space names them.
#[map]
static NEIGHBOUR_DEVICES: HashMap<u32, DeviceTotals> =
    HashMap::with_max_entries(MAX_DEVICES as u32, 0);

/// Their I/O by process.
#[map]
static NEIGHBOUR_IO: HashMap<IoKey, IoTotals> = HashMap::with_max_entries(2048, 0);

/// Whether a thread of the ship waits for a CPU.
#[inline(always)]
pub fn any_waits() -> bool {
    // SAFETY: aligned, and only ever changed by one instruction.
    recording() && unsafe { (&raw const NEIGHBOUR_WAITING).read_volatile() } != 0
}

/// A thread of the ship begins to wait for a CPU (1), or does not any more (-1).
#[inline(always)]
pub fn count_waiting(difference: i64) {
    if recording() {
        atomic::add(&raw mut NEIGHBOUR_WAITING, difference as u64);
    }
}

/// The current task leaves this CPU. One of the ship needs no name.
#[inline(always)]
pub fn ran(prev: Task, tgid: u32, watched: bool, now: u64) -> Option<()> {
    let runs = NEIGHBOUR_RUNS.get_ptr_mut(0)?;
    // SAFETY: this CPU's value, and switches on a CPU come one by one.
    unsafe {
        let place = (*runs).count as usize & (RUNS - 1);
        (*runs).count += 1;
        let run = &raw mut (*runs).runs[place];
        (*run).until_ktime_ns = now;
        (*run).tgid = tgid;
        if !watched {
            (*run).flags = prev.flags();
            let comm = &raw mut (*run).comm;
            comm.cast::<[u64; 2]>().write(prev.comm_words());
        }
    }
    Some(())
}

/// A thread of `waiter_tgid` comes onto this CPU, for which it has waited since `since_ktime_ns`.
#[inline(always)]
pub fn waited(waiter_tgid: u32, since_ktime_ns: u64, now: u64, window: &Window) {
    if recording() && window.holds(now) && window.part(since_ktime_ns, now) >= MIN_AHEAD_NS {
        charge(waiter_tgid, since_ktime_ns.max(window.start_ktime_ns));
    }
}

/// Charges the time from `from_ktime_ns` until now to what ran on this CPU. The last run ends now.
#[inline(never)]
fn charge(waiter_tgid: u32, from_ktime_ns: u64) -> Option<()> {
    let runs = NEIGHBOUR_RUNS.get_ptr(0)?;
    // SAFETY: this CPU's value; it is written at switches of this CPU only, and this is one.
    unsafe {
        let count = (*runs).count as usize;
        let mut last = &raw const (*runs).runs[count.wrapping_sub(1) & (RUNS - 1)];
        for back in 2..=RUNS {
            let before = &raw const (*runs).runs[count.wrapping_sub(back) & (RUNS - 1)];
            let begun = (*before).until_ktime_ns.max(from_ktime_ns);
            add(waiter_tgid, last, (*last).tgid, begun);
            if (*before).until_ktime_ns <= from_ktime_ns {
                return Some(());
            }
            last = before;
        }
        // The oldest run's beginning is not kept any more, and neither is what was before.
        add(waiter_tgid, last, FORGOTTEN, from_ktime_ns);
    }
    Some(())
}

/// # Safety
/// `run` must be a live map value.
#[inline(always)]
unsafe fn add(waiter_tgid: u32, run: *const Run, tgid: u32, begun_ktime_ns: u64) -> Option<()> {
    let key = AheadKey { waiter_tgid, tgid };
    // SAFETY: by the contract; totals are a live map value, and changed on several CPUs at once.
    unsafe {
        let ns = (*run).until_ktime_ns.saturating_sub(begun_ktime_ns);
        let Some(totals) = NEIGHBOUR_AHEAD.get_ptr_mut(key) else {
            let totals = AheadTotals {
                total_ns: ns,
                runs: 1,
                flags: (*run).flags,
                reserved: 0,
                comm: (*run).comm,
            };
            if NEIGHBOUR_AHEAD.insert(key, totals, 0).is_err() {
                loss::count(reason::NEIGHBOUR_SLOT);
            }
            return None;
        };
        atomic::add(&raw mut (*totals).total_ns, ns);
        atomic::add(&raw mut (*totals).runs, 1);
    }
    Some(())
}

/// A device of the pier.
#[inline(always)]
pub fn device(dev: u32) -> Option<*mut DeviceTotals> {
    // By way of a pointer that always has a value: while sampling, the payload of a `None` would be a
    // register that nothing was written to, which the verifier lets nobody copy.
    let device = if recording() {
        NEIGHBOUR_DEVICES
            .get_ptr_mut(dev)
            .unwrap_or(ptr::null_mut())
    } else {
        ptr::null_mut()
    };
    (!device.is_null()).then_some(device)
}

/// What is under way on a device: the ship's bios, others'.
#[inline(always)]
pub fn under_way(device: *const DeviceTotals) -> (u32, u32) {
    // SAFETY: a live map value; entries are never removed. A racy read does.
    unsafe { ((*device).own as u32, (*device).others as u32) }
}

/// A bio is under way on a device of the pier (1), or done (-1).
#[inline(always)]
pub fn count_bio(device: *mut DeviceTotals, owned: u32, difference: i64) {
    // SAFETY: a live map value; entries are never removed.
    let counter = unsafe {
        if owned != 0 {
            &raw mut (*device).own
        } else {
            &raw mut (*device).others
        }
    };
    atomic::add(counter, difference as u64);
}

/// Whether a device takes bios without requests.
#[inline(always)]
pub fn takes_bios(device: *const DeviceTotals) -> bool {
    // SAFETY: a live map value; entries are never removed.
    unsafe { (*device).takes_bios != 0 }
}

/// Brings a device's clock up to now. Two CPUs at once may both add the time since the last change: it
/// takes them to meet within the few nanoseconds of this function, and an exact way would take a lock,
/// which tracing programs may not hold before 6.x, or a compare-and-swap, which came with 5.12.
#[inline(always)]
fn advance(device: *mut DeviceTotals, now: u64) {
    let Some(window) = ship::opened(now) else {
        return;
    };
    let now = now.min(window.end_ktime_ns);
    // SAFETY: a live map value; entries are never removed.
    unsafe {
        let since = (*device).changed_ktime_ns.max(window.start_ktime_ns);
        let requests = (*device).in_device;
        if now <= since {
            return;
        }
        (*device).changed_ktime_ns = now;
        // A number that was lowered too often would be huge.
        if requests != 0 && requests < MAX_BIOS * 2 {
            let ns = now - since;
            atomic::add(&raw mut (*device).busy_ns, ns);
            atomic::add(&raw mut (*device).clock, ns * CLOCK_UNITS / requests);
            let others = requests.saturating_sub((*device).own_in_device);
            atomic::add(
                &raw mut (*device).others_clock,
                ns * CLOCK_UNITS * others / requests,
            );
        }
    }
}

/// A request enters a device. Returns the device's clock, and that of others' requests.
#[inline(always)]
pub fn enters(device: *mut DeviceTotals, owned: u32, now: u64) -> (u64, u64) {
    advance(device, now);
    // SAFETY: a live map value; entries are never removed.
    unsafe {
        atomic::add(&raw mut (*device).in_device, 1);
        if owned != 0 {
            atomic::add(&raw mut (*device).own_in_device, 1);
        }
        ((*device).clock, (*device).others_clock)
    }
}

/// A request leaves a device. Returns the device's clock.
#[inline(always)]
pub fn leaves(device: *mut DeviceTotals, owned: u32, now: u64) -> u64 {
    advance(device, now);
    // SAFETY: a live map value; entries are never removed.
    unsafe {
        atomic::add(&raw mut (*device).in_device, 1u64.wrapping_neg());
        if owned != 0 {
            atomic::add(&raw mut (*device).own_in_device, 1u64.wrapping_neg());
        }
        (*device).clock
    }
}

/// Makes the entry of the process that is charged for a bio, because only now is its name at hand.
#[inline(always)]
pub fn name_queuer(bio: &Bio, owner: Option<*const Owner>) {
    let key = io_key(bio);
    if NEIGHBOUR_IO.get_ptr(key).is_some() {
        return;
    }
    let (flags, comm) = match owner {
        // SAFETY: a live map value, which `writeback::origin` found in this run.
        Some(owner) => unsafe { ((*owner).flags, (*owner).comm) },
        None => {
            // SAFETY: no arguments.
            let task = unsafe { bpf_get_current_task() } as *const c_void;
            let flags = read(task, offset!(task_flags)).unwrap_or(0);
            (flags, bpf_get_current_comm().unwrap_or_default())
        }
    };
    let totals = IoTotals {
        count: 0,
        bytes: 0,
        device_ns: 0,
        busy_ns: 0,
        flags,
        reserved: 0,
        comm,
    };
    // `BPF_NOEXIST`: another CPU may have been first, and counted already.
    if NEIGHBOUR_IO.insert(key, totals, 1).is_err() && NEIGHBOUR_IO.get_ptr(key).is_none() {
        loss::count(reason::NEIGHBOUR_SLOT);
    }
}

#[inline(always)]
fn io_key(bio: &Bio) -> IoKey {
    IoKey {
        dev: bio.dev,
        tgid: bio.tgid,
        via: bio.via,
        reserved: 0,
    }
}

/// A bio that is followed is done. `first` is 0 for all bios of a request but its first.
#[inline(always)]
pub fn bio_done(bio: &Bio, bytes: u32, first: u32, now: u64) -> Option<()> {
    let device = device(bio.dev)?;
    count_bio(device, bio.owned, -1);
    let busy_ns = if bio.in_device != 0 {
        leaves(device, bio.owned, now).saturating_sub(bio.clock) / CLOCK_UNITS
    } else {
        0
    };
    ship::window(now)?;
    let issued = if bio.issued_ktime_ns != 0 {
        bio.issued_ktime_ns
    } else {
        bio.queued_ktime_ns
    };
    let (queue_ns, device_ns) = (issued - bio.queued_ktime_ns, now.saturating_sub(issued));
    let bytes = match bio.opf & OP_MASK {
        OP_READ | OP_WRITE => u64::from(bytes),
        _ => 0,
    };
    if bio.owned != 0 {
        writeback::bio_done(bio, bytes, queue_ns, device_ns, busy_ns);
    }
    let key = io_key(bio);
    // Where it has no entry, that was counted as a loss when it was queued.
    if let Some(totals) = NEIGHBOUR_IO.get_ptr_mut(key) {
        // SAFETY: a live map value; entries are never removed.
        unsafe {
            atomic::add(&raw mut (*totals).count, 1);
            atomic::add(&raw mut (*totals).bytes, bytes);
            atomic::add(&raw mut (*totals).busy_ns, busy_ns);
            if first != 0 {
                atomic::add(&raw mut (*totals).device_ns, device_ns);
            }
        }
    }
    if bio.watched != 0 {
        let (own, others) = (u64::from(bio.ahead_own), u64::from(bio.ahead_others));
        let kind = match bio.opf & OP_MASK {
            OP_READ => KIND_READ,
            // `bio.bytes` is its size when it was queued.
            OP_WRITE if bio.bytes == 0 => KIND_FLUSH,
            _ => KIND_WRITE,
        };
        // SAFETY: a live map value; entries are never removed.
        unsafe {
            let behind_ns = (*device).others_clock.saturating_sub(bio.others_clock) / CLOCK_UNITS;
            let behind_ns = behind_ns.min(device_ns);
            atomic::add(&raw mut (*device).queue_ns, queue_ns);
            atomic::add(&raw mut (*device).device_ns, device_ns);
            atomic::add(&raw mut (*device).device_behind_ns, behind_ns);
            if others != 0 {
                let behind_ns = queue_ns * others / (own + others);
                atomic::add(&raw mut (*device).queue_behind_ns, behind_ns);
            }
            let times = if behind_ns == 0 {
                &raw mut (*device).alone[kind]
            } else {
                &raw mut (*device).beside[kind]
            };
            atomic::add(&raw mut (*times).count, 1);
            atomic::add(&raw mut (*times).total_ns, device_ns);
            atomic::add(&raw mut (*times).behind_ns, behind_ns);
        }
    }
    Some(())
}
