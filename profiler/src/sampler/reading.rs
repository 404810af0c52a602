//! The programs' sums at one moment, and what was added between two.
//!
//! While a sampler runs, the programs never stop: a reading closes what is open by its own clock. So
//! the differences of readings telescope: whatever a reading catches early or late is in the window
//! before or after, and the sum over all windows is exact.

use std::collections::BTreeMap;

use profiler_common::arch::NO_SYSCALL;
use profiler_common::block::BlockTotals;
use profiler_common::memory::MemoryTotals;
use profiler_common::sched::{
    RUN_QUEUE, STATE_BLOCKED, STATE_EXITED, STATE_ON_CPU, STATE_PREEMPTED, STATE_WOKEN,
    TASK_INTERRUPTIBLE, TASK_RUNNABLE, TASK_STOPPED, TASK_UNINTERRUPTIBLE, Thread, WaitKey, Waits,
};
use profiler_common::snapshot::SnapshotTotals;
use profiler_common::turnaround::Turnaround;
use profiler_common::udp::UdpTotals;
use zerocopy::FromZeros;

use crate::model::{AmesTotals, NeighbourTotals, ThreadState, Totals, WritebackTotals};

/// A thread as it is entered before it is watched: in the state that procfs gives it, since
/// `at_ktime_ns`. Without this, one that sleeps would be in no sum until it is woken, and then with all
/// its sleep at once, windows late. `sum_exec_ns` is its time on CPU by the kernel's own count.
pub fn first_entry(state: &ThreadState, sum_exec_ns: u64, at_ktime_ns: u64) -> Thread {
    let mut thread = Thread::new_zeroed();
    thread.tgid = state.tgid;
    thread.since_ktime_ns = at_ktime_ns;
    thread.sum_exec_ns = sum_exec_ns;
    (thread.state, thread.wait.task_state) = match state.state {
        'S' | 'I' => (STATE_BLOCKED, TASK_INTERRUPTIBLE),
        'D' => (STATE_BLOCKED, TASK_UNINTERRUPTIBLE),
        'T' | 't' => (STATE_BLOCKED, TASK_STOPPED),
        // It runs, or is about to.
        _ => (STATE_ON_CPU, TASK_RUNNABLE),
    };
    thread.wait.syscall_nr = state.syscall_nr.unwrap_or(NO_SYSCALL);
    thread
}

/// Adds what is open at `at_ktime_ns` to the sums of `totals`, whose window began at
/// `start_ktime_ns`.
pub fn close(totals: &mut Totals, start_ktime_ns: u64, at_ktime_ns: u64) {
    let mut open: Vec<(WaitKey, u64)> = Vec::new();
    for (tid, thread) in &mut totals.threads {
        let since = thread.since_ktime_ns.max(start_ktime_ns);
        let open_ns = at_ktime_ns.saturating_sub(since);
        let key = |syscall_nr, task_state| WaitKey {
            tid: *tid,
            syscall_nr,
            task_state,
        };
        match thread.state {
            STATE_ON_CPU => thread.on_cpu_ns += open_ns,
            STATE_WOKEN => {
                thread.woken_ns += open_ns;
                open.push((key(RUN_QUEUE, TASK_RUNNABLE), open_ns));
            }
            STATE_PREEMPTED => {
                thread.preempted_ns += open_ns;
                open.push((key(RUN_QUEUE, TASK_RUNNABLE), open_ns));
            }
            STATE_BLOCKED => {
                thread.blocked_ns += open_ns;
                open.push((key(thread.wait.syscall_nr, thread.wait.task_state), open_ns));
            }
            // Ended, or never seen to switch: procfs tells what it does.
            _ => {}
        }
    }
    let mut waits: BTreeMap<(u32, i32, u32), (WaitKey, Waits)> = std::mem::take(&mut totals.waits)
        .into_iter()
        .map(|(key, waits)| (order(&key), (key, waits)))
        .collect();
    for (key, open_ns) in open {
        let entry = waits
            .entry(order(&key))
            .or_insert_with(|| (key, Waits::new_zeroed()));
        entry.1.total_ns += open_ns;
    }
    totals.waits = waits.into_values().collect();
    for (tgid, snapshot) in &mut totals.snapshots {
        if snapshot.start_ktime_ns == 0 {
            continue;
        }
        let since = snapshot.start_ktime_ns.max(start_ktime_ns);
        // Its thread is the main thread of its process.
        let thread = totals.threads.iter().find(|(tid, _)| tid == tgid);
        let on_cpu_ns = thread.map_or(0, |(_, thread)| thread.on_cpu_ns);
        snapshot.total_ns += at_ktime_ns.saturating_sub(since);
        snapshot.on_cpu_ns += on_cpu_ns.saturating_sub(snapshot.start_on_cpu_ns);
        snapshot.start_ktime_ns = 0;
    }
}

