//! Windows added up. Sums and histograms add; of what stands still the latest value counts.
//!
//! Adding is associative and commutative, so a day is the same whether its minutes or its hours are
//! added, and in whatever order.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Budget, DiskSpace, EventRange, Faults, Histogram, LeafTime, Loom, ProcessMemory, Udp, Window,
};
use crate::ship::Role;

/// The sum of some windows of one ship.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowSum {
    /// How many.
    pub windows: u64,
    /// When the first began, `CLOCK_REALTIME`; nothing if there is none.
    pub start_unix_ns: Option<u64>,
    /// When the last ended, `CLOCK_REALTIME`.
    pub end_unix_ns: Option<u64>,
    /// Time in them.
    pub duration_ns: u64,
    /// The longest of them.
    pub longest_ns: u64,
    /// How far the wall clock jumped, forwards and backwards taken together.
    pub clock_steps_ns: u64,
    /// vere's versions, with the windows of each.
    pub vere_versions: BTreeMap<String, u64>,
    /// Events.
    pub events: Option<Covered<EventRange>>,
    /// Budgets by role.
    pub budgets: BTreeMap<Role, Budget>,
    /// Time by leaf.
    pub leaves: BTreeMap<String, LeafTime>,
    /// Durations.
    pub histograms: BTreeMap<String, Histogram>,
    /// Stacks by kind.
    pub stacks: BTreeMap<String, StackSum>,
    /// Datagrams.
    pub udp: Option<Covered<Udp>>,
    /// Page faults.
    pub faults: Option<Covered<Faults>>,
    /// The loom at last.
    pub loom: Option<Latest<Loom>>,
    /// Mars' memory at last.
    pub memory: Option<Latest<ProcessMemory>>,
    /// Room at last.
    pub disk_space: Option<Latest<DiskSpace>>,
    /// Verdicts, with the windows of each.
    pub verdicts: BTreeMap<VerdictKey, VerdictSum>,
    /// Findings by severity and stable name.
    pub findings: BTreeMap<(String, String), FindingSum>,
    /// What sampling cost.
    pub own_cost: OwnCostSum,
    /// What was lost, by reason.
    pub losses: BTreeMap<String, u64>,
    /// What could not be measured, with the windows in which it was so.
    pub not_measured: BTreeMap<String, u64>,
    /// Why windows ended before their time, with how many did.
    pub cut_short: BTreeMap<String, u64>,
}

/// A sum over those windows that measured it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Covered<T> {
    /// The sum.
    pub sum: T,
    /// Time in the windows that measured it: what a rate is a rate of.
    pub duration_ns: u64,
}

/// The last value that was measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Latest<T> {
    /// When, `CLOCK_REALTIME`.
    pub at_unix_ns: u64,
    /// What.
    pub value: T,
}

/// Stacks of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StackSum {
    /// Weights of those that a window kept, outermost frame first.
    pub weights_ns: BTreeMap<Vec<String>, u64>,
    /// Time of all others.
    pub rest_ns: u64,
}

impl StackSum {
    /// Time of all stacks, kept or not.
    pub fn total_ns(&self) -> u64 {
        super::sum(self.weights_ns.values().copied()).saturating_add(self.rest_ns)
    }

    /// Adds to one stack.
    pub fn add_stack(&mut self, frames: &[String], weight_ns: u64) {
        // Most are there already, and then need no copy of their names.
        match self.weights_ns.get_mut(frames) {
            Some(sum) => *sum = sum.saturating_add(weight_ns),
            None => {
                self.weights_ns.insert(frames.to_vec(), weight_ns);
            }
        }
    }
}

/// What windows are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VerdictKey {
    /// Kind of the verdict.
    pub kind: String,
    /// Name of its cause.
    pub cause: Option<String>,
}

/// Windows of the same verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictSum {
    /// How many.
    pub windows: u64,
    /// The last one's sentence.
    pub sentence: Latest<String>,
}

