//! `profile diff`: before and after.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::baseline::{StoreArgs, named};
use super::{DONE, EXCEEDED, Format, print};
use crate::aggregate::aggregate;
use crate::attribute::{Attribution, attribute};
use crate::diff::{self, Diff, Outcome, Sample, Side};
use crate::model::{Capture, NS_PER_S};
use crate::render;
use crate::report::{Report, report_of};

const EXAMPLES: &str = "\
Examples:
  profile diff zod-1 zod-2                  two captures, by file or directory
  profile diff quiet zod-2 --expect io-limit  a baseline; was the gain as predicted?
  profile diff zod-1 zod-2 --fail-on worse  for scripts: 4 if it got worse
  profile diff --check zod-1                what diff can tell on this ship

Exit status: 0 done, 1 failed, 2 wrong usage, 4 it is worse and --fail-on worse
was asked for.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DiffArgs {
    /// The capture before: a file, the directory of a deep dive, or a baseline's name.
    before: PathBuf,
    /// The capture after, likewise.
    #[arg(required_unless_present = "check")]
    after: Option<PathBuf>,
    /// The fix that was applied in between: checks the gain that BEFORE's report predicted.
    #[arg(long, value_name = "FIX", conflicts_with = "check")]
    expect: Option<String>,
    /// Ends with status 4 if it is so.
    #[arg(long, value_enum, value_name = "OUTCOME", conflicts_with = "check")]
    fail_on: Option<FailOn>,
    /// Compares pairs of windows of one long capture of an unchanged ship instead, as they are and
    /// with events made longer or shorter by a fifth: how often diff would be wrong, and right.
    #[arg(long, conflicts_with = "after")]
    check: bool,
    /// Length of the windows of --check, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, requires = "check", value_parser = clap::value_parser!(u64).range(1..=3600))]
    window: u64,
    /// Number of the pairs of --check.
    #[arg(long, value_name = "N", default_value_t = 200, requires = "check", value_parser = clap::value_parser!(u64).range(2..=10_000))]
    pairs: u64,
    #[command(flatten)]
    store: StoreArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What ends with status 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Event latency got worse.
    Worse,
}

/// By how much the events of --check are made longer or shorter: the smallest change that matters.
const SHIFT_RATIO: f64 = 0.20;

pub(super) fn run(arguments: &DiffArgs) -> anyhow::Result<u8> {
    let Some(after) = &arguments.after else {
        return check(arguments);
    };
    let diff = compare(
        &arguments.before,
        after,
        arguments.expect.as_deref(),
        &arguments.store,
    )?;
    print(&match arguments.format {
        Format::Text => render::diff::text(&diff),
        Format::Json => render::diff::json(&diff)?,
    })?;
    Ok(match (arguments.fail_on, diff.comparison.outcome) {
        (Some(FailOn::Worse), Outcome::Worse) => EXCEEDED,
        _ => DONE,
    })
}

/// Compares two captures as the user named them.
pub(super) fn compare(
    before: &Path,
    after: &Path,
    fix: Option<&str>,
    store: &StoreArgs,
) -> anyhow::Result<Diff> {
    let fix = fix.map(super::catalogue::find).transpose()?;
    let (old, new) = (Judged::read(before, store)?, Judged::read(after, store)?);
    let predicted = fix.and_then(|fix| old.report.fixes.iter().find(|one| one.id == fix.id));
    Ok(diff::diff(&old.side(), &new.side(), predicted)?)
}

/// A capture with all that is made of it.
struct Judged {
    name: String,
    capture: Capture,
    attribution: Attribution,
    report: Report,
}

impl Judged {
    fn read(path: &Path, store: &StoreArgs) -> anyhow::Result<Self> {
        let capture = named(path, || store.open())?;
        let summaries = aggregate(&capture);
        let attribution = attribute(&capture, &summaries);
        let report = report_of(&capture, &summaries, &attribution);
        Ok(Self {
            name: path.display().to_string(),
            capture,
            attribution,
            report,
        })
    }

    fn side(&self) -> Side<'_> {
        Side {
            name: &self.name,
            capture: &self.capture,
            attribution: &self.attribution,
            report: &self.report,
        }
    }
}

fn check(arguments: &DiffArgs) -> anyhow::Result<u8> {
    let judged = Judged::read(&arguments.before, &arguments.store)?;
    let sample = Sample::of(&judged.capture, &judged.attribution)
        .context("too few events of this capture could be followed from arrival to release")?;
    let window_ns = arguments.window * NS_PER_S;
    let checked = diff::check(&sample, window_ns, arguments.pairs, SHIFT_RATIO);
    let checked = checked.with_context(|| {
        format!(
            "a capture of {:.0} s is too short for windows of {} s: it must be three times as long",
            sample.window_ns as f64 / NS_PER_S as f64,
            arguments.window
        )
    })?;
    print(&match arguments.format {
        Format::Text => render::diff::check_text(&checked),
        Format::Json => render::diff::check_json(&checked)?,
    })?;
    Ok(DONE)
}
