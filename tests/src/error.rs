//! What can go wrong while a test's machine is set up.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Result of the harness.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the harness could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("could not {action} {}: {source}", path.display())]
    Path {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A system call on a process failed.
    #[error("could not {action} process {pid}: {source}")]
    Process {
        /// What was tried, as a verb.
        action: &'static str,
        /// The process or thread.
        pid: u32,
        /// The system's answer.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("could not start `{command}`: {source}; install the program if it is missing")]
    Start {
        /// The command line.
        command: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("`{command}` ended with {status}: {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// What it wrote, trimmed.
        output: String,
    },
    /// A condition did not come true in time.
    #[error("waited {} s for {what}, which did not come; {detail}", after.as_secs_f64())]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen instead.
        detail: String,
    },
    /// This machine lacks something.
    #[error("{what} is missing here; {remedy}")]
    Missing {
        /// What is missing.
        what: String,
        /// What to do about it.
        remedy: String,
    },
    /// A fault was injected and cannot be felt, so a test that relies on it would prove nothing.
    #[error("the injected fault has no effect: {0}")]
    Ineffective(String),
    /// A program of ours wrote something else than what was agreed.
    #[error("{what} is not what was expected: {detail}")]
    Unexpected {
        /// What was read.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    /// For `map_err`: names the file or directory and what was tried with it.
    pub fn path(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Path {
            action,
            path,
            source,
        }
    }

    /// For `map_err`: names the process and what was tried with it.
    pub fn process(action: &'static str, pid: u32) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::Process {
            action,
            pid,
            source: errno.into(),
        }
    }
}

/// The command line as one would type it, for messages.
pub fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a short command to its end; what it wrote is part of the error.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().map_err(|source| Error::Start {
        command: command_line(command),
        source,
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = [output.stdout, output.stderr].concat();
    Err(Error::Command {
        command: command_line(command),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&text).trim().to_owned(),
    })
}
