//! A value read from the host, or why it is not known; and the error of a reader.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A value that could be read, or the reason why it could not. "Not known" is never shown as zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// The value as the host gave it.
    Known(T),
    /// The host did not give it.
    Unknown {
        /// One clause that names the file and what went wrong.
        reason: String,
    },
}

impl<T> Reading<T> {
    /// A reading that failed, with its reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::Unknown {
            reason: reason.into(),
        }
    }

    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown { .. } => None,
        }
    }

    /// Why the value is not known, if it is not.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown { reason } => Some(reason),
        }
    }

    /// Applies `change` to a known value; the reason of an unknown one is kept.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Known(value) => Reading::Known(change(value)),
            Self::Unknown { reason } => Reading::Unknown { reason },
        }
    }
}

impl<T> From<Result<T, ReadError>> for Reading<T> {
    fn from(result: Result<T, ReadError>) -> Self {
        match result {
            Ok(value) => Self::Known(value),
            Err(error) => Self::unknown(error.to_string()),
        }
    }
}

/// Why a file of the host could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file: a feature that this kernel lacks, or a process that has ended.
    #[error("{} does not exist", path.display())]
    Absent {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The file exists and this process may not read it.
    #[error("{} may not be read by this user, run as root", path.display())]
    Denied {
        /// The file that was refused.
        path: PathBuf,
    },
    /// Any other failure of the read itself.
    #[error("{} could not be read ({source})", path.display())]
    Io {
        /// The file that was read.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The file was read and is not in the form that the kernel documents.
    #[error("{} is not in the form that this profiler knows: {item}", path.display())]
    Malformed {
        /// The file that was read.
        path: PathBuf,
        /// The line, field or value that could not be understood.
        item: String,
    },
}

impl ReadError {
    /// Sorts a failed read by what the user can do about it.
    pub fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        // ESRCH is what procfs answers when the process ends between open and read.
        if source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) {
            return Self::Absent { path };
        }
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Absent { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Io { path, source },
        }
    }

    /// A file whose content could not be understood, with the item at fault.
    pub fn malformed(path: &Path, item: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_path_buf(),
            item: item.into(),
        }
    }

    /// Whether the file, or the process that it belonged to, is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }
}
