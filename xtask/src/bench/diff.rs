//! How well `profile diff` tells: one long capture of a ship that nobody changes, of which pairs of windows
//! are compared, as they are and with events made longer or shorter by a fifth (`profile diff --check`).
//!
//! Pairs overlap: a capture of ten windows holds five that do not. So the shares below are of this
//! recording, and another one of the same ship may have others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::peer::PeerOptions;
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::shell;

/// Most pairs of an unchanged ship that may be called helped or worse, per cent.
const GOAL_ALARMS_PERCENT: f64 = 5.0;
/// Least share of shifts by 20 % that must be found, per cent.
const GOAL_FOUND_PERCENT: f64 = 90.0;

/// Timers a second.
const TIMERS_HZ: f64 = 37.0;
/// Packets a second, on average, and how many come at once: those wait for each other. Were there as many
/// as timers, the two would wait for each other always or never, by how they happened to begin.
const PACKETS_HZ: f64 = 23.0;
const BURST: u32 = 3;
/// Computing per event, µs.
const COMPUTE_US: u64 = 3000;
/// How long the ship works before it is recorded: caches fill, and the log grows from nothing.
const WARM_UP: Duration = Duration::from_secs(5);
/// What starting and attaching may take before the peer would end.
const SPARE_S: u64 = 120;
/// Limit on the recording, MiB: what 128 hold is less than five minutes.
const MAX_MIB: u64 = 1024;

/// Options of `bench diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Length of the recording, s.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// Length of a window, s.
    #[arg(long, default_value_t = 30)]
    window: u64,
    /// Pairs of windows.
    #[arg(long, default_value_t = 200)]
    pairs: u64,
    /// Keep the pier on the disk of temporary files and not in memory.
    #[arg(long)]
    disk: bool,
    /// Keep the recording in this directory, which must be new.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seconds: 300,
            window: 30,
            pairs: 200,
            disk: false,
            keep: None,
        }
    }
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    goal_alarms_percent: f64,
    goal_found_percent: f64,
    /// Pairs of an unchanged ship that were called helped or worse.
    alarms_percent: f64,
    /// Shifts that were called what they are.
    found_percent: f64,
    /// Whether the pier was on a disk.
    disk: bool,
    check: Check,
}

/// What `profile diff --check` says.
#[derive(Debug, Serialize, Deserialize)]
struct Check {
    recording_ns: u64,
    window_ns: u64,
    /// In a window: fewest, on average, most.
    events: [u64; 3],
    shift_ratio: f64,
    same: Tally,
    shifted: Tally,
    noise_ratios: [f64; 3],
}

/// What was said of pairs.
#[derive(Debug, Serialize, Deserialize)]
struct Tally {
    pairs: u64,
    helped: u64,
    worse: u64,
    no_effect: u64,
    not_enough_data: u64,
    found: u64,
    any_changed: u64,
}

impl Results {
    fn new(check: Check, disk: bool) -> Self {
        let percent = |part: u64, of: &Tally| part as f64 / of.pairs.max(1) as f64 * 100.0;
        Self {
            goal_alarms_percent: GOAL_ALARMS_PERCENT,
            goal_found_percent: GOAL_FOUND_PERCENT,
            alarms_percent: percent(check.same.helped + check.same.worse, &check.same),
            found_percent: percent(check.shifted.found, &check.shifted),
            disk,
            check,
        }
    }

