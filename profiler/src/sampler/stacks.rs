//! A window's stacks: the exact sums of its threads, shared out by the stacks that were taken.
//!
//! Stacks are taken at a limited rate, so they tell how time divides, and not how much there was. The
//! sums tell that: time on CPU of each thread, and blocked time of each thread for each reason. What has
//! no stack is there under the thread alone, so that the stacks of a kind always sum to the budgets.

use std::collections::BTreeMap;

use super::names::Names;
use crate::aggregate::Summaries;
use crate::aggregate::sched::ThreadSummary;
use crate::aggregate::stacks::{outermost_first, without_probe};
use crate::attribute::{is_idle, syscall_name};
use crate::model::{Meta, SampledStack, TopStacks, stack_kind};

/// Frame under a thread for time that no stack was taken of.
const NO_STACK: &str = "[no stack taken]";

/// Sums of stacks by their frames, outermost first.
type Sums = BTreeMap<Vec<String>, u64>;

/// The heaviest stacks of each kind.
pub fn top_stacks(
    meta: &Meta,
    summaries: &Summaries,
    stacks: &[SampledStack],
    names: &Names,
) -> BTreeMap<String, TopStacks> {
    let (mut on_cpu, mut off_cpu) = (Sums::new(), Sums::new());
    for thread in &summaries.threads {
        let of_thread: Vec<&SampledStack> = stacks
            .iter()
            .filter(|stack| stack.thread == thread.thread)
            .collect();
        let running = of_thread.iter().filter(|stack| stack.wait.is_none());
        let running = running.map(|stack| (*stack, stack.count));
        share_out(&mut on_cpu, thread, thread.on_cpu_ns, running, None, names);
        for wait in &thread.waits {
            if is_idle(meta, thread.role, wait) {
                continue;
            }
            let reason = Some((wait.syscall_nr, wait.task_state));
            let blocked = of_thread.iter().filter(|stack| stack.wait == reason);
            let blocked = blocked.map(|stack| (*stack, stack.total_ns));
            let name = syscall_name(&meta.architecture, wait.syscall_nr);
            let leaf = Some(format!("waits in {name}"));
            share_out(&mut off_cpu, thread, wait.total_ns, blocked, leaf, names);
        }
    }
    BTreeMap::from([
        (stack_kind::ON_CPU.to_owned(), TopStacks::keep(on_cpu)),
        (stack_kind::OFF_CPU.to_owned(), TopStacks::keep(off_cpu)),
    ])
}

/// Adds `total_ns`, divided in proportion to the weights of some stacks.
fn share_out<'a>(
    sums: &mut Sums,
    thread: &ThreadSummary,
    total_ns: u64,
    stacks: impl Iterator<Item = (&'a SampledStack, u64)>,
    leaf: Option<String>,
    names: &Names,
) {
    let stacks: Vec<(&SampledStack, u64)> = stacks.filter(|(_, weight)| *weight > 0).collect();
    let all: u128 = stacks.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let role = thread.role.name().to_owned();
    let (mut before, mut shared_ns) = (0_u128, 0_u64);
    let mut add = |frames: Vec<String>, ns: u64| {
        if ns > 0 {
            let sum = sums.entry(frames).or_default();
            *sum = sum.saturating_add(ns);
        }
    };
    for (stack, weight) in stacks {
        before += u128::from(weight);
        // The shares end where they would without rounding, so that they sum to the whole.
        let until_ns = u128::from(total_ns) * before / all.max(1);
        let until_ns = u64::try_from(until_ns).unwrap_or(total_ns);
        let tgid = stack.thread.tgid;
        let frames = outermost_first(&stack.stack, |address, kind| {
            without_probe(vec![names.frame(tgid, address, kind)]).map(Into::into)
        });
        let mut path = vec![role.clone()];
        path.extend(frames.into_iter().map(|frame| frame.name));
        path.extend(leaf.clone());
        add(path, until_ns - shared_ns);
        shared_ns = until_ns;
    }
    let mut path = vec![role, NO_STACK.to_owned()];
    path.extend(leaf);
    add(path, total_ns - shared_ns);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Histogram, Stack, ThreadId};
    use crate::ship::Role;
    use profiler_common::memory::MemoryTotals;

    const THREAD: ThreadId = ThreadId { tgid: 7, tid: 8 };

    fn thread() -> ThreadSummary {
        ThreadSummary {
            thread: THREAD,
            comm: "urbit".to_owned(),
            role: Role::Mars,
            wall_ns: 1000,
            on_cpu_ns: 1000,
            run_queue_ns: 0,
            preempted_ns: 0,
            run_queue: Histogram::default(),
            waits: Vec::new(),
            unexplained_ns: 0,
            memory: MemoryTotals::NONE,
            switches: 0,
            unseen_switches: 0,
        }
    }

    fn stack(address: u64, count: u64) -> SampledStack {
        SampledStack {
            thread: THREAD,
            wait: None,
            stack: Stack {
                user: vec![address],
                ..Stack::default()
            },
            count,
            total_ns: 0,
        }
    }

    fn shared(total_ns: u64, stacks: &[SampledStack]) -> Vec<u64> {
        let mut names = Names::default();
        let range = |start: u64| crate::model::NamedRange {
            start,
            end: start + 1,
            name: format!("f{start}"),
        };
        let found = crate::model::NamedRanges {
            user: BTreeMap::from([(7, vec![range(1), range(2), range(3)])]),
            ..crate::model::NamedRanges::default()
        };
        names.learn(&crate::model::Addresses::default(), found);
        let mut sums = Sums::new();
        let weighed = stacks.iter().map(|stack| (stack, stack.count));
        share_out(&mut sums, &thread(), total_ns, weighed, None, &names);
        assert_eq!(sums.values().sum::<u64>(), total_ns);
        sums.into_values().collect()
    }

    #[test]
    fn shares_sum_to_the_whole_however_they_are_rounded() {
        assert_eq!(
            shared(10, &[stack(1, 1), stack(2, 1), stack(3, 1)]),
            [3, 3, 4]
        );
        assert_eq!(shared(u64::MAX, &[stack(1, 1), stack(2, 1)]).len(), 2);
        // A function is one stack, wherever in it the thread was.
        assert_eq!(shared(100, &[stack(1, 3), stack(1, 1)]), [100]);
    }

    #[test]
    fn time_without_a_stack_stays_with_the_thread() {
        assert_eq!(shared(10, &[]), [10]);
        assert_eq!(shared(10, &[stack(1, 0)]), [10]);
        assert!(shared(0, &[stack(1, 5)]).is_empty());
    }
}
