//! The fixes: each an item that describes itself, checks the host, and says what it would change
//! here, by this capture's numbers.
//!
//! An entry is not believed: it answers *already so*, *would help* (with its gain), *no evidence
//! here*, *would harm*, or *cannot tell*, and says why.

mod bbr;
mod cpu_quota;
mod disk_class;
mod fewer_ships;
mod io_limit;
mod io_scheduler;
mod max_map_count;
mod nice;
mod ram;
mod rmem_max;
mod snap_time;
mod swappiness;
#[cfg(test)]
mod tests;

pub use cpu_quota::limit_that_throttled;
pub use io_limit::limits;
use serde::Serialize;

use crate::aggregate::Summaries;
use crate::attribute::{Attribution, Cause, Leaf};
use crate::host::cgroup::Version;
use crate::model::{Capture, Meta};

/// What must be started again for a fix to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Nothing.
    None,
    /// The ship.
    Ship,
    /// The host.
    Host,
}

impl Restart {
    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ship => "ship",
            Self::Host => "host",
        }
    }
}

/// How much can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Undone at once, harms nobody.
    None,
    /// Undone easily.
    Low,
    /// May harm other things on the host.
    Medium,
}

impl Risk {
    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
        }
    }
}

/// One fix.
#[derive(Serialize)]
pub struct Entry {
    /// Stable name.
    pub id: &'static str,
    /// What to do, as a command to the reader.
    pub title: &'static str,
    /// The cause that it is for.
    pub cause: Cause,
    /// What it can shrink; nothing if it takes away no stalled time.
    pub shrinks: &'static [Leaf],
    /// What goes wrong without it.
    pub why: &'static str,
    /// How its gain is computed, in words.
    pub gain: &'static str,
    /// What must be started again.
    pub restart: Restart,
    /// What can go wrong.
    pub risk: Risk,
    /// Why it should be true.
    pub source: &'static str,
    /// Commands that make the change, with words in capitals for what depends on the host.
    pub apply: &'static [&'static str],
    /// Commands that take it back, likewise.
    pub undo: &'static [&'static str],
    /// Looks at host and capture.
    #[serde(skip)]
    pub assess: fn(&Situation<'_>) -> Assessment,
}

/// What an entry may look at.
pub struct Situation<'a> {
    /// The capture.
    pub capture: &'a Capture,
    /// Its sums.
    pub summaries: &'a Summaries,
    /// Its causes.
    pub attribution: &'a Attribution,
}

impl Situation<'_> {
    /// Circumstances of the capture.
    pub fn meta(&self) -> &Meta {
        &self.capture.meta
    }
}

/// What a fix could remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// Stalled time of this capture.
    StalledTime {
        /// At least.
        low_ns: u64,
        /// At most.
        high_ns: u64,
    },
    /// Lost datagrams of this capture.
    Datagrams {
        /// At least.
        low: u64,
        /// At most.
        high: u64,
    },
    /// No time: what a finding of this report warns of.
    Finding {
        /// The finding.
        id: &'static str,
    },
}

/// An entry's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The host is set up like this already.
    AlreadySo,
    /// It would shrink what this capture measured.
    WouldHelp(Gain),
    /// It may be right, but nothing here would get better.
    NoEvidence,
    /// It would make something worse.
    WouldHarm,
    /// A fact is missing.
    CannotTell,
}

/// What an entry found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assessment {
    /// In a word.
    pub answer: Answer,
    /// The value now; nothing if it is not known.
    pub current: Option<String>,
    /// The value it should have.
    pub proposed: String,
    /// One sentence with the number that decided.
    pub reason: String,
    /// Commands that make the change.
    pub apply: Vec<String>,
    /// Commands that take it back.
    pub undo: Vec<String>,
    /// What must be started again here, where it is not what the entry says.
    #[serde(skip)]
    pub restart: Option<Restart>,
}

impl Assessment {
    /// An answer that proposes no change.
    fn without_change(
        answer: Answer,
        current: Option<String>,
        proposed: &str,
        reason: String,
    ) -> Self {
        Self {
            answer,
            current,
            proposed: proposed.to_owned(),
            reason,
            apply: Vec::new(),
            undo: Vec::new(),
            restart: None,
        }
    }
}

/// What a quicker or less limited disk can shrink.
const DISK_LEAVES: &[Leaf] = &[
    Leaf::LogCommit,
    Leaf::Snapshot,
    Leaf::PageIn,
    Leaf::OtherFile,
];

/// All fixes, in the order of their names.
pub const ENTRIES: &[Entry] = &[
    bbr::ENTRY,
    cpu_quota::ENTRY,
    disk_class::ENTRY,
    fewer_ships::ENTRY,
    io_limit::ENTRY,
    io_scheduler::ENTRY,
    max_map_count::ENTRY,
    nice::ENTRY,
    ram::ENTRY,
    rmem_max::ENTRY,
    snap_time::ENTRY,
    swappiness::ENTRY,
];

/// What a kernel setting says, if it could be read.
fn sysctl<'a>(meta: &'a Meta, name: &str) -> Option<&'a str> {
    let value = meta.host.kernel.sysctls.get(name)?;
    value.known().map(String::as_str)
}

/// Which interface the ship's memory group has.
fn memory_version(meta: &Meta) -> Version {
    match meta.ship.cgroups.known() {
        Some(groups) if groups.contains_key("memory") => Version::V1,
        _ => Version::V2,
    }
}

/// A word as a shell reads it as one, whatever is in it.
fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
