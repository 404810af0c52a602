//! What a trial comes to, as one value.

use serde::Serialize;

use crate::diff::{Diff, SideLine};
use crate::recommend::{Fix, P95};

/// Version of [`Outcome`] as JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// A change in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepLine {
    /// Where.
    pub what: String,
    /// What was there.
    pub before: String,
    /// What was put there.
    pub applied: String,
}

/// What the first window said of the fix.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Predicted {
    /// Its answer, in words.
    pub answer: &'static str,
    /// Why.
    pub reason: String,
    /// Share of the stalls that it would take away, from and to.
    pub gain_ratio: Option<(f64, f64)>,
    /// The events' p95 without and with it.
    pub p95: Option<P95>,
}

impl Predicted {
    /// Of a fix.
    pub fn of(fix: &Fix) -> Self {
        Self {
            answer: fix.assessment.answer.kind().name(),
            reason: fix.assessment.reason.clone(),
            gain_ratio: fix.gain_ratio,
            p95: fix.p95,
        }
    }
}

/// How long and how often is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// Windows without, and as many with the change.
    pub rounds: u32,
    /// Length of a window.
    pub window_s: u64,
    /// How long nothing is measured after each change.
    pub settle_s: u64,
}

/// What a trial is about to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Intent {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The fix.
    pub fix: String,
    /// Its title.
    pub title: String,
    /// The ship.
    pub ship: String,
    /// What is changed.
    pub steps: Vec<StepLine>,
    /// What is predicted; nothing before the first window.
    pub predicted: Option<Predicted>,
    /// How long it takes.
    pub timeline: Timeline,
    /// The windows, in their order.
    pub windows: Vec<String>,
}

/// A trial that came to its end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The fix.
    pub fix: String,
    /// Its title.
    pub title: String,
    /// What was changed.
    pub steps: Vec<StepLine>,
    /// What was predicted.
    pub predicted: Predicted,
    /// How it was measured.
    pub timeline: Timeline,
    /// All windows, in the order in which they were measured.
    pub windows: Vec<SideLine>,
    /// The windows without the change against those with it.
    pub diff: Diff,
    /// Whether the change was left in place.
    pub kept: bool,
    /// Values that could not be taken back, each with the reason.
    pub left: Vec<String>,
    /// How a person takes back what was kept.
    pub undo: Vec<String>,
    /// How a person makes it last.
    pub lasting: Vec<String>,
}
