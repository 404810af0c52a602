//! What BEFORE's report predicted of a fix, against what came.

use serde::{Deserialize, Serialize};

use super::compare::{Comparison, Metric, Outcome};
use crate::catalogue::{Answer, Gain};
use crate::recommend::Fix;
use crate::report::Report;
use crate::report::units::{duration, percent, percent_range};

/// Lost datagrams have no noise that two captures would tell; so much of them is taken for none, as a
/// share of those before.
const DATAGRAM_NOISE_RATIO: f64 = 0.10;
/// A prediction that leaves so much of the p95 allows for no gain at all.
const NO_GAIN_RATIO: f64 = 0.95;

/// How what came relates to what was predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Came {
    /// As much as was predicted.
    Within,
    /// Less.
    Less,
    /// More.
    More,
    /// Nothing.
    None,
    /// It cannot be told.
    NotEnoughData,
    /// BEFORE's report predicted no gain that could be measured.
    NothingPredicted,
}

/// A fix, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Which.
    pub fix: String,
    /// What was predicted to go away: from and to, as a share of the p95, or of lost datagrams.
    pub predicted_ratio: Option<(f64, f64)>,
    /// What went away; negative is more than before.
    pub measured_ratio: Option<f64>,
    /// How that relates.
    pub came: Came,
    /// In one sentence.
    pub sentence: String,
}

/// Checks the prediction for `fix`, which is one of BEFORE's.
pub fn expected(fix: &Fix, comparison: &Comparison, before: &Report, after: &Report) -> Expected {
    let checked = match (fix.assessment.answer, fix.p95) {
        (Answer::WouldHelp(Gain::Datagrams { .. }), _) => datagrams(fix, before, after),
        (Answer::WouldHelp(Gain::StalledTime { .. }), Some(_)) => latency(fix, comparison),
        _ => None,
    };
    checked.unwrap_or_else(|| Expected {
        fix: fix.id.to_owned(),
        predicted_ratio: None,
        measured_ratio: None,
        came: Came::NothingPredicted,
        sentence: format!(
            "BEFORE predicted no gain of {} that two captures could show: {}",
            fix.id, fix.assessment.reason
        ),
    })
}

fn latency(fix: &Fix, comparison: &Comparison) -> Option<Expected> {
    let p95 = fix.p95?;
    let left = |ns: u64| ns as f64 / p95.before_ns.max(1) as f64;
    let (low, high) = (left(p95.low_ns), left(p95.high_ns));
    let line = comparison.lines.iter().find(|l| l.metric == Metric::P95);
    let line = line.filter(|line| line.outcome != Outcome::NotEnoughData);
    let of = |value: f64| line.map(|line| value / line.before.max(1.0));
    let measured = line.and_then(|line| of(line.after));
    let noise = line.and_then(|line| of(line.noise)).unwrap_or(0.0);
    let came = match (line.map(|line| line.outcome), measured) {
        (Some(Outcome::Helped), Some(m)) if m + noise < low => Came::More,
        (Some(Outcome::Helped), Some(m)) if m - noise > high => Came::Less,
        (Some(Outcome::Helped), Some(_)) => Came::Within,
        (Some(_), Some(_)) => Came::None,
        _ => Came::NotEnoughData,
    };
    let mut predicted = format!(
        "BEFORE predicted of {} that {} of the p95 go away",
        fix.id,
        percent_range(1.0 - high, 1.0 - low)
    );
    if came == Came::None && high >= NO_GAIN_RATIO {
        predicted.push_str(", or nothing");
    }
    let found = match (line, measured) {
        (Some(line), Some(m)) => format!(
            "{} ({} to {}, noise {})",
            went(1.0 - m),
            duration(line.before as u64),
            duration(line.after as u64),
            percent(noise)
        ),
        _ => "of the p95 nothing can be said".to_owned(),
    };
    Some(Expected {
        fix: fix.id.to_owned(),
        predicted_ratio: Some((1.0 - high, 1.0 - low)),
        measured_ratio: measured.map(|m| 1.0 - m),
        came,
        sentence: format!("{predicted}; {found}: {}", words(came)),
    })
}

fn datagrams(fix: &Fix, before: &Report, after: &Report) -> Option<Expected> {
    let (low, high) = fix.gain_ratio?;
    let rate = |report: &Report| {
        let dropped = report.udp.as_ref()?.dropped? as f64;
        Some(dropped * 1e9 / report.window.duration_ns.max(1) as f64)
    };
    let rates = rate(before).zip(rate(after));
    let rates = rates.filter(|(before, _)| *before > 0.0);
    let measured = rates.map(|(before, after)| 1.0 - after / before);
    let came = match measured {
        None => Came::NotEnoughData,
        Some(m) if m <= DATAGRAM_NOISE_RATIO => Came::None,
        Some(m) if m < low - DATAGRAM_NOISE_RATIO => Came::Less,
        Some(m) if m > high + DATAGRAM_NOISE_RATIO => Came::More,
        Some(_) => Came::Within,
    };
    let found = match rates.zip(measured) {
        Some(((before, after), m)) => {
            format!("{} ({before:.1} to {after:.1} a second)", went(m))
        }
        None => "they were not counted in both".to_owned(),
    };
    Some(Expected {
        fix: fix.id.to_owned(),
        predicted_ratio: Some((low, high)),
        measured_ratio: measured,
        came,
        sentence: format!(
            "BEFORE predicted of {} that {} of the lost datagrams go away; {found}: {}",
            fix.id,
            percent_range(low, high),
            words(came)
        ),
    })
}

fn went(ratio: f64) -> String {
    match ratio >= 0.0 {
        true => format!("{} did", percent(ratio)),
        false => format!("there are {} more", percent(-ratio)),
    }
}

fn words(came: Came) -> &'static str {
    match came {
        Came::Within => "as predicted",
        Came::Less => "less than predicted",
        Came::More => "more than predicted",
        Came::None => "no gain came",
        Came::NotEnoughData => "not enough data",
        Came::NothingPredicted => "nothing was predicted",
    }
}