fn order(key: &WaitKey) -> (u32, i32, u32) {
    (key.tid, key.syscall_nr, key.task_state)
}

/// What was added from `before` to `after`, both closed, with nothing open at `end_ktime_ns`. A thread
/// whose number was given to another meanwhile counts from the beginning.
pub fn difference(before: &Totals, after: &Totals, end_ktime_ns: u64) -> Totals {
    let now: BTreeMap<u32, &Thread> = after.threads.iter().map(|(k, v)| (*k, v)).collect();
    let threads: BTreeMap<u32, &Thread> = before
        .threads
        .iter()
        .filter(|(tid, thread)| now.get(tid).is_some_and(|now| is_same(thread, now)))
        .map(|(tid, thread)| (*tid, thread))
        .collect();
    let waits: BTreeMap<_, &Waits> = before
        .waits
        .iter()
        .filter(|(key, _)| threads.contains_key(&key.tid))
        .map(|(k, v)| (order(k), v))
        .collect();
    let block: BTreeMap<_, &BlockTotals> = before
        .block
        .iter()
        .map(|(k, v)| ((k.tgid, k.tid, k.dev, k.op), v))
        .collect();
    let udp: BTreeMap<_, &UdpTotals> = before
        .udp
        .iter()
        .map(|(k, v)| ((k.netns, k.port), v))
        .collect();
    let snapshots: BTreeMap<u32, &SnapshotTotals> =
        before.snapshots.iter().map(|(k, v)| (*k, v)).collect();
    let turnaround: BTreeMap<u32, &Turnaround> =
        before.turnaround.iter().map(|(k, v)| (*k, v)).collect();
    Totals {
        snapshots: after
            .snapshots
            .iter()
            .map(|(tgid, now)| (*tgid, snapshots_since(snapshots.get(tgid).copied(), now)))
            .collect(),
        turnaround: after
            .turnaround
            .iter()
            .map(|(ship, now)| (*ship, turnaround_since(turnaround.get(ship).copied(), now)))
            .collect(),
        // The programs keep none of these while they sample.
        ames: AmesTotals::default(),
        neighbours: NeighbourTotals::default(),
        writeback: WritebackTotals::default(),
        threads: after
            .threads
            .iter()
            .map(|(tid, now)| (*tid, thread(threads.get(tid).copied(), now, end_ktime_ns)))
            .collect(),
        waits: after
            .waits
            .iter()
            .map(|(key, now)| (*key, waits_since(waits.get(&order(key)).copied(), now)))
            .collect(),
        block: after
            .block
            .iter()
            .map(|(key, now)| {
                let before = block.get(&(key.tgid, key.tid, key.dev, key.op)).copied();
                (*key, block_since(before, now))
            })
            .collect(),
        udp: after
            .udp
            .iter()
            .map(|(key, now)| {
                (
                    *key,
                    udp_since(udp.get(&(key.netns, key.port)).copied(), now),
                )
            })
            .collect(),
    }
}

/// Whether an entry is the one of before, whose sums went on: a new one begins at nothing.
fn is_same(before: &Thread, now: &Thread) -> bool {
    before.tgid == now.tgid
        && before.switches <= now.switches
        && before.on_cpu_ns <= now.on_cpu_ns
        && !(before.state == STATE_EXITED && now.exited_ktime_ns == 0 && now.switches == 0)
}