/// Windows with the same finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingSum {
    /// How many.
    pub windows: u64,
    /// The last one's sentence.
    pub sentence: Latest<String>,
}

/// What sampling cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OwnCostSum {
    /// CPU time of the sampler's process.
    pub process_cpu_ns: u64,
    /// CPU time of its programs.
    pub programs_cpu_ns: Option<Covered<u64>>,
    /// Largest resident set of any window.
    pub max_resident_bytes: u64,
    /// Windows in which it thinned out.
    pub thinned: u64,
}

impl From<&Window> for WindowSum {
    fn from(window: &Window) -> Self {
        let end_unix_ns = window.end_unix_ns();
        let covered = |sum| Covered {
            sum,
            duration_ns: window.duration_ns,
        };
        let latest = |text: &String| Latest {
            at_unix_ns: end_unix_ns,
            value: text.clone(),
        };
        let mut sum = Self {
            windows: 1,
            start_unix_ns: Some(window.start_unix_ns),
            end_unix_ns: Some(end_unix_ns),
            duration_ns: window.duration_ns,
            longest_ns: window.duration_ns,
            clock_steps_ns: window.clock_step_ns.unsigned_abs(),
            events: window.events.map(|sum| Covered {
                sum,
                duration_ns: window.duration_ns,
            }),
            budgets: window.budgets.clone(),
            leaves: window.leaves.clone(),
            histograms: window.histograms.clone(),
            udp: window.udp.map(|sum| Covered {
                sum,
                duration_ns: window.duration_ns,
            }),
            faults: window.faults.map(|sum| Covered {
                sum,
                duration_ns: window.duration_ns,
            }),
            loom: window.loom.map(|value| Latest {
                at_unix_ns: end_unix_ns,
                value,
            }),
            memory: window.memory.map(|value| Latest {
                at_unix_ns: end_unix_ns,
                value,
            }),
            disk_space: window.disk_space.map(|value| Latest {
                at_unix_ns: end_unix_ns,
                value,
            }),
            own_cost: OwnCostSum {
                process_cpu_ns: window.own_cost.process_cpu_ns,
                programs_cpu_ns: window.own_cost.programs_cpu_ns.map(covered),
                max_resident_bytes: window.own_cost.max_resident_bytes,
                thinned: u64::from(window.own_cost.thinned),
            },
            losses: window.losses.clone(),
            ..Self::default()
        };
        for (kind, stacks) in &window.stacks {
            let entry = sum.stacks.entry(kind.clone()).or_default();
            entry.rest_ns = stacks.rest_ns;
            for stack in &stacks.top {
                entry.add_stack(&stack.frames, stack.weight_ns);
            }
        }
        sum.verdicts.insert(
            VerdictKey {
                kind: window.verdict.kind.clone(),
                cause: window.verdict.cause.clone(),
            },
            VerdictSum {
                windows: 1,
                sentence: latest(&window.verdict.sentence),
            },
        );
        for finding in &window.findings {
            let found = FindingSum {
                windows: 1,
                sentence: latest(&finding.sentence),
            };
            // Twice the same in one window is still one window.
            sum.findings
                .insert((finding.severity.clone(), finding.id.clone()), found);
        }
        count_names(&mut sum.vere_versions, window.vere_version.iter());
        count_names(&mut sum.not_measured, window.not_measured.iter());
        count_names(&mut sum.cut_short, window.cut_short.iter());
        sum
    }
}

impl WindowSum {
    /// Adds a window.
    pub fn add_window(&mut self, window: &Window) {
        self.add(&Self::from(window));
    }

