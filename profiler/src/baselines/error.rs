//! Why a baseline, or the journal, cannot be had.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// All of it.
#[derive(Debug, Error)]
pub enum BaselineError {
    /// The name is none.
    #[error(
        "{0:?} is no name of a baseline: letters, digits and . _ - ~ + (at most 100, not begun with . \
         or -)"
    )]
    NoName(String),
    /// There is one already.
    #[error(
        "there is a baseline {name} in {} already; choose another name, or remove it first: \
         profile baseline remove {name}",
        directory.display()
    )]
    Taken {
        /// Its name.
        name: String,
        /// Where.
        directory: PathBuf,
    },
    /// There is none.
    #[error("there is no baseline {name} in {}; profile baseline list shows all", directory.display())]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// It is a link, a device, or the like.
    #[error("{} is no ordinary file, so it is not read", .0.display())]
    NoFile(PathBuf),
    /// It is larger than any journal.
    #[error("{} is larger than {limit_bytes} bytes, so it is not read", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// What may be read.
        limit_bytes: u64,
    },
    /// Anything else.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BaselineError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