    /// What was said of the pairs, beside the goals.
    pub fn table(&self) -> String {
        let Check {
            recording_ns,
            window_ns,
            events: [fewest, mean, most],
            noise_ratios: [p50, p95, quick],
            ..
        } = self.check;
        let seconds = |ns: u64| ns as f64 / 1e9;
        let title = format!(
            "Pairs of windows of {:.0} s from {:.0} s of an unchanged ship, {fewest} to {most} events \
             each ({mean} on average); noise of p50 {:.1} %, of p95 {:.1} %, of \
             the quickest quarter's mean {:.1} %",
            seconds(window_ns),
            seconds(recording_ns),
            p50 * 100.0,
            p95 * 100.0,
            quick * 100.0
        );
        let columns = [
            "pairs",
            "helped",
            "worse",
            "no effect",
            "not enough data",
            "share %",
            "goal %",
        ];
        let mut table = Table::new(title, &columns);
        let mut row = |name: String, tally: &Tally, share: f64, goal: String| {
            let counts = [
                tally.helped,
                tally.worse,
                tally.no_effect,
                tally.not_enough_data,
            ];
            let mut cells = vec![name];
            cells.extend(counts.map(|count| count.to_string()));
            cells.extend([format!("{share:.1}"), goal]);
            table.row(cells);
        };
        row(
            format!("{} as they are: called otherwise", self.check.same.pairs),
            &self.check.same,
            self.alarms_percent,
            format!("≤ {:.0}", self.goal_alarms_percent),
        );
        row(
            format!(
                "{} shifted by {:.0} %: found",
                self.check.shifted.pairs,
                self.check.shift_ratio * 100.0
            ),
            &self.check.shifted,
            self.found_percent,
            format!("≥ {:.0}", self.goal_found_percent),
        );
        table.to_string()
    }
}

/// Records one ship, and lets `profile` compare the recording with itself.
pub fn run(options: &Options) -> Result<Results> {
    shell::heading("diff: pairs of windows of an unchanged ship");
    let scratch = Scratch::new("bench-diff")?;
    let recording = match &options.keep {
        Some(directory) => directory.clone(),
        None => scratch.path().join("run"),
    };
    record(options, &recording)?;
    let arguments = ["diff".as_ref(), "--check".as_ref(), recording.as_os_str()];
    let outcome = Profile::new(arguments)
        .arg("--window")
        .arg(options.window.to_string())
        .arg("--pairs")
        .arg(options.pairs.to_string())
        .json()
        .run()?;
    ensure!(
        outcome.code() == Some(0),
        "profile diff ended with {}: {}",
        outcome.status,
        outcome.stderr
    );
    let check = serde_json::from_str(&outcome.stdout)
        .context("`profile diff --check` says something else than this benchmark knows")?;
    Ok(Results::new(check, options.disk))
}

/// A ship with timers and packets, watched by the deep dive.
fn record(options: &Options, recording: &Path) -> Result<()> {
    let home = match options.disk {
        true => Scratch::new("bench"),
        false => Scratch::in_memory("bench"),
    }?;
    let mut ship = ShipOptions {
        events_per_second: Some(TIMERS_HZ),
        compute_us: Some(COMPUTE_US),
        dirty_pages: Some(2),
        no_truth: true,
        ..ShipOptions::default()
    }
    .start_in(home.path())?;
    let peer = PeerOptions {
        packets_per_second: PACKETS_HZ,
        bytes: 1000,
        seconds: options.seconds + SPARE_S,
        bursts: Some(BURST),
    }
    .start(ship.udp_port())?;
    std::thread::sleep(WARM_UP);
    eprintln!("records {} s", options.seconds);
    let outcome = Profile::deep_dive(ship.pier(), options.seconds)
        .output(recording)
        .arg("--max-size")
        .arg(MAX_MIB.to_string())
        .run()?;
    drop(peer);
    ship.stop()?;
    ensure!(
        matches!(outcome.code(), Some(0 | 3)),
        "profile ended with {}: {}",
        outcome.status,
        outcome.stderr
    );
    eprint!("{}", outcome.stdout);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_pairs_and_stand_beside_the_goals() {
        let check = r#"{"recording_ns":300000000000,"window_ns":30000000000,"events":[1700,1800,1900],
            "shift_ratio":0.2,"noise_ratios":[0.05,0.1,0.03],
            "same":{"pairs":200,"helped":3,"worse":1,"no_effect":190,"not_enough_data":6,"found":0,
                "any_changed":9},
            "shifted":{"pairs":200,"helped":95,"worse":90,"no_effect":15,"not_enough_data":0,
                "found":185,"any_changed":200}}"#;
        let results = Results::new(serde_json::from_str(check).unwrap(), false);
        assert_eq!((results.alarms_percent, results.found_percent), (2.0, 92.5));
        let table = results.table();
        assert!(table.contains("≤ 5") && table.contains("≥ 90"), "{table}");
    }
}