fn thread(before: Option<&Thread>, now: &Thread, end_ktime_ns: u64) -> Thread {
    let mut since = *now;
    if let Some(before) = before {
        since.on_cpu_ns = now.on_cpu_ns.saturating_sub(before.on_cpu_ns);
        since.woken_ns = now.woken_ns.saturating_sub(before.woken_ns);
        since.preempted_ns = now.preempted_ns.saturating_sub(before.preempted_ns);
        since.blocked_ns = now.blocked_ns.saturating_sub(before.blocked_ns);
        since.switches = now.switches.saturating_sub(before.switches);
        since.unseen_switches = now.unseen_switches.saturating_sub(before.unseen_switches);
        since.memory = memory_since(&before.memory, &now.memory);
    }
    if since.state != STATE_EXITED {
        // What was open is in the sums.
        since.since_ktime_ns = end_ktime_ns;
    }
    since
}

fn memory_since(before: &MemoryTotals, now: &MemoryTotals) -> MemoryTotals {
    MemoryTotals {
        major_faults: now.major_faults.saturating_sub(before.major_faults),
        segv_signals: now.segv_signals.saturating_sub(before.segv_signals),
        reclaims: now.reclaims.saturating_sub(before.reclaims),
        reclaim_on_cpu_ns: now
            .reclaim_on_cpu_ns
            .saturating_sub(before.reclaim_on_cpu_ns),
        compactions: now.compactions.saturating_sub(before.compactions),
        compaction_on_cpu_ns: now
            .compaction_on_cpu_ns
            .saturating_sub(before.compaction_on_cpu_ns),
    }
}

fn buckets<const N: usize>(before: &[u32; N], now: &[u32; N]) -> [u32; N] {
    // Counters of 32 bits that run on for months.
    std::array::from_fn(|i| now[i].wrapping_sub(before[i]))
}

fn waits_since(before: Option<&Waits>, now: &Waits) -> Waits {
    let Some(before) = before else { return *now };
    Waits {
        count: now.count.saturating_sub(before.count),
        total_ns: now.total_ns.saturating_sub(before.total_ns),
        // The longest of all time; that of the window is not known.
        max_ns: 0,
        buckets: buckets(&before.buckets, &now.buckets),
    }
}

fn block_since(before: Option<&BlockTotals>, now: &BlockTotals) -> BlockTotals {
    let Some(before) = before else { return *now };
    BlockTotals {
        count: now.count.saturating_sub(before.count),
        bytes: now.bytes.saturating_sub(before.bytes),
        queue_ns: now.queue_ns.saturating_sub(before.queue_ns),
        device_ns: now.device_ns.saturating_sub(before.device_ns),
        max_ns: 0,
        errors: now.errors.saturating_sub(before.errors),
        queue_buckets: buckets(&before.queue_buckets, &now.queue_buckets),
        device_buckets: buckets(&before.device_buckets, &now.device_buckets),
    }
}

fn snapshots_since(before: Option<&SnapshotTotals>, now: &SnapshotTotals) -> SnapshotTotals {
    let Some(before) = before else { return *now };
    SnapshotTotals {
        count: now.count.saturating_sub(before.count),
        total_ns: now.total_ns.saturating_sub(before.total_ns),
        on_cpu_ns: now.on_cpu_ns.saturating_sub(before.on_cpu_ns),
        // The longest of all time; that of the window is not known.
        max_ns: 0,
        ..*now
    }
}

fn turnaround_since(before: Option<&Turnaround>, now: &Turnaround) -> Turnaround {
    let Some(before) = before else { return *now };
    Turnaround {
        count: now.count.saturating_sub(before.count),
        total_ns: now.total_ns.saturating_sub(before.total_ns),
        unmatched: now.unmatched.saturating_sub(before.unmatched),
        buckets: buckets(&before.buckets, &now.buckets),
        ..*now
    }
}

