//! `profile --ship SHIP`: capture, report, files.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::session::{self, CaptureOptions, Interrupts, Progress};
use super::{DeepDive, Format, print, render, report_of, status};
use crate::capture::file::{self, Recording};
use crate::capture::output::Output;
use crate::capture::privileges::sudo_caller;
use crate::capture::probes::ProbeOptions;
use crate::host::Roots;
use crate::model::Capture;
use crate::render::flamegraph;
use crate::report::Report;
use crate::ship::{Selector, discover};

/// CPU samples per second: 99 and not 100, so as not to march in step with what runs by the clock.
const SAMPLE_HZ: u64 = 99;
/// Ring buffer between the programs and us: 50 ms of it are 160 MB a second.
const RING_BYTES: u32 = 8 << 20;
/// What sums, symbols, report and pictures may need beside the records.
const OTHER_FILES_BYTES: u64 = 32 << 20;
/// The capture's file.
const CAPTURE: &str = "capture";
/// The report's file.
const REPORT: &str = "report.json";

pub(super) fn run(arguments: &DeepDive) -> anyhow::Result<u8> {
    let roots = Roots::default();
    let selector = arguments
        .ship
        .as_deref()
        .map_or(Selector::Only, Selector::parse);
    let ship = discover(&roots, &selector)?;
    let max_record_bytes = arguments.max_size << 20;
    let caller = sudo_caller(|name| std::env::var(name).ok());
    let output = arguments
        .output
        .as_deref()
        .map(|path| {
            let names: Vec<&str> = [CAPTURE, REPORT]
                .into_iter()
                .chain(flamegraph::KINDS.map(|(_, name)| name))
                .collect();
            Output::prepare(path, &names, max_record_bytes + OTHER_FILES_BYTES, caller)
        })
        .transpose()?;
    let options = CaptureOptions {
        seconds: arguments.seconds,
        max_record_bytes,
        probes: ProbeOptions {
            threshold_ns: arguments.threshold_us * 1000,
            sample_hz: SAMPLE_HZ,
            ring_bytes: RING_BYTES,
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
    // The report first: what follows may fail, and this is what they waited for.
    print(&render(&report, arguments.format)?)?;
    if let Some(output) = &output {
        write_files(output, &capture, &recording, &report)?;
        eprintln!(
            "written: {}",
            crate::render::harmless(&output.path().display().to_string())
        );
    }
    Ok(status(&report))
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
        )
        .map_err(std::io::Error::other)
    })?;
    let json = render(report, Format::Json)?;
    output.write(REPORT, |to| to.write_all(json.as_bytes()))?;
    for (kind, name) in flamegraph::KINDS {
        let svg =
            flamegraph::render(capture, kind).with_context(|| format!("cannot draw {name}"))?;
        match svg {
            Some(svg) => {
                output.write(name, |to| to.write_all(&svg))?;
            }
            None => eprintln!("not written: {name}, because no stack of its kind was recorded"),
        }
    }
    Ok(())
}
