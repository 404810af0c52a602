//! The fixes: each an item that describes itself, checks the host, and says what it would change
//! here, by this capture's numbers.
//!
//! An entry is not believed: it answers *already so*, *would help* (with its gain), *no evidence
//! here*, *would harm*, or *cannot tell*, and says why.

mod cpu_quota;
mod disk_class;
mod io_limit;
mod io_scheduler;
mod nice;
mod rmem_max;

pub use cpu_quota::limit_that_throttled;
use serde::Serialize;

use crate::aggregate::Summaries;
use crate::attribute::{Attribution, Leaf};
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
pub struct Entry {
    /// Stable name.
    pub id: &'static str,
    /// What to do, as a command to the reader.
    pub title: &'static str,
    /// What it can shrink.
    pub shrinks: &'static [Leaf],
    /// What must be started again.
    pub restart: Restart,
    /// What can go wrong.
    pub risk: Risk,
    /// Why it should be true.
    pub source: &'static str,
    /// Looks at host and capture.
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
        }
    }
}

/// All fixes, in the order of their names.
pub const ENTRIES: &[Entry] = &[
    cpu_quota::ENTRY,
    disk_class::ENTRY,
    io_limit::ENTRY,
    io_scheduler::ENTRY,
    nice::ENTRY,
    rmem_max::ENTRY,
];

/// A word as a shell reads it as one, whatever is in it.
fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_sorted_and_plain() {
        let ids: Vec<&str> = ENTRIES.iter().map(|entry| entry.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        assert!(
            ids.iter()
                .all(|id| id.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        );
    }

    #[test]
    fn quoted_words_stay_one_word() {
        assert_eq!(
            shell_quote("/sys/fs/cgroup/a.slice"),
            "/sys/fs/cgroup/a.slice"
        );
        assert_eq!(shell_quote("a b; rm -rf 'x'"), r"'a b; rm -rf '\''x'\'''");
        assert_eq!(shell_quote(""), "''");
    }
}