fn udp_since(before: Option<&UdpTotals>, now: &UdpTotals) -> UdpTotals {
    let Some(before) = before else { return *now };
    UdpTotals {
        received: now.received.saturating_sub(before.received),
        received_bytes: now.received_bytes.saturating_sub(before.received_bytes),
        sent: now.sent.saturating_sub(before.sent),
        sent_bytes: now.sent_bytes.saturating_sub(before.sent_bytes),
        dropped: now.dropped.saturating_sub(before.dropped),
        ..*now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(on_cpu_ns: u64, state: u32, since_ktime_ns: u64, waited_ns: u64) -> Totals {
        let mut thread = Thread::new_zeroed();
        thread.tgid = 7;
        thread.state = state;
        thread.since_ktime_ns = since_ktime_ns;
        thread.on_cpu_ns = on_cpu_ns;
        thread.blocked_ns = waited_ns;
        thread.wait.syscall_nr = 75;
        thread.wait.task_state = 2;
        let mut waits = Waits::new_zeroed();
        waits.total_ns = waited_ns;
        waits.count = 1;
        let key = WaitKey {
            tid: 8,
            syscall_nr: 75,
            task_state: 2,
        };
        Totals {
            threads: vec![(8, thread)],
            waits: vec![(key, waits)],
            ..Totals::default()
        }
    }

    /// A thread that blocks at 100, runs from 250 to 300, blocks again; read at 200, 275 and 400.
    #[test]
    fn readings_in_the_middle_of_anything_add_up() {
        let mut readings = [
            (0, totals(0, STATE_BLOCKED, 100, 0)),
            (200, totals(0, STATE_BLOCKED, 100, 0)),
            (275, totals(0, STATE_ON_CPU, 250, 150)),
            (400, totals(50, STATE_BLOCKED, 300, 150)),
        ];
        for (at, totals) in &mut readings {
            close(totals, 100, *at);
        }
        let mut sums = Vec::new();
        for two in readings.windows(2) {
            let window = difference(&two[0].1, &two[1].1, two[1].0);
            let (thread, waits) = (&window.threads[0].1, &window.waits[0].1);
            assert_eq!(thread.blocked_ns, waits.total_ns);
            assert_eq!(thread.since_ktime_ns, two[1].0);
            sums.push((thread.on_cpu_ns, thread.blocked_ns));
        }
        assert_eq!(sums, [(0, 100), (25, 50), (25, 100)]);
    }

    #[test]
    fn counters_that_wrap_around_still_count() {
        let mut before = Waits::new_zeroed();
        let mut now = Waits::new_zeroed();
        before.buckets[3] = u32::MAX;
        now.buckets[3] = 4;
        assert_eq!(waits_since(Some(&before), &now).buckets[3], 5);
    }

    #[test]
    fn an_entry_that_was_made_anew_counts_from_its_start() {
        let before = totals(500, STATE_EXITED, 10, 40);
        let after = totals(3, STATE_ON_CPU, 20, 7);
        let window = difference(&before, &after, 30);
        assert_eq!(window.threads[0].1.on_cpu_ns, 3);
        // Its waits went with it.
        assert_eq!(window.waits[0].1.total_ns, 7);
    }

    #[test]
    fn a_thread_that_sleeps_when_it_is_entered_sleeps_since_then() {
        let state = ThreadState {
            tgid: 7,
            tid: 8,
            comm: "mars".to_owned(),
            state: 'S',
            syscall_nr: Some(232),
        };
        let mut entered = Totals {
            threads: vec![(8, first_entry(&state, 11, 100))],
            ..Totals::default()
        };
        close(&mut entered, 0, 160);
        let thread = &entered.threads[0].1;
        assert_eq!((thread.blocked_ns, thread.sum_exec_ns), (60, 11));
        assert_eq!(entered.waits[0].1.total_ns, 60);
    }

    #[test]
    fn another_process_under_the_same_thread_id_counts_from_its_start() {
        let before = totals(500, STATE_EXITED, 10, 0);
        let mut after = totals(3, STATE_ON_CPU, 20, 0);
        after.threads[0].1.tgid = 9;
        assert_eq!(difference(&before, &after, 30).threads[0].1.on_cpu_ns, 3);
    }
}
