//! Obeying the CPU budget: what is left out after a window that cost more, and when it comes back.

use profiler_common::sampling::Control;

use crate::model::{Meta, NS_PER_S};

/// Ticks of the sampling clock, per second and CPU. A prime, as is usual, so that it does not beat with
/// anything that goes by round numbers.
pub const SAMPLE_HZ: u64 = 19;
/// Least time between two stacks of one kind of wait of a thread.
const OFF_CPU_INTERVAL_NS: u64 = NS_PER_S / 20;
/// Share of the budget below which a window is calm.
const CALM_RATIO: f64 = 0.6;
/// Calm windows after which a step is taken back.
const CALM_WINDOWS: u32 = 3;
/// Probes that do nothing at the last step.
const IO_PROBES: [&str; 7] = [
    "block_bio_queue",
    "block_split",
    "block_rq_issue",
    "block_rq_complete",
    "block_bio_complete",
    "sock_recv_length",
    "sock_send_length",
];

/// How much is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing.
    #[default]
    Nothing,
    /// Every other stack.
    HalfOfStacks,
    /// All stacks.
    Stacks,
    /// Sums of block I/O and datagrams too. What is left is what a sampler is for: budgets.
    StacksAndIo,
}

impl Step {
    fn more(self) -> Self {
        match self {
            Self::Nothing => Self::HalfOfStacks,
            Self::HalfOfStacks => Self::Stacks,
            Self::Stacks | Self::StacksAndIo => Self::StacksAndIo,
        }
    }

    fn less(self) -> Self {
        match self {
            Self::Nothing | Self::HalfOfStacks => Self::Nothing,
            Self::Stacks => Self::HalfOfStacks,
            Self::StacksAndIo => Self::Stacks,
        }
    }

    /// Whether stacks are taken.
    pub fn takes_stacks(self) -> bool {
        self < Self::Stacks
    }

    /// What the programs are told.
    pub fn control(self, epoch: u32) -> Control {
        let (on_cpu_every, off_cpu_interval_ns) = match self {
            Self::Nothing => (1, OFF_CPU_INTERVAL_NS),
            Self::HalfOfStacks => (2, 2 * OFF_CPU_INTERVAL_NS),
            Self::Stacks | Self::StacksAndIo => (0, u64::MAX),
        };
        Control {
            epoch,
            on_cpu_every,
            off_cpu_interval_ns,
            io: u32::from(self != Self::StacksAndIo),
            reserved: 0,
        }
    }

    /// Notes at the probes of a window what they were not to measure.
    pub fn mark(self, meta: &mut Meta, budget_ratio: f64) {
        if self != Self::StacksAndIo {
            return;
        }
        let reason = reason(budget_ratio);
        let probes = meta.probes.iter_mut();
        for probe in probes.filter(|probe| IO_PROBES.contains(&probe.name.as_str())) {
            probe.error.get_or_insert_with(|| reason.clone());
        }
    }

    /// What a window lacks, in a sentence each. What [`Self::mark`] notes is not among them.
    pub fn sentences(self, budget_ratio: f64) -> Vec<String> {
        let what = match self {
            Self::Nothing => return Vec::new(),
            Self::HalfOfStacks => "every other stack",
            Self::Stacks | Self::StacksAndIo => "stacks",
        };
        vec![format!("{what} ({})", reason(budget_ratio))]
    }
}

fn reason(budget_ratio: f64) -> String {
    format!(
        "left out to stay within the CPU budget of {} % of one CPU, --cpu-budget",
        budget_ratio * 100.0
    )
}

/// The budget and what was done to stay within it.
#[derive(Debug, Clone, Copy)]
pub struct Thinning {
    budget_ratio: f64,
    step: Step,
    calm_windows: u32,
}

impl Thinning {
    /// Leaves nothing out yet. The budget is a share of one CPU.
    pub fn new(budget_ratio: f64) -> Self {
        Self {
            budget_ratio,
            step: Step::default(),
            calm_windows: 0,
        }
    }

    /// What is left out now.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The budget, as a share of one CPU.
    pub fn budget_ratio(&self) -> f64 {
        self.budget_ratio
    }

    /// Takes note of what the last window cost, as a share of one CPU, and decides on the next.
    pub fn note(&mut self, cost_ratio: f64) {
        if cost_ratio > self.budget_ratio {
            self.step = self.step.more();
            self.calm_windows = 0;
        } else if cost_ratio < self.budget_ratio * CALM_RATIO {
            self.calm_windows = self.calm_windows.saturating_add(1);
            if self.calm_windows >= CALM_WINDOWS {
                self.step = self.step.less();
                self.calm_windows = 0;
            }
        } else {
            self.calm_windows = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(costs: &[f64]) -> Step {
        let mut thinning = Thinning::new(0.005);
        for cost in costs {
            thinning.note(*cost);
        }
        thinning.step()
    }

    #[test]
    fn each_window_above_the_budget_leaves_more_out() {
        assert_eq!(after(&[0.004]), Step::Nothing);
        assert_eq!(after(&[0.006]), Step::HalfOfStacks);
        assert_eq!(after(&[0.006, 0.006]), Step::Stacks);
        assert_eq!(after(&[0.006; 3]), Step::StacksAndIo);
        assert_eq!(after(&[0.006; 9]), Step::StacksAndIo);
    }

    #[test]
    fn it_comes_back_after_calm_windows_in_a_row() {
        assert_eq!(after(&[0.006, 0.006, 0.001, 0.001]), Step::Stacks);
        assert_eq!(
            after(&[0.006, 0.006, 0.001, 0.001, 0.001]),
            Step::HalfOfStacks
        );
        // Below the budget, but not well below.
        let interrupted = [0.006, 0.006, 0.001, 0.001, 0.004, 0.001];
        assert_eq!(after(&interrupted), Step::Stacks);
        assert_eq!(after(&[0.001; 9]), Step::Nothing);
    }

    #[test]
    fn what_is_left_out_is_told_and_done() {
        assert!(Step::Nothing.sentences(0.005).is_empty());
        assert_eq!(
            Step::HalfOfStacks.sentences(0.005),
            [
                "every other stack (left out to stay within the CPU budget of 0.5 % of one CPU, \
              --cpu-budget)"
            ]
        );
        assert_eq!(Step::Stacks.control(3).on_cpu_every, 0);
        assert_eq!(
            (Step::Stacks.control(3).io, Step::StacksAndIo.control(3).io),
            (1, 0)
        );
        assert!(Step::HalfOfStacks.takes_stacks() && !Step::Stacks.takes_stacks());
    }
}
