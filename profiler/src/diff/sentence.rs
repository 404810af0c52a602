//! A comparison in one sentence.

use super::compare::{Comparison, DECIDING, Line, Metric, Outcome};
use crate::attribute::Cause;
use crate::model::NS_PER_S;
use crate::report::units::duration;

/// A cause is named if it did so much of a change.
const NAMED_RATIO: f64 = 0.25;
/// Lengths of captures are proposed in steps of this.
const STEP_S: u64 = 10;
/// Longer ones are not.
const MAX_NEEDED_S: u64 = 600;

/// All of it.
pub fn sentence(comparison: &Comparison) -> String {
    let outcome = comparison.outcome;
    let title = outcome.title();
    if let Some(reason) = &comparison.unknown {
        return format!("{title}. {reason}.");
    }
    let of = |metric| comparison.lines.iter().find(|line| line.metric == metric);
    let (Some(p50), Some(p95)) = (of(Metric::P50), of(Metric::P95)) else {
        return format!("{title}.");
    };
    match outcome {
        Outcome::Helped | Outcome::Worse => {
            let lines = || DECIDING.into_iter().filter_map(of);
            let Some(decides) = lines().find(|line| line.outcome == outcome) else {
                return format!("{title}.");
            };
            let cause = cause(&comparison.lines, decides);
            let cause = cause.map_or(String::new(), |cause| format!("; {cause}"));
            format!(
                "{title}. Of the events' time, {}{cause}{}{}.",
                moved(decides),
                against(lines(), outcome),
                untold(&[p50, p95])
            )
        }
        Outcome::NoEffect => {
            let rest = match p95.outcome {
                Outcome::NotEnoughData => {
                    let reason = p95.reason.clone();
                    let noise = || format!("{} is noise", noise(p95));
                    format!(
                        "; of p95 nothing can be said: {}",
                        reason.unwrap_or_else(noise)
                    )
                }
                _ => format!("; {}", stayed(p95)),
            };
            format!("{title}. Of the events' time, {}{rest}.", stayed(p50))
        }
        Outcome::NotEnoughData => format!(
            "{title}. The events' time changes too much within each capture: of p50 {} is noise{}.",
            noise(p50),
            needed(comparison)
        ),
    }
}

fn needed(comparison: &Comparison) -> String {
    match comparison.needed_ns {
        Some(ns) if ns > MAX_NEEDED_S * NS_PER_S => "; compare when the host is quieter".to_owned(),
        Some(ns) => format!(
            "; capture {} s each, or when the host is quieter",
            ns.div_ceil(STEP_S * NS_PER_S) * STEP_S
        ),
        None => String::new(),
    }
}

/// What changed the other way.
fn against<'a>(lines: impl Iterator<Item = &'a Line>, outcome: Outcome) -> String {
    let other = |line: &&Line| line.outcome.is_change() && line.outcome != outcome;
    lines
        .filter(other)
        .map(|line| format!("; but {}", moved(line)))
        .collect()
}

/// Of what nothing can be said.
fn untold(lines: &[&Line]) -> String {
    let unknown = lines.iter();
    let unknown = unknown.filter(|line| line.outcome == Outcome::NotEnoughData);
    let names: Vec<&str> = unknown.map(|line| name(line)).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!("; of {} nothing can be said", names.join(" and ")),
    }
}

fn name(line: &Line) -> &'static str {
    match line.metric {
        Metric::P50 => "p50",
        Metric::Quick => "the mean of the quickest quarter",
        _ => "p95",
    }
}

/// `p95 fell from 154 ms to 21 ms (-86 %, noise 9 %)`.
fn moved(line: &Line) -> String {
    let verb = if line.change() < 0.0 { "fell" } else { "rose" };
    format!(
        "{} {verb} from {} to {} ({}, noise {})",
        name(line),
        duration(line.before as u64),
        duration(line.after as u64),
        change(line),
        noise(line)
    )
}

fn stayed(line: &Line) -> String {
    format!(
        "{} is {}, before {} (noise {})",
        name(line),
        duration(line.after as u64),
        duration(line.before as u64),
        noise(line)
    )
}

/// `-86 %`, or from the double on `9.3 times`.
pub fn change(line: &Line) -> String {
    let ratio = line.change() / line.before;
    match () {
        () if !ratio.is_finite() => "-".to_owned(),
        () if ratio >= 1.0 => format!("{:.1} times", ratio + 1.0),
        () => format!("{:+.0} %", ratio * 100.0),
    }
}

fn noise(line: &Line) -> String {
    format!("{:.0} %", 100.0 * line.noise / line.before.max(1.0))
}

/// The cause that did most of a change, if any did much of it.
fn cause(lines: &[Line], decides: &Line) -> Option<String> {
    let sign = decides.change().signum();
    let causes = lines.iter().filter_map(|line| match line.metric {
        Metric::Cause(cause) => Some((cause, line.change() * sign)),
        _ => None,
    });
    let all: f64 = causes.clone().map(|(_, change)| change.max(0.0)).sum();
    let (cause, change) = causes.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let named = all > 0.0 && change >= NAMED_RATIO * all && cause != Cause::Unexplained;
    named.then(|| {
        let less = if sign < 0.0 { "less" } else { "more" };
        format!(
            "most of it is {}, {} an event {less}",
            cause.name(),
            duration(change as u64)
        )
    })
}
