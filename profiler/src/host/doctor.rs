//! Can this host be profiled? Each check answers yes, no with what is lost and one command, or
//! "cannot tell" with the reason. Gathering is one step and judging another, so every answer can
//! be tested without a kernel that gives it.

mod checks;
mod facts;
mod kernel;
mod remedy;

pub use checks::checks;
pub use facts::{DoctorFacts, MemoryAccess, NeededTracepoint, ShipAccess, gather};

use serde::{Deserialize, Serialize};

/// One question about this host and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stable name of the check.
    pub id: String,
    /// What is checked, in a few words.
    pub title: String,
    /// Whether the profiler works at all without it.
    pub required: bool,
    /// The answer.
    pub answer: Answer,
}

/// Yes, no, or don't know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The host has it.
    Ok {
        /// The value found, for a reader who wants to know.
        found: String,
    },
    /// The host lacks it.
    Lack {
        /// What is missing and what is lost without it: one sentence.
        sentence: String,
        /// What an operator can paste to mend it.
        command: String,
    },
    /// It could not be found out.
    CannotTell {
        /// Why not.
        reason: String,
    },
}

impl Answer {
    fn ok(found: impl Into<String>) -> Self {
        Self::Ok {
            found: found.into(),
        }
    }

    fn lack(sentence: impl Into<String>, command: impl Into<String>) -> Self {
        Self::Lack {
            sentence: sentence.into(),
            command: command.into(),
        }
    }

    fn cannot_tell(reason: impl Into<String>) -> Self {
        Self::CannotTell {
            reason: reason.into(),
        }
    }
}

/// Whether nothing that is required is known to be lacking.
pub fn can_profile(checks: &[Check]) -> bool {
    !checks
        .iter()
        .any(|check| check.required && matches!(check.answer, Answer::Lack { .. }))
}

#[cfg(test)]
mod tests;