    /// Adds other windows of the same ship.
    pub fn add(&mut self, other: &Self) {
        self.windows = self.windows.saturating_add(other.windows);
        self.start_unix_ns = [self.start_unix_ns, other.start_unix_ns]
            .into_iter()
            .flatten()
            .min();
        self.end_unix_ns = self.end_unix_ns.max(other.end_unix_ns);
        self.duration_ns = self.duration_ns.saturating_add(other.duration_ns);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        self.clock_steps_ns = self.clock_steps_ns.saturating_add(other.clock_steps_ns);
        add_covered(&mut self.events, &other.events, EventRange::add);
        add_covered(&mut self.udp, &other.udp, Udp::add);
        add_covered(&mut self.faults, &other.faults, Faults::add);
        for (role, more) in &other.budgets {
            self.budgets.entry(*role).or_default().add(more);
        }
        for (name, more) in &other.leaves {
            add_leaf(&mut self.leaves, name, more);
        }
        for (name, more) in &other.histograms {
            add_named(&mut self.histograms, name, more, Histogram::add);
        }
        for (kind, more) in &other.stacks {
            add_named(&mut self.stacks, kind, more, |sum, more| {
                sum.rest_ns = sum.rest_ns.saturating_add(more.rest_ns);
                for (frames, weight_ns) in &more.weights_ns {
                    sum.add_stack(frames, *weight_ns);
                }
            });
        }
        keep_latest(&mut self.loom, &other.loom);
        keep_latest(&mut self.memory, &other.memory);
        keep_latest(&mut self.disk_space, &other.disk_space);
        for (key, more) in &other.verdicts {
            add_named(&mut self.verdicts, key, more, |sum, more| {
                add_told(
                    &mut sum.windows,
                    &mut sum.sentence,
                    more.windows,
                    &more.sentence,
                );
            });
        }
        for (key, more) in &other.findings {
            add_named(&mut self.findings, key, more, |sum, more| {
                add_told(
                    &mut sum.windows,
                    &mut sum.sentence,
                    more.windows,
                    &more.sentence,
                );
            });
        }
        self.own_cost.add(&other.own_cost);
        add_counts(&mut self.vere_versions, &other.vere_versions);
        add_counts(&mut self.losses, &other.losses);
        add_counts(&mut self.not_measured, &other.not_measured);
        add_counts(&mut self.cut_short, &other.cut_short);
    }
}

impl OwnCostSum {
    fn add(&mut self, other: &Self) {
        self.process_cpu_ns = self.process_cpu_ns.saturating_add(other.process_cpu_ns);
        add_covered(
            &mut self.programs_cpu_ns,
            &other.programs_cpu_ns,
            |sum, more| {
                *sum = sum.saturating_add(*more);
            },
        );
        self.max_resident_bytes = self.max_resident_bytes.max(other.max_resident_bytes);
        self.thinned = self.thinned.saturating_add(other.thinned);
    }
}

fn add_covered<T: Copy>(
    sum: &mut Option<Covered<T>>,
    more: &Option<Covered<T>>,
    add: impl FnOnce(&mut T, &T),
) {
    match (sum.as_mut(), more) {
        (Some(sum), Some(more)) => {
            add(&mut sum.sum, &more.sum);
            sum.duration_ns = sum.duration_ns.saturating_add(more.duration_ns);
        }
        (None, Some(more)) => *sum = Some(*more),
        (_, None) => {}
    }
}

fn add_named<K: Ord + Clone, V: Clone>(
    sums: &mut BTreeMap<K, V>,
    key: &K,
    more: &V,
    add: impl FnOnce(&mut V, &V),
) {
    match sums.get_mut(key) {
        Some(sum) => add(sum, more),
        None => {
            sums.insert(key.clone(), more.clone());
        }
    }
}

/// Should versions of the profiler not agree on a leaf's cause, the smaller name holds: what
/// matters is that the order of adding does not.
fn add_leaf(leaves: &mut BTreeMap<String, LeafTime>, name: &String, more: &LeafTime) {
    add_named(leaves, name, more, |sum, more| {
        sum.total_ns = sum.total_ns.saturating_add(more.total_ns);
        if more.cause < sum.cause {
            sum.cause.clone_from(&more.cause);
        }
    });
}

fn add_told(windows: &mut u64, sentence: &mut Latest<String>, more: u64, other: &Latest<String>) {
    *windows = windows.saturating_add(more);
    if *other > *sentence {
        sentence.clone_from(other);
    }
}

