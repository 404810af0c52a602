//! The list of baselines.

use serde::Serialize;

use super::diff::seconds;
use super::json::pretty;
use super::moment;
use super::page::Page;
use crate::attribute::{Cause, VerdictKind};
use crate::report::Report;
use crate::report::units::{count, duration};

/// Version of the JSON.
const SCHEMA_VERSION: u32 = 1;

/// One of them.
#[derive(Debug, Serialize)]
pub struct Listed {
    name: String,
    /// Nothing of it where it cannot be read.
    #[serde(flatten)]
    known: Option<Known>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Known {
    ship: String,
    start_unix_ns: u64,
    duration_ns: u64,
    events: Option<u64>,
    p95_ns: Option<u64>,
    verdict: VerdictKind,
    cause: Option<Cause>,
}

impl Listed {
    /// By its report.
    pub fn of(name: &str, report: &Report) -> Self {
        let all = report.event_times.as_ref().map(|times| &times.all);
        Self {
            name: name.to_owned(),
            known: Some(Known {
                ship: report.ship.label.clone(),
                start_unix_ns: report.window.start_unix_ns,
                duration_ns: report.window.duration_ns,
                events: all.map(|all| all.count),
                p95_ns: all.map(|all| all.p95_ns),
                verdict: report.verdict.kind,
                cause: report.verdict.cause,
            }),
            error: None,
        }
    }

    /// One that cannot be read.
    pub fn unreadable(name: &str, error: &str) -> Self {
        Self {
            name: name.to_owned(),
            known: None,
            error: Some(error.to_owned()),
        }
    }
}

/// For a terminal.
pub fn text(all: &[Listed], directory: &str) -> String {
    let mut page = Page::default();
    if all.is_empty() {
        page.wrapped("", &format!("no baseline in {directory}"));
        return page.into_text();
    }
    page.line(&format!(
        "{:<16}{:<18}{:<18}{:>6}{:>7}{:>8}  {}",
        "NAME", "SHIP", "WHEN (UTC)", "LENGTH", "EVENTS", "P95", "VERDICT"
    ));
    for one in all {
        match &one.known {
            Some(known) => line(&mut page, &one.name, known),
            None => {
                let error = one.error.as_deref().unwrap_or_default();
                page.hanging(&format!("{:<16}", one.name), 16, error);
            }
        }
    }
    page.into_text()
}

fn line(page: &mut Page, name: &str, known: &Known) {
    let unknown = || "-".to_owned();
    let verdict = match (known.verdict, known.cause) {
        (VerdictKind::Healthy, _) => "well",
        (_, Some(cause)) => cause.name(),
        (VerdictKind::TooFewEvents, _) => "idle",
        (VerdictKind::NotUp, _) => "down",
        _ => "unclear",
    };
    // Long names take a line of their own.
    let (name, ship) = (super::harmless(name), super::harmless(&known.ship));
    let start = match name.chars().count() < 16 && ship.chars().count() < 18 {
        true => format!("{name:<16}{ship:<18}"),
        false => {
            page.line(&format!("{name}  {ship}"));
            " ".repeat(34)
        }
    };
    page.line(&format!(
        "{start}{:<18}{:>6}{:>7}{:>8}  {verdict}",
        moment(known.start_unix_ns),
        seconds(known.duration_ns),
        known.events.map_or_else(unknown, count),
        known.p95_ns.map_or_else(unknown, duration),
    ));
}

/// As JSON.
///
/// # Errors
/// Never in practice: there is nothing in it that JSON has no form for.
pub fn json(all: &[Listed], directory: &str) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct List<'a> {
        schema_version: u32,
        directory: &'a str,
        baselines: &'a [Listed],
    }
    pretty(&List {
        schema_version: SCHEMA_VERSION,
        directory,
        baselines: all,
    })
}
