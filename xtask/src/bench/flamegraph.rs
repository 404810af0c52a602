//! Time from a capture's file to its flamegraph, beside `perf script` and inferno on samples of the same
//! ship.
//!
//! A capture of some seconds holds too few samples, so its own are repeated until there are enough: as
//! they were recorded, and, as the worst that there can be, each with a deep stack of its own that is
//! put together from the recorded addresses.

use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use harness::workspace;
use inferno::collapse::Collapse as _;
use serde::Serialize;

use super::table::Table;
use crate::shell;

/// Length of the recordings, s.
const SECONDS: u64 = 10;
/// What it may take, s.
const GOAL_S: f64 = 1.0;
/// User frames of a deep stack (the record's most, `profiler_common::record::MAX_USER_FRAMES`).
const DEEP_FRAMES: usize = 127;
/// Of these, the outermost that all have in common.
const SHARED_FRAMES: usize = 30;
/// Kinds of records (`profiler_common::record`).
const SAMPLE: u32 = 2;
const HOON: u32 = 9;
/// Bytes of a record's header, and where it names its kind and thread.
const HEADER: usize = 24;
/// Runs of each, of which the median counts.
const RUNS: usize = 5;

/// Options of `bench flamegraph`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Samples.
    #[arg(long, default_value_t = 100_000)]
    samples: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { samples: 100_000 }
    }
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    samples: u64,
    goal_s: f64,
    runs: Vec<Timed>,
}

/// One way to a flamegraph.
#[derive(Debug, Serialize)]
struct Timed {
    what: String,
    samples: u64,
    seconds: f64,
    svg_bytes: u64,
}

impl Results {
    /// Each way with its time.
    pub fn table(&self) -> String {
        let title = format!(
            "From capture to SVG, {} samples (goal {:.0} s): median of {RUNS} runs",
            self.samples, self.goal_s
        );
        let columns = ["what", "samples", "s", "s per 100,000", "SVG KiB"];
        let mut table = Table::new(title, &columns);
        for run in &self.runs {
            table.row(vec![
                run.what.clone(),
                run.samples.to_string(),
                format!("{:.2}", run.seconds),
                format!("{:.2}", run.seconds / run.samples.max(1) as f64 * 1e5),
                (run.svg_bytes >> 10).to_string(),
            ]);
        }
        table.to_string()
    }
}

