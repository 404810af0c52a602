//! How well events are found: those that the report follows against the ship's own log, at growing rates,
//! for either of vere's arrangements; and at the highest rate beside many switches of other tasks.

use std::time::Instant;

use anyhow::Result;
use harness::ground_truth::{GOAL_NS, GOAL_RATIO, Outcome, PhaseErrors, measure};
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use serde::Serialize;

use super::switcher::{Switcher, switches};
use super::table::Table;
use crate::shell;

/// Share of the events that must be found, per cent.
const GOAL_FOUND_PERCENT: f64 = 99.9;
/// Events per second.
const RATES: [f64; 3] = [1.0, 100.0, 1000.0];
/// Switches of other tasks per second that are tried beside the highest rate.
const OTHER_SWITCHES: u64 = 100_000;
/// Computing per event, µs: at the highest rate mars computes for a third of the time.
const COMPUTE_US: u64 = 300;

/// Options of `bench events`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Length of a capture, s.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Keep the pier on the disk of temporary files and not in memory.
    #[arg(long)]
    disk: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seconds: 20,
            disk: false,
        }
    }
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    goal_found_percent: f64,
    goal_ns: u64,
    goal_ratio: f64,
    seconds: u64,
    captures: Vec<Capture>,
}

/// One capture.
#[derive(Debug, Serialize)]
struct Capture {
    generation: &'static str,
    /// Context switches of the whole host per second, from before the ship starts until it has stopped.
    host_switches_per_second: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

impl Results {
    /// A table of what was found, and one of how far phases are off.
    pub fn table(&self) -> String {
        let title = format!(
            "Events found, of those in the ship's own log: goal {} %, no record lost; captures of {} s",
            self.goal_found_percent, self.seconds
        );
        let columns = [
            "ship",
            "events/s",
            "events",
            "found",
            "found %",
            "unmatched",
            "lost",
            "host switches/s",
        ];
        let mut found = Table::new(title, &columns);
        let title = format!(
            "Phases, against the same log: goal {} µs + {:.0} %",
            self.goal_ns / 1000,
            self.goal_ratio * 100.0
        );
        let columns = [
            "ship",
            "events/s",
            "phase",
            "truth p50 µs",
            "within %",
            "bias p50 µs",
            "error p50 µs",
            "p99 µs",
            "max µs",
        ];
        let mut phases = Table::new(title, &columns);
        for Capture {
            generation,
            host_switches_per_second,
            outcome,
        } in &self.captures
        {
            let rate = format!("{:.0}", outcome.events_per_second);
            found.row(vec![
                (*generation).into(),
                rate.clone(),
                outcome.events.to_string(),
                outcome.found.to_string(),
                format!("{:.2}", outcome.found_percent),
                outcome.unmatched.to_string(),
                outcome.lost.to_string(),
                host_switches_per_second.to_string(),
            ]);
            for phase in &outcome.phases {
                phases.row(row(generation, &rate, phase));
            }
        }
        format!("{found}{phases}")
    }
}

fn row(generation: &str, rate: &str, phase: &PhaseErrors) -> Vec<String> {
    let us = |ns: u64| format!("{:.0}", ns as f64 / 1000.0);
    vec![
        generation.into(),
        rate.into(),
        phase.phase.clone(),
        us(phase.truth_p50_ns),
        format!("{:.1}", phase.within_percent),
        format!("{:+.0}", phase.bias_p50_ns as f64 / 1000.0),
        us(phase.error_p50_ns),
        us(phase.error_p99_ns),
        us(phase.error_max_ns),
    ]
}

/// Measures every rate for both.
pub fn run(options: &Options) -> Result<Results> {
    shell::heading("events: what is found of the ship's own log");
    let mut captures = Vec::new();
    for generation in ["mars", "serf"] {
        for rate in RATES {
            captures.push(capture(options, generation, rate)?);
        }
        let _switcher = Switcher::start(OTHER_SWITCHES)?;
        captures.push(capture(options, generation, RATES[2])?);
    }
    Ok(Results {
        goal_found_percent: GOAL_FOUND_PERCENT,
        goal_ns: GOAL_NS,
        goal_ratio: GOAL_RATIO,
        seconds: options.seconds,
        captures,
    })
}

fn capture(options: &Options, generation: &'static str, rate: f64) -> Result<Capture> {
    let home = if options.disk {
        Scratch::new("bench")
    } else {
        Scratch::in_memory("bench")
    }?;
    let ship = ShipOptions {
        generation: Some(generation),
        events_per_second: Some(rate),
        compute_us: Some(COMPUTE_US),
        dirty_pages: Some(1),
        ..ShipOptions::default()
    };
    let (begun, before) = (Instant::now(), switches()?);
    let outcome = measure(&ship, home.path(), options.seconds)?;
    let switched = switches()? - before;
    eprintln!(
        "{generation}, {rate}/s: {} of {} found",
        outcome.found, outcome.events
    );
    Ok(Capture {
        generation,
        host_switches_per_second: (switched as f64 / begun.elapsed().as_secs_f64()) as u64,
        outcome,
    })
}
