//! Why a trial cannot be made, or a change not taken back.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::host::ReadError;

/// All of it.
#[derive(Debug, Error)]
pub enum TrialError {
    /// This fix is not for a trial; a whole sentence.
    #[error("{0}")]
    Refused(String),
    /// A value cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A value cannot be written.
    #[error("cannot set {place} to {value}: {source}")]
    Write {
        /// Where.
        place: String,
        /// What.
        value: String,
        /// What the system said.
        source: io::Error,
    },
    /// It was written, and something else is there.
    #[error("{place} was set to {value}, but the kernel made {now} of it")]
    NotTaken {
        /// Where.
        place: String,
        /// What was written.
        value: String,
        /// What is there.
        now: String,
    },
    /// It is neither what it was nor what it was set to.
    #[error(
        "{place} is {now} by now, neither {before} nor {applied}: somebody else changed it, so the trial ends"
    )]
    Foreign {
        /// Where.
        place: String,
        /// What is there.
        now: String,
        /// What was there.
        before: String,
        /// What a trial put there.
        applied: String,
    },
    /// It is gone: a process, a group.
    #[error("{0} is gone, so the trial ends")]
    Gone(String),
    /// A path that no fix names.
    #[error("{0:?} is no file below /proc/sys or /sys, so it is not written")]
    NoSetting(String),
    /// Another trial holds the lock.
    #[error(
        "another trial runs on this host; wait for its end, or end it by Ctrl-C, which undoes it"
    )]
    Busy,
    /// The directory of the undo journal is not as we made it.
    #[error("{path} is not a directory that only {owner} may write to; remove it, then try again")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Who should own it.
        owner: &'static str,
    },
    /// The undo journal makes no sense.
    #[error(
        "the undo journal {path} cannot be read ({why}): look into it for the values that a trial \
         changed, set them by hand, then remove it"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file of ours.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