/// Measures.
pub fn run(options: Options) -> Result<Results> {
    shell::heading("flamegraphs");
    let home = Scratch::in_memory("bench")?;
    let ship = ShipOptions {
        events_per_second: Some(100.0),
        compute_us: Some(20_000),
        ..ShipOptions::default()
    };
    let ship = ship.start_in(home.path())?;
    let output = home.path().join("run");
    let outcome = Profile::deep_dive(ship.pier(), SECONDS)
        .output(&output)
        .run()?;
    if outcome.code() != Some(0) {
        bail!("the deep dive failed: {}", outcome.stderr);
    }
    let data = home.path().join("perf.data");
    record_with_perf(ship.mars_pid(), options.samples, &data)?;
    drop(ship);
    let capture = fs::read(output.join("capture")).context("could not read the capture")?;
    let mut runs = Vec::new();
    for (deep, name) in [
        (false, "as recorded"),
        (true, "each a deep stack of its own"),
    ] {
        let file = home.path().join(if deep { "deep" } else { "recorded" });
        fs::write(&file, repeated(&capture, options.samples, deep)?)?;
        for kind in ["on-cpu", "mixed"] {
            runs.push(Timed {
                what: format!("profile flamegraph --kind {kind}, {name}"),
                samples: options.samples,
                ..drawn(&file, kind, home.path())?
            });
        }
    }
    runs.push(by_perf(&data, options.samples, home.path())?);
    Ok(Results {
        samples: options.samples,
        goal_s: GOAL_S,
        runs,
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn drawn(capture: &Path, kind: &str, home: &Path) -> Result<Timed> {
    let svg = home.join("drawn.svg");
    let mut times = Vec::new();
    let mut svg_bytes = 0;
    for _ in 0..RUNS {
        let begin = Instant::now();
        let mut command = Command::new(workspace::profile_binary()?);
        command
            .arg("flamegraph")
            .arg(capture)
            .args(["--kind", kind, "-o"])
            .arg(&svg);
        shell::run(&mut command)?;
        times.push(begin.elapsed().as_secs_f64());
        svg_bytes = fs::metadata(&svg)?.len();
        fs::remove_file(&svg)?;
    }
    Ok(Timed {
        what: String::new(),
        samples: 0,
        seconds: median(times),
        svg_bytes,
    })
}

/// `perf record -g` of mars, at a rate that gives about so many samples.
fn record_with_perf(mars: u32, samples: u64, data: &Path) -> Result<()> {
    let hz = (samples / SECONDS).to_string();
    let seconds = SECONDS.to_string();
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-g", "-e", "cpu-clock", "-F", &hz, "-p"]);
    command.arg(mars.to_string()).arg("-o").arg(data);
    command
        .args(["--", "sleep", &seconds])
        .stdout(Stdio::null());
    shell::run(&mut command)
}

/// `perf script`, inferno's collapsing and inferno's picture, with defaults.
fn by_perf(data: &Path, wanted: u64, home: &Path) -> Result<Timed> {
    let svg: PathBuf = home.join("perf.svg");
    let mut times = Vec::new();
    let mut samples = 0;
    for _ in 0..RUNS.min(3) {
        let begin = Instant::now();
        let mut script = Command::new("perf")
            .args(["script", "-i"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start perf script")?;
        let written = script.stdout.take().context("perf script has no output")?;
        let mut folded = Vec::new();
        let mut folder = inferno::collapse::perf::Folder::default();
        folder.collapse(BufReader::new(written), &mut folded)?;
        script.wait()?;
        let mut picture = Vec::new();
        let mut options = inferno::flamegraph::Options::default();
        inferno::flamegraph::from_reader(&mut options, folded.as_slice(), &mut picture)?;
        fs::File::create(&svg)?.write_all(&picture)?;
        times.push(begin.elapsed().as_secs_f64());
        let counts = std::str::from_utf8(&folded)?.lines();
        let counts = counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        // Weighed by what each stands for, in ns.
        samples = counts.sum::<u64>() * (wanted / SECONDS) / 1_000_000_000;
    }
    Ok(Timed {
        what: "perf script, inferno".into(),
        samples,
        seconds: median(times),
        svg_bytes: fs::metadata(&svg)?.len(),
    })
}

/// A capture with as many samples, those of this one by turns, each with its Hoon stack.
fn repeated(capture: &[u8], samples: u64, deep: bool) -> Result<Vec<u8>> {
    let mut file = capture[..16].to_vec();
    let mut rest = &capture[16..];
    while let Some((head, after)) = rest.split_first_chunk::<24>() {
        let length = u64::from_le_bytes(head[8..16].try_into()?) as usize;
        let (payload, next) = after
            .split_at_checked(length)
            .context("a capture cut short")?;
        let replaced;
        let payload = if head.starts_with(b"records\0") {
            replaced = repeated_records(payload, samples, deep)?;
            &replaced
        } else {
            payload
        };
        file.extend_from_slice(&head[..8]);
        file.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        file.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(payload);
        rest = next;
    }
    Ok(file)
}

fn number(record: &[u8], at: usize) -> u32 {
    let bytes = record
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    u32::from_le_bytes(bytes.unwrap_or_default())
}

fn repeated_records(payload: &[u8], samples: u64, deep: bool) -> Result<Vec<u8>> {
    let mut records: Vec<&[u8]> = Vec::new();
    let mut rest = payload;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (record, next) = after
            .split_at_checked(length)
            .context("a record cut short")?;
        records.push(record);
        rest = next;
    }
    let of_kind = |kind| {
        records
            .iter()
            .filter(move |r| number(r, 8) == kind)
            .copied()
    };
    // Time and thread tell which Hoon stack is a sample's.
    let id = |record: &[u8]| (record[..8].to_vec(), number(record, 20));
    let hoon: std::collections::BTreeMap<_, &[u8]> = of_kind(HOON).map(|r| (id(r), r)).collect();
    let pairs: Vec<(&[u8], Option<&[u8]>)> = of_kind(SAMPLE)
        .map(|r| (r, hoon.get(&id(r)).copied()))
        .collect();
    let time = |record: &[u8]| u64::from(number(record, 0)) | u64::from(number(record, 4)) << 32;
    let times = || pairs.iter().map(|(sample, _)| time(sample));
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        bail!("the capture holds no sample");
    };
    let mut deeper = Deeper::new(pairs.iter().map(|(sample, _)| *sample));
    let mut repeated = Vec::new();
    for (i, (sample, hoon)) in (0..samples).zip(pairs.iter().cycle()) {
        let ktime_ns = first + (last - first) * i / samples;
        let sample = if deep {
            deeper.of(sample)
        } else {
            sample.to_vec()
        };
        for record in [Some(sample), hoon.map(<[u8]>::to_vec)]
            .into_iter()
            .flatten()
        {
            repeated.extend_from_slice(&(record.len() as u32).to_le_bytes());
            repeated.extend_from_slice(&ktime_ns.to_le_bytes());
            repeated.extend_from_slice(&record[8..]);
        }
    }
    Ok(repeated)
}

/// Makes stacks that differ, of addresses that have names.
struct Deeper {
    addresses: Vec<[u8; 8]>,
    random: u64,
}

impl Deeper {
    fn new<'a>(samples: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut addresses: Vec<[u8; 8]> = samples
            .flat_map(|sample| {
                let user = number(sample, HEADER) as usize;
                let frames = sample
                    .get(HEADER + 8..HEADER + 8 + user)
                    .unwrap_or_default();
                frames.as_chunks::<8>().0.to_vec()
            })
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        Self {
            addresses,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// The sample with such a stack, and without frames of the kernel.
    fn of(&mut self, sample: &[u8]) -> Vec<u8> {
        let mut deep = sample[..HEADER].to_vec();
        deep.extend_from_slice(&(DEEP_FRAMES as u32 * 8).to_le_bytes());
        deep.extend_from_slice(&[0; 4]);
        for frame in 0..DEEP_FRAMES {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            // Innermost first.
            let index = match DEEP_FRAMES - frame {
                outer if outer <= SHARED_FRAMES => outer,
                _ => self.random as usize,
            };
            let count = self.addresses.len().max(1);
            deep.extend(
                self.addresses
                    .get(index % count)
                    .copied()
                    .unwrap_or_default(),
            );
        }
        deep
    }
}
