//! What `profile` says of fixes on the live kernel: ones that help the ship that they are tried on, and ones
//! that do nothing for it. What can be undone on the running host `profile trial` applies itself. What
//! takes a restart of the ship, or is not the profiler's to do, this benchmark does between two captures,
//! which `profile diff --expect` compares.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::profile::{Outcome, Profile};
use harness::scratch::Scratch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod case;
mod stage;
mod table;

use case::{Case, Way, cases};
use stage::Stage;

use crate::shell;

/// Windows of a trial that are measured without the fix, and as many with it.
const ROUNDS: u64 = 3;
/// What a trial takes besides its windows: attaching, reading captures, settling.
const OVERHEAD: Duration = Duration::from_secs(180);
/// How many ships are tried.
const SHIPS: usize = 4;
/// The baseline's name.
const BEFORE: &str = "before";

/// Options of `bench trial`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only the fixes whose names contain this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Length of a window, s; without and with the fix there are three each.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Keep what `profile` says and captures in this directory, which must be new.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            only: None,
            seconds: 10,
            keep: None,
        }
    }
}

/// What is said of a fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It got better.
    Helped,
    /// It is as it was.
    NoEffect,
    /// It got worse.
    Worse,
    /// Nothing can be said.
    NotEnoughData,
}

/// What came of a fix.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    fix: &'static str,
    /// How it was applied.
    way: &'static str,
    expected: Verdict,
    /// Nothing if it could not be tried out here.
    found: Option<Found>,
    /// Why it could not.
    failed: Option<String>,
    right: bool,
    /// How long all of it took.
    seconds: f64,
}

/// What `profile` said.
#[derive(Debug, Serialize)]
struct Found {
    verdict: Verdict,
    sentence: String,
    /// What was predicted to go away, from and to, as a share of the p95 or of the lost datagrams.
    predicted_ratio: Option<(f64, f64)>,
    /// What of that went away.
    measured_ratio: Option<f64>,
    /// p95 of the events' time without and with the fix, and what of a change would be noise.
    p95_ns: Option<[f64; 3]>,
    /// Share of the events' time that was not their computing, without and with the fix.
    stalled_ratio: [Option<f64>; 2],
    /// Datagrams lost a second, without and with it.
    lost_hz: Option<[f64; 2]>,
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Length of a window, s.
    window_s: u64,
    /// Windows without the fix, and with it.
    windows: u64,
    /// Fixes of which the right thing was said.
    right: usize,
    rows: Vec<Row>,
}

/// Tries all of them, or those asked for. One that cannot be tried here is told of, and the next one tried.
pub fn run(options: &Options) -> Result<Results> {
    shell::heading("trial: fixes that help, and fixes that do nothing");
    let scratch = Scratch::new("bench-trial")?;
    let directory = options.keep.as_deref().unwrap_or(scratch.path());
    std::fs::create_dir_all(directory)?;
    let asked = |case: &Case| match &options.only {
        Some(text) => case.name.contains(text),
        None => true,
    };
    let mut rows = Vec::new();
    for (number, case) in cases().iter().filter(|case| asked(case)).enumerate() {
        let home = directory.join(format!("{}-{}", number + 1, case.fix));
        let row = Row::of(case, options.seconds, &home);
        eprintln!("{}", row.told());
        rows.push(row);
    }
    Ok(Results {
        window_s: options.seconds,
        windows: ROUNDS,
        right: rows.iter().filter(|row| row.right).count(),
        rows,
    })
}

impl Row {
    fn of(case: &Case, seconds: u64, home: &Path) -> Self {
        eprintln!("{}: {}", case.name, case.way.name());
        let begun = Instant::now();
        let (found, failed) = match case.measure(seconds, home) {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Self {
            name: case.name,
            fix: case.fix,
            way: case.way.name(),
            expected: case.expected,
            right: (found.as_ref()).is_some_and(|found| found.verdict == case.expected),
            found,
            failed,
            seconds: begun.elapsed().as_secs_f64(),
        }
    }
}

impl Case {
    /// A ship with little memory the kernel may kill instead of letting it wait; then another one is tried.
    fn measure(&self, seconds: u64, home: &Path) -> Result<Found> {
        for ship in 1..=SHIPS {
            let home = home.join(format!("ship-{ship}"));
            std::fs::create_dir_all(&home)?;
            let mut stage = Stage::set(&self.plan)?;
            let found = self.apply(&mut stage, seconds, &home);
            if found.is_ok() || stage.is_up() {
                return found;
            }
        }
        bail!("{SHIPS} ships ended, one after the other")
    }

