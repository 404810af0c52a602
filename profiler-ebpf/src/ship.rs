//! Which tasks are watched, and when.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use profiler_common::loss as reason;
use profiler_common::ship::{FILTER_SLOTS, ShipProcess, Window, filter_slot};

use crate::loss;

/// 1 where a watched process may hash to. Never cleared: a stale 1 costs a look-up, no more.
#[map]
static SHIP_FILTER: Array<u8> = Array::with_max_entries(FILTER_SLOTS, 0);

/// The watched processes, by host process id.
#[map]
static SHIP_PROCESSES: HashMap<u32, ShipProcess> = HashMap::with_max_entries(1024, 0);

/// The capture's window; one entry.
#[map]
static SHIP_WINDOW: Array<Window> = Array::with_max_entries(1, 0);

/// Whether a process may be watched: no is certain, and nearly every other process is answered by it.
#[inline(always)]
pub fn may_watch(tgid: u32) -> bool {
    matches!(SHIP_FILTER.get(filter_slot(tgid)), Some(1))
}

/// Whether a process is watched.
#[inline(always)]
pub fn watches(tgid: u32) -> bool {
    may_watch(tgid) && SHIP_PROCESSES.get_ptr(tgid).is_some()
}

/// The entry of a process, if it is watched.
#[inline(always)]
pub fn process(tgid: u32) -> Option<*mut ShipProcess> {
    if !may_watch(tgid) {
        return None;
    }
    SHIP_PROCESSES.get_ptr_mut(tgid)
}

/// Whether a process is watched, and a king.
#[inline(always)]
pub fn is_king(tgid: u32) -> bool {
    // SAFETY: a live map value; entries are never removed while their process lives.
    process(tgid).is_some_and(|process| unsafe { (*process).is_king != 0 })
}

/// Watches `child` if `parent` is watched: a king that starts its mars again.
#[inline(always)]
pub fn follow(parent: u32, child: u32) {
    let Some(process) = SHIP_PROCESSES.get_ptr(parent) else {
        return;
    };
    // SAFETY: a live map value; entries are never removed.
    let process = ShipProcess {
        ship: unsafe { (*process).ship },
        followed: 1,
        is_king: 0,
        commits: 0,
        turn_ktime_ns: 0,
    };
    if SHIP_PROCESSES.insert(child, process, 0).is_err() {
        loss::count(reason::PROCESS_SLOT);
        return;
    }
    if let Some(slot) = SHIP_FILTER.get_ptr_mut(filter_slot(child)) {
        // SAFETY: the map's value; a one-byte store.
        unsafe { *slot = 1 };
    }
}

/// The window, if `now` is inside.
#[inline(always)]
pub fn window(now_ktime_ns: u64) -> Option<&'static Window> {
    SHIP_WINDOW.get(0).filter(|w| w.holds(now_ktime_ns))
}

/// The window, if it has begun; it may have ended.
#[inline(always)]
pub fn opened(now_ktime_ns: u64) -> Option<&'static Window> {
    SHIP_WINDOW
        .get(0)
        .filter(|w| now_ktime_ns >= w.start_ktime_ns)
}

/// The window as far as states are concerned: tracked before it begins, frozen at its end.
#[inline(always)]
pub fn tracking(now_ktime_ns: u64) -> Option<&'static Window> {
    SHIP_WINDOW.get(0).filter(|w| now_ktime_ns < w.end_ktime_ns)
}
