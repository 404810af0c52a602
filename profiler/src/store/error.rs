//! Why a store cannot be used: one sentence each, with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is none.
    #[error("there is no store {0}: name the file that `profile sampler --store` writes")]
    Missing(PathBuf),
    /// The path is something else than a file.
    #[error("{path} is {what}, and a store must be a file of its own: name another path")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file is something else than a store.
    #[error(
        "{0} is no store of profile: it is another kind of file, or its beginning is damaged; name \
         another file, nothing was written to it"
    )]
    NotAStore(PathBuf),
    /// A later profile wrote it.
    #[error(
        "{path} is a store of schema version {found}, and this profile knows version {known}: use \
         the newer profile that wrote it, or name another file"
    )]
    NewerSchema {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// What is in it cannot be right.
    #[error(
        "the store {path} is damaged ({detail}): move it away with its -wal file, and a new one is \
         begun; `sqlite3 {path} .recover` may save what is left"
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// It could not be written.
    #[error(
        "no room to write to the store {path} ({detail}): free some space or set a smaller limit; \
         the windows in it are whole"
    )]
    Full {
        /// The store.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// Another sampler writes to it.
    #[error("{path} is written by another sampler{}: end that one, or name another file",
        tgid.map(|tgid| format!(" (process {tgid})")).unwrap_or_default())]
    Held {
        /// The store.
        path: PathBuf,
        /// Its process, if it could be told.
        tgid: Option<u32>,
    },
    /// Another program keeps it locked.
    #[error("the store {0} is locked by another program: end its transaction and try again")]
    Busy(PathBuf),
    /// It may not be opened.
    #[error("the store {path} may not be opened ({detail}): run as its owner or as root")]
    Denied {
        /// The store.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// Its folder could not be written to for long.
    #[error(
        "{folder} (of user {owner}) may not be written to once the sampler has given up its \
         privileges: name a store in a folder of root's own, such as /var/lib/profile"
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// A window that cannot be kept.
    #[error("{what} of a window is beyond 2^63, so the window is not stored")]
    TooLarge {
        /// Which number.
        what: &'static str,
    },
    /// Anything else that the system refused.
    #[error("cannot use the store {path}: {source}")]
    Io {
        /// The store, or a file beside it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Anything else that SQLite refused.
    #[error("cannot use the store {path}: {source}")]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// What an error of the system at `path` means.
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Denied {
                path,
                detail: source.to_string(),
            },
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full {
                path,
                detail: source.to_string(),
            },
            _ => Self::Io { path, source },
        }
    }
}

/// An error inside of the store, before it is known which store it is.
#[derive(Debug, Error)]
pub(super) enum Fault {
    /// SQLite's.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A value that no window can have.
    #[error("{0}")]
    Value(String),
    /// A number that does not fit.
    #[error("{0}")]
    TooLarge(&'static str),
}

impl Fault {
    /// What it means for the store at `path`.
    pub(super) fn at(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        let source = match self {
            Self::Value(detail) => return StoreError::Damaged { path, detail },
            Self::TooLarge(what) => return StoreError::TooLarge { what },
            Self::Sqlite(source) => source,
        };
        let detail = source.to_string();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => StoreError::NotAStore(path),
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path, detail },
            // A quota and a limit on the size of files come as plain I/O errors.
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure) => {
                StoreError::Full { path, detail }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(path),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                StoreError::Denied { path, detail }
            }
            Some(_) => StoreError::Sqlite { path, source },
            // A column of another type or out of range, text that is none, a row that is missing.
            None => match source {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::Utf8Error(..)
                | rusqlite::Error::QueryReturnedNoRows => StoreError::Damaged { path, detail },
                source => StoreError::Sqlite { path, source },
            },
        }
    }
}
