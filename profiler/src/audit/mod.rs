//! The checklist, without a capture: what of a ship's host is as it should be, by what can be read at
//! once. Where only a capture can weigh something, that is said.
//!
//! A check passes where the setting is right, and also where what has been counted since the ship or the
//! host was started shows that another one would change nothing.

mod cpu;
mod memory;
mod network;
mod storage;
mod upkeep;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::host::block::DiskCounters;
use crate::host::kernel::SchedulerCounters;
use crate::host::memory::RangeUse;
use crate::host::neighbours::OtherShip;
use crate::host::{HostFacts, Reading};
use crate::mass::Mass;
use crate::ship::loom::{LoomAnswer, LoomHome};
use crate::ship::{Setup, Ship};

/// Version of [`Audit`] as JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// What the checks look at.
#[derive(Debug)]
pub struct Facts {
    /// The ship.
    pub ship: Ship,
    /// Its host.
    pub host: HostFacts,
    /// How it is set up there.
    pub setup: Setup,
    /// The head of the loom.
    pub loom: LoomAnswer,
    /// What part of the loom is in memory.
    pub loom_use: Reading<RangeUse>,
    /// What the pier takes.
    pub pier_bytes: Reading<u64>,
    /// The other ships of the host.
    pub others: Reading<Vec<OtherShip>>,
    /// Time of mars' main thread on CPU and in the run queue since it was started.
    pub mars_times: Reading<(u64, u64)>,
    /// What the disks did since the host was started.
    pub disks: Reading<BTreeMap<String, DiskCounters>>,
    /// What its CPUs did since then.
    pub scheduler: Reading<SchedulerCounters>,
    /// How long the host is up.
    pub up_ns: Reading<u64>,
    /// How often a quota of the ship's groups was used up, of how many periods.
    pub throttled: Reading<(u64, u64)>,
    /// Datagrams that the ship's sockets lost since they were opened.
    pub lost_datagrams: Reading<u64>,
    /// Reference captures to compare with (`profile baseline`).
    pub baselines: Reading<References>,
    /// What lies in the loom, by the ship's own account; nothing if none was given (`profile mass`).
    pub mass: Option<Mass>,
}

/// Reference captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct References {
    /// Where they are, or would be.
    pub directory: PathBuf,
    /// Their names.
    pub names: Vec<String>,
}

impl Facts {
    /// The loom's home, or why it is not known.
    fn home(&self) -> Result<LoomHome, String> {
        match &self.loom {
            LoomAnswer::Home(home) => Ok(*home),
            LoomAnswer::UnknownLayout { version, .. } => {
                Err(format!("its loom has the unknown version {version}"))
            }
            LoomAnswer::Unreadable { reason } => Err(reason.clone()),
        }
    }

    /// A kernel setting as a number, or why it is not known.
    fn sysctl(&self, name: &str) -> Result<u64, String> {
        match self.host.kernel.sysctls.get(name) {
            Some(Reading::Known(text)) => text
                .parse()
                .map_err(|_| format!("{name} is not a number: {text}")),
            Some(Reading::Unknown { reason }) => Err(reason.clone()),
            None => Err(format!("{name} was not read")),
        }
    }
}

/// The value of a reading, or its reason.
fn known<T>(reading: &Reading<T>) -> Result<&T, String> {
    match reading {
        Reading::Known(value) => Ok(value),
        Reading::Unknown { reason } => Err(reason.clone()),
    }
}

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is as it should be.
    Passed,
    /// It is not.
    Failed,
    /// There is nothing to check here.
    NotApplicable,
    /// Something could not be read.
    CannotTell,
}

impl Outcome {
    /// In a list.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotApplicable => "n/a",
            Self::CannotTell => "unknown",
        }
    }
}

/// What a check found: its outcome, and what shows it.
type Found = (Outcome, String);

fn passed(evidence: impl Into<String>) -> Found {
    (Outcome::Passed, evidence.into())
}

fn failed(evidence: impl Into<String>) -> Found {
    (Outcome::Failed, evidence.into())
}

fn not_applicable(evidence: impl Into<String>) -> Found {
    (Outcome::NotApplicable, evidence.into())
}

/// Passed or failed by a condition.
fn judged(holds: bool, evidence: impl Into<String>) -> Found {
    match holds {
        true => passed(evidence),
        false => failed(evidence),
    }
}

/// One check, declared once. What it cannot read is the error of its answer.
struct Declaration {
    id: &'static str,
    title: &'static str,
    fix: Option<&'static str>,
    command: Option<&'static str>,
    ask: fn(&Facts) -> Result<Found, String>,
}

const fn declare(
    id: &'static str,
    title: &'static str,
    fix: Option<&'static str>,
    ask: fn(&Facts) -> Result<Found, String>,
) -> Declaration {
    Declaration {
        id,
        title,
        fix,
        command: None,
        ask,
    }
}

/// One line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Stable name.
    pub id: &'static str,
    /// What is checked.
    pub title: &'static str,
    /// What it comes to.
    pub outcome: Outcome,
    /// What shows it, or why it cannot be told.
    pub evidence: String,
    /// The fix of the catalogue that is for it.
    pub fix: Option<&'static str>,
    /// The command that mends it, where the catalogue has none.
    pub command: Option<&'static str>,
}

/// The whole checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The ship.
    pub ship: String,
    /// vere's version, if a file name tells it.
    pub version: Option<String>,
    /// What runs it, or why that is not known.
    pub run_by: String,
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
}

impl Audit {
    /// How many checks came to this.
    pub fn count(&self, outcome: Outcome) -> usize {
        let same = |check: &&Check| check.outcome == outcome;
        self.checks.iter().filter(same).count()
    }
}

/// Goes through the checklist.
pub fn audit(facts: &Facts) -> Audit {
    let all = [
        storage::CHECKS,
        cpu::CHECKS,
        memory::CHECKS,
        network::CHECKS,
        upkeep::CHECKS,
    ];
    let checks = all.into_iter().flatten().map(|declared| {
        let found = (declared.ask)(facts);
        let (outcome, evidence) = found.unwrap_or_else(|reason| (Outcome::CannotTell, reason));
        Check {
            id: declared.id,
            title: declared.title,
            outcome,
            evidence,
            fix: declared.fix,
            command: declared.command.filter(|_| outcome == Outcome::Failed),
        }
    });
    Audit {
        schema_version: SCHEMA_VERSION,
        ship: facts.ship.label(),
        version: facts.ship.version.clone(),
        run_by: match &facts.setup.runner {
            Reading::Known(runner) => runner.words(),
            Reading::Unknown { reason } => format!("not known ({reason})"),
        },
        checks: checks.collect(),
    }
}
