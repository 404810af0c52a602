//! One number per bucket, and one word.

use crate::attribute::Cause;
use crate::model::{NS_PER_S, WindowSum, histogram_name};
use crate::report::units::{count, duration, percent};
use crate::ship::Role;

/// Share of a bucket's windows that must be bad for the bucket to be: one slow minute makes no bad
/// day.
const BAD_RATIO: f64 = 0.10;

/// A number that can be followed over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Events in a second.
    EventRate,
    /// Share of the time that mars was on CPU.
    MarsOnCpu,
    /// 95th percentile of commits.
    CommitP95,
    /// 95th percentile of events, from the king's message to mars' answer.
    EventP95,
    /// 95th percentile of waits for a CPU.
    RunQueueP95,
    /// Major faults in a minute.
    MajorFaults,
    /// Datagrams lost in a minute.
    Drops,
}

impl Series {
    /// The one that tells most of the trouble there was: that of the cause that most bad windows
    /// had, else how much the ship had to do.
    pub fn telling(total: &WindowSum) -> Self {
        let chosen = match worst_cause(total).as_deref() {
            Some("disk") => Self::CommitP95,
            Some("cpu") if Self::RunQueueP95.of(total) > Some(1e6) => Self::RunQueueP95,
            Some("cpu") => Self::MarsOnCpu,
            Some("memory") => Self::MajorFaults,
            Some("ames") => Self::Drops,
            _ => Self::EventRate,
        };
        match chosen.of(total) {
            Some(_) => chosen,
            None => Self::MarsOnCpu,
        }
    }

    /// What it is.
    pub fn title(self) -> &'static str {
        match self {
            Self::EventRate => "events per second",
            Self::MarsOnCpu => "mars on CPU",
            Self::CommitP95 => "log commit, p95",
            Self::EventP95 => "event, p95",
            Self::RunQueueP95 => "waiting for a CPU, p95",
            Self::MajorFaults => "major faults per minute",
            Self::Drops => "datagrams lost per minute",
        }
    }

    /// Its value; nothing if it was not measured.
    pub fn of(self, sum: &WindowSum) -> Option<f64> {
        let quantile = |name| Some(sum.histograms.get(name)?.quantile(950)? as f64);
        let rate = |count: u64, duration_ns: u64, per_s: u64| {
            (duration_ns > 0).then(|| count as f64 / duration_ns as f64 * (per_s * NS_PER_S) as f64)
        };
        match self {
            Self::EventRate => {
                let events = sum.events.as_ref()?;
                rate(events.sum.count, events.duration_ns, 1)
            }
            Self::MarsOnCpu => {
                let mars = sum.budgets.get(&Role::Mars)?;
                (mars.wall_ns > 0).then(|| mars.on_cpu_ns as f64 / mars.wall_ns as f64)
            }
            Self::CommitP95 => quantile(histogram_name::COMMIT),
            Self::EventP95 => quantile(histogram_name::EVENT),
            Self::RunQueueP95 => quantile(histogram_name::RUN_QUEUE),
            Self::MajorFaults => {
                let faults = sum.faults.as_ref()?;
                rate(faults.sum.major, faults.duration_ns, 60)
            }
            Self::Drops => {
                let udp = sum.udp.as_ref()?;
                rate(udp.sum.dropped, udp.duration_ns, 60)
            }
        }
    }

    /// A value of it with its unit.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::MarsOnCpu => percent(value),
            Self::CommitP95 | Self::EventP95 | Self::RunQueueP95 => duration(value as u64),
            Self::EventRate => format!("{value:.1} /s"),
            Self::MajorFaults | Self::Drops => format!("{} /min", count(value.round() as u64)),
        }
    }
}

fn is_bad(kind: &str) -> bool {
    !matches!(kind, "healthy" | "too_few_events")
}

/// The cause of most bad windows; of two, the one that comes first in the tree.
fn worst_cause(sum: &WindowSum) -> Option<String> {
    let windows = |cause: &str| {
        let of_cause = sum
            .verdicts
            .iter()
            .filter(|(key, _)| is_bad(&key.kind) && key.cause.as_deref() == Some(cause));
        crate::model::sum(of_cause.map(|(_, verdict)| verdict.windows))
    };
    let causes = Cause::ALL.into_iter().rev().map(Cause::name);
    causes
        .filter(|cause| windows(cause) > 0)
        .max_by_key(|cause| windows(cause))
        .map(str::to_owned)
}

/// What a bucket comes to in one word: the cause of most of its bad windows if they are a tenth of
/// it or more, else that it is healthy, or that there were too few events to say so.
pub fn verdict_word(sum: &WindowSum) -> String {
    let windows_of = |wanted: &dyn Fn(&str) -> bool| {
        let of_kind = sum.verdicts.iter().filter(|(key, _)| wanted(&key.kind));
        crate::model::sum(of_kind.map(|(_, verdict)| verdict.windows))
    };
    let bad = windows_of(&is_bad);
    if sum.windows == 0 {
        String::new()
    } else if bad as f64 >= sum.windows as f64 * BAD_RATIO && bad > 0 {
        worst_cause(sum).unwrap_or_else(|| "finding".to_owned())
    } else if windows_of(&|kind| kind == "healthy") > 0 {
        "healthy".to_owned()
    } else {
        "too few".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::example;

    fn sum(bad: u64, cause: Option<&str>, healthy: u64) -> WindowSum {
        let mut sum = WindowSum::default();
        for i in 0..bad + healthy {
            let mut window = example::window(i);
            let is_bad = i < bad;
            window.verdict.kind = if is_bad { "stalled" } else { "healthy" }.to_owned();
            window.verdict.cause = cause.filter(|_| is_bad).map(str::to_owned);
            sum.add_window(&window);
        }
        sum
    }

    #[test]
    fn one_bad_minute_makes_no_bad_hour() {
        assert_eq!(verdict_word(&sum(1, Some("disk"), 19)), "healthy");
        assert_eq!(verdict_word(&sum(2, Some("disk"), 18)), "disk");
        assert_eq!(verdict_word(&sum(2, None, 0)), "finding");
        assert_eq!(verdict_word(&WindowSum::default()), "");
    }

    #[test]
    fn the_chart_is_of_the_trouble() {
        assert_eq!(Series::telling(&sum(2, Some("disk"), 8)), Series::CommitP95);
        assert_eq!(Series::telling(&sum(2, Some("ames"), 8)), Series::Drops);
        assert_eq!(Series::telling(&sum(0, None, 8)), Series::EventRate);
        // Nothing is known but the budgets.
        assert_eq!(Series::telling(&WindowSum::default()), Series::MarsOnCpu);
    }
}