    fn apply(&self, stage: &mut Stage, seconds: u64, home: &Path) -> Result<Found> {
        match &self.way {
            Way::Trial => self.trial(stage, seconds, home),
            Way::EndHogs => self.before_and_after(stage, seconds, home, |stage| {
                stage.end_hogs();
                Ok(())
            }),
            Way::Restart(ship) => {
                self.before_and_after(stage, seconds, home, |stage| stage.restart(ship))
            }
        }
    }

    fn trial(&self, stage: &Stage, seconds: u64, home: &Path) -> Result<Found> {
        let run = Profile::new(["trial", self.fix, "--yes", "--keep", "never"])
            .arg("--ship")
            .arg(stage.ship.pier())
            .arg("--rounds")
            .arg(ROUNDS.to_string())
            .arg("--seconds")
            .arg(seconds.to_string())
            .output(&home.join("windows"))
            .lasting(Duration::from_secs(2 * ROUNDS * seconds) + OVERHEAD);
        let trial = said(run, home)?;
        Found::of(&trial["diff"])
    }

    /// A capture as long as the windows of a trial, the change, and another one.
    fn before_and_after(
        &self,
        stage: &mut Stage,
        seconds: u64,
        home: &Path,
        change: impl FnOnce(&mut Stage) -> Result<()>,
    ) -> Result<Found> {
        let [before, after] = ["before", "after"].map(|name| home.join(name));
        capture(stage, ROUNDS * seconds, &before)?;
        change(stage)?;
        capture(stage, ROUNDS * seconds, &after)?;
        let save = Profile::new(["baseline", "save", BEFORE]).arg(&before);
        done(&with_store(save, home))?;
        let diff = Profile::new(["diff", BEFORE]).arg(&after);
        Found::of(&said(diff.arg("--expect").arg(self.fix), home)?)
    }
}

fn capture(stage: &Stage, seconds: u64, directory: &Path) -> Result<()> {
    let run = Profile::deep_dive(stage.ship.pier(), seconds);
    done(&run.output(directory)).map(drop)
}

/// Runs it to its end, which must be a good one.
fn done(run: &Profile) -> Result<Outcome> {
    let outcome = run.run()?;
    let said = outcome.stderr.trim().lines().last().unwrap_or_default();
    ensure!(matches!(outcome.code(), Some(0 | 3)), "{said}");
    Ok(outcome)
}

/// Baselines and journal of this machine are left alone.
fn with_store(run: Profile, home: &Path) -> Profile {
    run.arg("--store").arg(home.join("store"))
}

/// The JSON that it says, which is kept.
fn said(run: Profile, home: &Path) -> Result<Value> {
    let outcome = done(&with_store(run, home).json())?;
    std::fs::write(home.join("outcome.json"), &outcome.stdout)?;
    Ok(outcome.json()?)
}

impl Found {
    fn of(diff: &Value) -> Result<Self> {
        let verdict = Verdict::deserialize(&diff["outcome"]);
        let number = |value: &Value| value.as_f64();
        let lines = diff["lines"].as_array().into_iter().flatten();
        let p95 = lines.clone().find(|line| line["metric"] == "p95");
        let p95 = p95.and_then(|line| {
            let of = |name: &str| number(&line[name]);
            Some([of("before")?, of("after")?, of("noise")?])
        });
        let expected = &diff["expected"];
        let predicted = &expected["predicted_ratio"];
        let lost = &diff["datagrams"];
        Ok(Self {
            verdict: verdict.context("`profile` says something else than this benchmark knows")?,
            sentence: diff["sentence"].as_str().unwrap_or_default().to_owned(),
            predicted_ratio: number(&predicted[0]).zip(number(&predicted[1])),
            measured_ratio: number(&expected["measured_ratio"]),
            p95_ns: p95,
            stalled_ratio: ["before", "after"].map(|side| number(&diff[side]["stalled_ratio"])),
            lost_hz: number(&lost["before_lost_hz"])
                .zip(number(&lost["after_lost_hz"]))
                .map(|(before, after)| [before, after]),
        })
    }
}
