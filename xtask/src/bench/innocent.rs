//! What watching a ship costs processes that have nothing to do with it: ns a system call, in turns
//! without, in the deep dive and while sampling.

use std::fs::File;
use std::hint::black_box;
use std::io::IoSlice;
use std::time::Instant;

use anyhow::{Context, Result};
use harness::profile::Profile;
use harness::scratch::Scratch;
use harness::ship::{RunningShip, ShipOptions};
use rustix::event::epoll;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use super::statistics::Spread;
use super::table::Table;
use super::watched::{ATTACH_LIMIT, while_attached};
use crate::shell;

/// Most that a call may cost more in the deep dive, ns.
const DEEP_DIVE_GOAL_NS: f64 = 15.0;
/// The same while sampling.
const SAMPLING_GOAL_NS: f64 = 10.0;
/// Options of `bench innocent`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Turns.
    #[arg(long, default_value_t = 10)]
    turns: u32,
    /// Calls of each kind a turn, in thousands.
    #[arg(long, default_value_t = 500)]
    kilocalls: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            turns: 10,
            kilocalls: 500,
        }
    }
}

/// A system call, and whether a program is attached to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Call {
    Getppid,
    Read,
    Openat,
    Writev,
    EpollPwait,
}

impl Call {
    const ALL: [Self; 5] = [
        Self::Getppid,
        Self::Read,
        Self::Openat,
        Self::Writev,
        Self::EpollPwait,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Getppid => "getppid (no program)",
            Self::Read => "read, 1 byte (no program)",
            Self::Openat => "openat of no file",
            Self::Writev => "writev of 2 parts",
            Self::EpollPwait => "epoll_pwait, no wait (deep dive only)",
        }
    }
}

/// What one call cost.
#[derive(Debug, Serialize)]
struct CallCost {
    call: Call,
    bare_ns: Spread,
    deep_dive_more_ns: Spread,
    sampling_more_ns: Spread,
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    turns: u32,
    calls: Vec<CallCost>,
    deep_dive_goal_ns: f64,
    sampling_goal_ns: f64,
}

impl Results {
    /// Each call, goals beside it.
    pub fn table(&self) -> String {
        let title = format!(
            "An innocent process' system calls, median of {} turns (quartiles)",
            self.turns
        );
        let mut table = Table::new(
            title,
            &[
                "call",
                "bare ns",
                "deep dive +ns",
                "goal",
                "sampling +ns",
                "goal",
            ],
        );
        for cost in &self.calls {
            let more = |spread: &Spread| {
                format!(
                    "{:+.1} ({:+.1}..{:+.1})",
                    spread.median, spread.lower_quartile, spread.upper_quartile
                )
            };
            table.row(vec![
                cost.call.title().into(),
                format!("{:.1}", cost.bare_ns.median),
                more(&cost.deep_dive_more_ns),
                format!("≤ {:.0}", self.deep_dive_goal_ns),
                more(&cost.sampling_more_ns),
                format!("≤ {:.0}", self.sampling_goal_ns),
            ]);
        }
        table.to_string()
    }
}

/// The descriptors that the calls are made on.
struct Innocent {
    zero: File,
    null: File,
    epoll: std::os::fd::OwnedFd,
}

impl Innocent {
    fn new() -> Result<Self> {
        let open = |path| File::options().read(true).write(true).open(path);
        Ok(Self {
            zero: open("/dev/zero").context("could not open /dev/zero")?,
            null: open("/dev/null").context("could not open /dev/null")?,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("could not make an epoll")?,
        })
    }

    fn call(&self, call: Call) {
        match call {
            Call::Getppid => {
                black_box(rustix::process::getppid());
            }
            Call::Read => {
                let _ = black_box(rustix::io::read(&self.zero, &mut [0_u8; 1]));
            }
            Call::Openat => {
                let none = c"/nothing-of-this-name";
                let _ = black_box(rustix::fs::open(none, OFlags::RDONLY, Mode::empty()));
            }
            Call::Writev => {
                let parts = [IoSlice::new(b"12345"), IoSlice::new(b"678")];
                let _ = black_box(rustix::io::writev(&self.null, &parts));
            }
            Call::EpollPwait => {
                let mut events = [epoll::Event {
                    flags: epoll::EventFlags::IN,
                    data: epoll::EventData::new_u64(0),
                }];
                let now = rustix::event::Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                let _ = black_box(epoll::wait(&self.epoll, &mut events[..], Some(&now)));
            }
        }
    }

    /// ns a call.
    fn measure(&self, call: Call, kilocalls: u32) -> f64 {
        let calls = u64::from(kilocalls) * 1000;
        let start = Instant::now();
        for _ in 0..calls {
            self.call(call);
        }
        start.elapsed().as_nanos() as f64 / calls as f64
    }
}

/// Measures beside a ship that rests.
pub fn run(options: Options) -> Result<Results> {
    shell::heading("innocent: system calls of a process that is watched by nobody");
    let memory = Scratch::in_memory("bench")?;
    let ship = ShipOptions {
        events_per_second: Some(1.0),
        no_truth: true,
        ..ShipOptions::default()
    }
    .start_in(memory.path())?;
    let innocent = Innocent::new()?;
    let measure = || Call::ALL.map(|call| innocent.measure(call, options.kilocalls));
    let (mut bare, mut deep, mut sampling) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..options.turns {
        let without = measure();
        deep.push(difference(&watched(&deep_dive(&ship), measure)?, &without));
        let without_again = measure();
        let store = memory.path().join(format!("store-{turn}.db"));
        let sampler = Profile::new([
            "sampler".as_ref(),
            "--ship".as_ref(),
            ship.pier().as_os_str(),
            "--interval".as_ref(),
            "60".as_ref(),
            "--store".as_ref(),
            store.as_os_str(),
        ]);
        sampling.push(difference(&watched(&sampler, measure)?, &without_again));
        bare.push(without);
        eprintln!("turn {}", turn + 1);
    }
    let spread = |turns: &[[f64; 5]], call: usize| {
        let values: Vec<f64> = turns.iter().map(|turn| turn[call]).collect();
        Spread::of(&values).context("no turn was asked for")
    };
    let costs = Call::ALL.iter().enumerate().map(|(i, call)| {
        Ok(CallCost {
            call: *call,
            bare_ns: spread(&bare, i)?,
            deep_dive_more_ns: spread(&deep, i)?,
            sampling_more_ns: spread(&sampling, i)?,
        })
    });
    Ok(Results {
        turns: options.turns,
        calls: costs.collect::<Result<_>>()?,
        deep_dive_goal_ns: DEEP_DIVE_GOAL_NS,
        sampling_goal_ns: SAMPLING_GOAL_NS,
    })
}

fn deep_dive(ship: &RunningShip) -> Profile {
    Profile::deep_dive(ship.pier(), ATTACH_LIMIT.as_secs() * 2)
}

fn difference(with: &[f64; 5], without: &[f64; 5]) -> [f64; 5] {
    std::array::from_fn(|i| with[i] - without[i])
}

/// Measures while a profiler watches.
fn watched(profile: &Profile, measure: impl Fn() -> [f64; 5]) -> Result<[f64; 5]> {
    while_attached(profile, || Ok(measure()))
}