fn add_counts(sums: &mut BTreeMap<String, u64>, more: &BTreeMap<String, u64>) {
    for (name, count) in more {
        add_named(sums, name, count, |sum, count| {
            *sum = sum.saturating_add(*count);
        });
    }
}

fn count_names<'a>(counts: &mut BTreeMap<String, u64>, names: impl Iterator<Item = &'a String>) {
    for name in names {
        counts.insert(name.clone(), 1);
    }
}

fn keep_latest<T: Clone + Ord>(ours: &mut Option<Latest<T>>, other: &Option<Latest<T>>) {
    // Nothing is less than anything.
    if *other > *ours {
        ours.clone_from(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::example;

    fn sum<'a>(windows: impl IntoIterator<Item = &'a WindowSum>) -> WindowSum {
        let mut sum = WindowSum::default();
        for window in windows {
            sum.add(window);
        }
        sum
    }

    #[test]
    fn a_day_is_the_same_by_minutes_by_hours_and_backwards() {
        let windows: Vec<Window> = (0..1_440).map(example::window).collect();
        let minutes: Vec<WindowSum> = windows.iter().map(WindowSum::from).collect();
        let day = sum(&minutes);
        let hours: Vec<WindowSum> = minutes.chunks(60).map(sum).collect();
        assert_eq!(sum(&hours), day);
        assert_eq!(sum(minutes.iter().rev()), day);

        assert_eq!(day.windows, 1_440);
        let mut commits = 0;
        let mut mars_wall_ns = 0;
        let mut on_cpu_ns = 0;
        for window in &windows {
            commits += window.histograms["commit_ns"].count();
            mars_wall_ns += window.budgets[&Role::Mars].wall_ns;
            on_cpu_ns += window.stacks["on-cpu"].total_ns();
        }
        assert_eq!(day.histograms["commit_ns"].count(), commits);
        assert_eq!(day.budgets[&Role::Mars].wall_ns, mars_wall_ns);
        assert_eq!(day.stacks["on-cpu"].total_ns(), on_cpu_ns);
        let budget = day.budgets[&Role::Mars];
        let parts = [
            budget.on_cpu_ns,
            budget.run_queue_ns,
            budget.throttled_ns,
            budget.blocked_ns,
            budget.idle_ns,
            budget.unexplained_ns,
        ];
        assert_eq!(parts.iter().sum::<u64>(), budget.wall_ns);
    }

    #[test]
    fn what_no_window_measured_stays_unmeasured_and_rates_know_their_time() {
        let (with, without) = (example::window(0), example::window(3));
        assert!(with.events.is_some() && without.events.is_none());
        assert_eq!(WindowSum::from(&without).events, None);
        let both = sum(&[WindowSum::from(&with), WindowSum::from(&without)]);
        let events = both.events.expect("one of them measured");
        assert_eq!(
            (events.sum.count, events.duration_ns),
            (40, with.duration_ns)
        );
        assert_eq!(both.not_measured.len(), 1);
    }

    #[test]
    fn the_latest_value_counts_whatever_the_order() {
        let (early, late) = (example::window(0), example::window(1));
        let loom = |a: &Window, b: &Window| {
            let both = sum(&[WindowSum::from(a), WindowSum::from(b)]);
            both.loom.map(|latest| latest.value.event_number)
        };
        assert_eq!(loom(&early, &late), Some(400_080));
        assert_eq!(loom(&late, &early), Some(400_080));
    }

    #[test]
    fn nothing_overflows() {
        let mut window = example::window(0);
        window.duration_ns = u64::MAX;
        window.clock_step_ns = i64::MIN;
        for leaf in window.leaves.values_mut() {
            leaf.total_ns = u64::MAX;
        }
        let mut sum = WindowSum::from(&window);
        sum.add_window(&window);
        assert_eq!(sum.leaves["computing"].total_ns, u64::MAX);
    }
}
