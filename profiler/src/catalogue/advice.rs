//! The advices of the document that this profiler implements (a guide for performance engineers of Urbit
//! ships), word for word, and what became of each.

mod guide;

use serde::Serialize;

pub use guide::ADVICES;

/// What is true of an advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Right where its fix says that it would help.
    ByMeasurement,
    /// Right for some versions or hosts only; its fix says for which.
    Conditional,
    /// Does not do what it is advised for.
    NoEffect,
    /// Can make it worse.
    CanHarm,
    /// A way of working, which the commands follow.
    Practice,
}

impl Verdict {
    /// In a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::ByMeasurement => "right where measured",
            Self::Conditional => "right for some",
            Self::NoEffect => "no effect",
            Self::CanHarm => "can harm",
            Self::Practice => "a way of working",
        }
    }
}

/// One advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Its words.
    pub quote: &'static str,
    /// What is true of it.
    pub verdict: Verdict,
    /// Fixes that weigh it.
    pub fixes: &'static [&'static str],
    /// Why, in short.
    pub note: &'static str,
}

const fn advice(
    quote: &'static str,
    verdict: Verdict,
    fixes: &'static [&'static str],
    note: &'static str,
) -> Advice {
    Advice {
        quote,
        verdict,
        fixes,
        note,
    }
}
