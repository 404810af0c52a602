//! The journal of changes: what was changed when, what that did to the host's values, and what came of it.
//! One line of JSON for each entry. Whatever cannot be read of it is told and left out.

use serde::{Deserialize, Serialize};

use super::changes::Change;
use super::compare::Outcome;
use super::expect::Expected;
use super::{Diff, SideLine};

/// Version of [`Entry`]. Raised when a field changes its meaning or goes away.
pub const ENTRY_VERSION: u32 = 1;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`ENTRY_VERSION`] of the profiler that wrote it.
    pub version: u32,
    /// When it was written, `CLOCK_REALTIME`.
    pub at_unix_ns: u64,
    /// What was changed, in the words of who did it.
    pub what: String,
    /// The fix of the catalogue that it was.
    pub fix: Option<String>,
    /// The ship.
    pub ship: String,
    /// The capture before it.
    pub before: Taken,
    /// The capture after it.
    pub after: Taken,
    /// Values of host and ship that differ between both.
    pub changes: Vec<Change>,
    /// What became of event latency, or of lost datagrams.
    pub outcome: Outcome,
    /// The same in a sentence.
    pub sentence: String,
    /// What was predicted of the fix, and what came.
    pub expected: Option<Expected>,
}

/// A capture that an entry rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// What it was called.
    pub name: String,
    /// When it began, `CLOCK_REALTIME`.
    pub start_unix_ns: u64,
    /// How long it lasted.
    pub duration_ns: u64,
    /// Events that could be followed.
    pub events: Option<u64>,
    /// Their p95.
    pub p95_ns: Option<u64>,
}

impl Taken {
    fn of(side: &SideLine) -> Self {
        Self {
            name: side.name.clone(),
            start_unix_ns: side.start_unix_ns,
            duration_ns: side.duration_ns,
            events: side.events,
            p95_ns: side.p95_ns,
        }
    }
}

impl Entry {
    /// Of a comparison.
    pub fn of(diff: &Diff, what: &str, fix: Option<&str>, at_unix_ns: u64) -> Self {
        Self {
            version: ENTRY_VERSION,
            at_unix_ns,
            what: what.to_owned(),
            fix: fix.map(str::to_owned),
            ship: diff.ship.clone(),
            before: Taken::of(&diff.before),
            after: Taken::of(&diff.after),
            changes: diff.changes.clone(),
            outcome: diff.comparison.outcome,
            sentence: diff.sentence.clone(),
            expected: diff.expected.clone(),
        }
    }
}

/// All entries that could be read, in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Journal {
    /// The entries, each with the number of its line.
    pub entries: Vec<(usize, Entry)>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

impl Journal {
    /// Reads it.
    pub fn parse(text: &str) -> Self {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let mut journal = Self::default();
        for (at, line) in text.split_inclusive('\n').enumerate() {
            let number = at + 1;
            if line.trim().is_empty() {
                continue;
            }
            let version = serde_json::from_str::<Versioned>(line).map(|found| found.version);
            let why = match (version, serde_json::from_str(line)) {
                (Ok(ENTRY_VERSION), Ok(entry)) => {
                    journal.entries.push((number, entry));
                    continue;
                }
                (Ok(version), _) if version != ENTRY_VERSION => {
                    format!("is of version {version}, and this profile reads {ENTRY_VERSION}")
                }
                _ if !line.ends_with('\n') => "is cut short: writing it was interrupted".to_owned(),
                (_, Err(error)) => format!("is no entry ({error})"),
                _ => "is no entry".to_owned(),
            };
            journal.unread.push(format!("line {number} {why}"));
        }
        journal
    }
}
