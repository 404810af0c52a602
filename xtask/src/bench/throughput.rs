//! The ship's events per second at full speed, with and without the deep dive, in alternating pairs.
//! Pairs without it on either side say how much two such measurements differ anyway.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use serde::Serialize;

use super::statistics::Spread;
use super::table::Table;
use super::watched::{ATTACH_LIMIT, while_attached};
use crate::shell;

/// More events per second than any ship can do.
pub const FULL_SPEED: f64 = 1e6;

/// Where mars keeps the number of the last event, u64 (vere v4: `u3A->eve_d`).
const EVENT_NUMBER_ADDRESS: u64 = 0x2_0000_0010;

/// Most that the deep dive may take of the ship's events per second, percent.
const GOAL_PERCENT: f64 = 2.0;

/// Options of `bench throughput`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Pairs of either kind.
    #[arg(long, default_value_t = 10)]
    pairs: u32,
    /// Length of one measurement, s.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pairs: 10,
            seconds: 5,
        }
    }
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    pairs: u32,
    seconds: u64,
    /// Events per second without the deep dive.
    events_per_second: Spread,
    /// Second measurement of a pair against its first, percent, neither with the deep dive.
    noise_percent: Spread,
    /// With the deep dive against without, percent; negative is fewer events.
    change_percent: Spread,
    goal_percent: f64,
}

impl Results {
    /// Change and noise floor beside the goal.
    pub fn table(&self) -> String {
        let title = format!(
            "Events per second at full speed: {} pairs of {} s, {:.0} events/s without the deep dive",
            self.pairs, self.seconds, self.events_per_second.median
        );
        let mut table = Table::new(
            title,
            &[
                "change",
                "median %",
                "lower quartile %",
                "upper quartile %",
                "goal",
            ],
        );
        for (name, spread, goal) in [
            (
                "with the deep dive",
                &self.change_percent,
                format!("≥ {:.1}", -self.goal_percent),
            ),
            ("noise floor", &self.noise_percent, String::new()),
        ] {
            let number = |value: f64| format!("{value:+.2}");
            table.row(vec![
                name.into(),
                number(spread.median),
                number(spread.lower_quartile),
                number(spread.upper_quartile),
                goal,
            ]);
        }
        table.to_string()
    }
}

/// Measures on one ship, so that both sides of a pair have the same log and heap.
pub fn run(options: Options) -> Result<Results> {
    shell::heading("throughput: the ship with and without the deep dive");
    let measurements = 4 * u64::from(options.pairs);
    let limit = measurements * (options.seconds + ATTACH_LIMIT.as_secs());
    // Syncs of a disk vary more than what is measured here, and more events are the harder case.
    let memory = Scratch::in_memory("bench")?;
    let ship = ShipOptions {
        events_per_second: Some(FULL_SPEED),
        compute_us: Some(100),
        seconds: Some(limit),
        no_truth: true,
        ..ShipOptions::default()
    }
    .start_in(memory.path())?;
    let counter = EventCounter::open(&ship)?;
    let window = Duration::from_secs(options.seconds);
    // The first seconds fill caches and grow the log from nothing.
    counter.rate(window)?;
    let (mut rates, mut noise, mut change) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..options.pairs {
        let first = counter.rate(window)?;
        let second = counter.rate(window)?;
        rates.push(first);
        noise.push(percent(second, first));
        // Each order as often as the other: a drift then cancels out.
        let (without, with) = if pair % 2 == 0 {
            let without = counter.rate(window)?;
            (without, profiled_rate(&ship, &counter, window)?)
        } else {
            let with = profiled_rate(&ship, &counter, window)?;
            (counter.rate(window)?, with)
        };
        rates.push(without);
        change.push(percent(with, without));
        eprintln!("pair {}: {without:.0} without, {with:.0} with", pair + 1);
    }
    let spread = |values: &[f64]| Spread::of(values).context("no pair was asked for");
    Ok(Results {
        pairs: options.pairs,
        seconds: options.seconds,
        events_per_second: spread(&rates)?,
        noise_percent: spread(&noise)?,
        change_percent: spread(&change)?,
        goal_percent: GOAL_PERCENT,
    })
}

fn percent(value: f64, base: f64) -> f64 {
    (value / base - 1.0) * 100.0
}

/// The rate while the deep dive captures.
fn profiled_rate(ship: &RunningShip, counter: &EventCounter, window: Duration) -> Result<f64> {
    let seconds = window.as_secs() + ATTACH_LIMIT.as_secs();
    while_attached(&Profile::deep_dive(ship.pier(), seconds), || {
        counter.rate(window)
    })
}

/// Reads the ship's event number where vere keeps it.
struct EventCounter {
    memory: File,
}

impl EventCounter {
    fn open(ship: &RunningShip) -> Result<Self> {
        let path = format!("/proc/{}/mem", ship.mars_pid());
        let memory = File::open(&path).with_context(|| format!("could not open {path}"))?;
        Ok(Self { memory })
    }

    fn event(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.memory
            .read_exact_at(&mut bytes, EVENT_NUMBER_ADDRESS)
            .context("could not read mars' event number; the ship may have ended")?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Events per second during `window`.
    fn rate(&self, window: Duration) -> Result<f64> {
        let (start, first) = (Instant::now(), self.event()?);
        std::thread::sleep(window);
        let done = self.event()?.saturating_sub(first);
        Ok(done as f64 / start.elapsed().as_secs_f64())
    }
}
