//! `profile --ship SHIP`: capture, report, files.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::interrupts::Interrupts;
use super::session::{self, CaptureOptions, Progress};
use super::{DeepDive, Format, print, render, report_of, status};
use crate::capture::file;
use crate::capture::output::Output;
use crate::capture::privileges::{sudo_caller, with_later_rights};
use crate::capture::probes::ProbeOptions;
use crate::capture::recording::Recording;
use crate::host::Roots;
use crate::model::Capture;
use crate::render::flamegraph::{self, FlamegraphError, Picture};
use crate::render::page::Page;
use crate::report::Report;
use crate::ship::{Selector, Ship, discover};

/// Waits from which on it is known moment by moment what the ship's threads did: below the waits of a
/// commit to the quickest disks, above those between threads that only hand work over.
const TIMELINE_NS: u64 = 20_000;
/// What sums, symbols, report and pictures may need beside the records.
const OTHER_FILES_BYTES: u64 = 32 << 20;
/// The capture's file.
pub(super) const CAPTURE: &str = "capture";
/// Why an output folder is not even looked at.
const REFUSED: &str = "cannot check the output directory with the caller's rights";
/// The report's file.
const REPORT: &str = "report.json";

pub(super) fn run(arguments: &DeepDive) -> anyhow::Result<u8> {
    let roots = Roots::default();
    let selector = Selector::of(arguments.ship.as_deref());
    let ship = discover(&roots, &selector)?;
    let max_record_bytes = arguments.max_size << 20;
    let caller = sudo_caller(|name| std::env::var(name).ok());
    let output = match &arguments.output {
        Some(path) => Some(prepare(path, &ship, max_record_bytes, caller)?),
        None => None,
    };
    let options = CaptureOptions {
        seconds: arguments.seconds,
        max_record_bytes,
        probes: ProbeOptions {
            recording: true,
            threshold_ns: arguments.threshold_us * 1000,
            timeline_ns: TIMELINE_NS.min(arguments.threshold_us * 1000),
            sample_hz: arguments.frequency,
            user_stacks: ship.keeps_frame_pointers(),
            ring_bytes: arguments.ring_kib.saturating_mul(1024),
            log_level: if arguments.verbose {
                log::LevelFilter::Debug
            } else {
                log::LevelFilter::Off
            },
        },
    };
    let interrupts = Interrupts::listen()?;
    let bar = progress_bar(arguments.seconds, &ship.label());
    let mut show = |progress: Progress| {
        bar.set_position(progress.elapsed.as_millis() as u64);
        bar.set_message(format!("{} records", progress.records));
    };
    let taken = session::run(&roots, ship, &options, caller, interrupts, &mut show);
    bar.finish_and_clear();
    let (capture, recording) = taken?.into_capture();
    let report = report_of(&capture);
    // The report first: what follows may fail, and this is what they waited for. But a reader that has
    // gone away must not cost them the files.
    let printed = print(&render(&report, arguments.format)?);
    if let Some(output) = &output {
        write_files(output, &capture, &recording, &report)?;
        eprintln!(
            "written: {}",
            crate::render::harmless(&output.path().display().to_string())
        );
    }
    printed?;
    Ok(status(&report))
}

/// The output folder, ready to be written to after privileges have gone.
fn prepare(
    path: &Path,
    ship: &Ship,
    max_record_bytes: u64,
    caller: Option<(u32, u32)>,
) -> anyhow::Result<Output> {
    let names: Vec<&str> = [CAPTURE, REPORT]
        .into_iter()
        .chain(flamegraph::KINDS.map(|(_, name)| name))
        .collect();
    let needed_bytes = max_record_bytes + OTHER_FILES_BYTES;
    make_directory(path, ship, caller)?;
    let prepared = with_later_rights(caller, || Output::prepare(path, &names, needed_bytes));
    Ok(prepared.context(REFUSED)??)
}

/// Makes an output folder if it is not there, and not in the ship's pier. Root may make it anywhere; who
/// called sudo, only where they may.
pub(super) fn make_directory(
    path: &Path,
    ship: &Ship,
    caller: Option<(u32, u32)>,
) -> anyhow::Result<()> {
    let pier = std::fs::metadata(&ship.pier.reachable).ok();
    let pier = pier.map(|pier| (pier.dev(), pier.ino()));
    match caller {
        Some(_) => {
            with_later_rights(caller, || Output::make(path, pier)).context(REFUSED)??;
        }
        None => Output::make(path, pier)?,
    }
    Ok(())
}

/// A bar on a terminal; elsewhere one line, at once.
fn progress_bar(seconds: u64, ship: &str) -> ProgressBar {
    let ship = crate::render::harmless(ship);
    let bar = ProgressBar::new(seconds * 1000);
    if bar.is_hidden() {
        eprintln!("capturing {ship} for {seconds} s; Ctrl-C ends early and still reports");
    }
    let template = format!(
        "capturing {} {{wide_bar}} {{elapsed}}/{seconds}s {{msg}}",
        ship.replace(['{', '}'], "?")
    );
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(0));
    bar.tick();
    bar
}

fn write_files(
    output: &Output,
    capture: &Capture,
    recording: &Recording,
    report: &Report,
) -> anyhow::Result<()> {
    output.write(CAPTURE, |to| {
        file::write(
            to,
            &capture.meta,
            recording,
            &capture.totals,
            &capture.symbols,
            &capture.hoon,
        )
        .map_err(std::io::Error::other)
    })?;
    let json = render(report, Format::Json)?;
    output.write(REPORT, |to| to.write_all(json.as_bytes()))?;
    for (kind, name) in flamegraph::KINDS {
        match flamegraph::render(&Picture::of(capture, kind)) {
            Ok(svg) => {
                output.write(name, |to| to.write_all(&svg))?;
            }
            Err(FlamegraphError::Lacks(why)) => {
                let mut page = Page::default();
                page.hanging(&format!("not written: {name}: "), 2, &why);
                eprint!("{}", page.into_text());
            }
            Err(error) => return Err(error).with_context(|| format!("cannot draw {name}")),
        }
    }
    Ok(())
}
