//! Named reference captures, and the journal of changes beside them: files in one directory that only
//! its owner can read.
//!
//! A capture is written under a temporary name and renamed when it is whole; nothing is overwritten, and
//! no symbolic link is followed. Who writes holds a lock, so that two writers never meet.

mod error;
mod journal;
#[cfg(test)]
mod tests;

pub use error::BaselineError;

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};

/// Where root keeps them.
pub const DIRECTORY_OF_ROOT: &str = "/var/lib/profile/baselines";
/// Where everybody else does, below the directory of state (XDG Base Directory Specification 0.8).
const DIRECTORY_OF_USERS: &str = "profile/baselines";
/// What the files of captures end in.
const SUFFIX: &str = ".capture";
/// Who holds this file's lock writes.
const LOCK: &str = ".lock";
/// Longer names are refused: most file systems have 255 bytes for a name.
const MAX_NAME_BYTES: usize = 100;

/// A directory of baselines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baselines {
    directory: PathBuf,
}

/// The one that is used if none is named; nothing if it is not known where the user keeps state.
pub fn default_directory(
    is_root: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from(DIRECTORY_OF_ROOT));
    }
    let state = variable("XDG_STATE_HOME").map(PathBuf::from);
    // The specification: a relative path is to be ignored.
    let state = state.filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(variable("HOME")?).join(".local/state"));
    Some(state.or_else(home)?.join(DIRECTORY_OF_USERS))
}

impl Baselines {
    /// Those of a directory, which need not be there yet.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Names of all baselines, in order; none if there is no such directory.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, BaselineError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(BaselineError::io(&self.directory, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| BaselineError::io(&self.directory, error))?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            names.extend(name.filter(|name| check(name).is_ok()).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// The bytes of a baseline.
    ///
    /// # Errors
    /// If there is none of that name, or it is no ordinary file, or cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, BaselineError> {
        let file = file_name(name)?;
        let path = self.directory.join(&file);
        let unknown = || BaselineError::Unknown {
            name: name.to_owned(),
            directory: self.directory.clone(),
        };
        // Without waiting, should it be a FIFO.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(opened) => File::from(opened),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Err(unknown()),
            Err(rustix::io::Errno::LOOP) => return Err(BaselineError::NoFile(path)),
            Err(error) => return Err(BaselineError::io(&path, error.into())),
        };
        let failed = |error| BaselineError::io(&path, error);
        if !opened.metadata().map_err(failed)?.is_file() {
            return Err(BaselineError::NoFile(path));
        }
        let mut bytes = Vec::new();
        let mut opened = opened;
        opened.read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// Keeps a capture under a name that is free.
    ///
    /// # Errors
    /// If the name is none, or taken, or the file cannot be written; then nothing of it is left.
    pub fn save(&self, name: &str, capture: &[u8]) -> Result<PathBuf, BaselineError> {
        let file = file_name(name)?;
        let path = self.directory.join(&file);
        let failed = |error: io::Error| BaselineError::io(&path, error);
        let (directory, _lock) = self.lock()?;
        if rustix::fs::statat(&directory, &file, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(BaselineError::Taken {
                name: name.to_owned(),
                directory: self.directory.clone(),
            });
        }
        let partial = format!(".{file}.partial");
        // Of a writer that was killed: who holds the lock is the only one.
        let _ = rustix::fs::unlinkat(&directory, &partial, AtFlags::empty());
        let written = write_new(&directory, &partial, capture).and_then(|()| {
            let flags = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&directory, &partial, &directory, &file, flags) {
                // File systems without it: that the name is free was looked at under the lock.
                Err(rustix::io::Errno::INVAL) => {
                    rustix::fs::renameat(&directory, &partial, &directory, &file)
                }
                renamed => renamed,
            }?;
            Ok(rustix::fs::fsync(&directory)?)
        });
        if let Err(error) = written {
            let _ = rustix::fs::unlinkat(&directory, &partial, AtFlags::empty());
            return Err(failed(error));
        }
        Ok(path)
    }

    /// Forgets a baseline.
    ///
    /// # Errors
    /// If there is none of that name, or it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), BaselineError> {
        let file = file_name(name)?;
        if !self.names()?.iter().any(|one| one == name) {
            return Err(BaselineError::Unknown {
                name: name.to_owned(),
                directory: self.directory.clone(),
            });
        }
        let (directory, _lock) = self.lock()?;
        rustix::fs::unlinkat(&directory, &file, AtFlags::empty())
            .map_err(|error| BaselineError::io(&self.directory.join(&file), error.into()))
    }

    /// Makes the directory if it is not there, and takes the right to write to it, waiting for who has it.
    fn lock(&self) -> Result<(OwnedFd, OwnedFd), BaselineError> {
        let failed =
            |error: rustix::io::Errno| BaselineError::io(&self.directory, io::Error::from(error));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|error| BaselineError::io(&self.directory, error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.directory, flags, Mode::empty()).map_err(failed)?;
        let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::RDWR;
        let mode = Mode::RUSR | Mode::WUSR;
        let lock = rustix::fs::openat(&directory, LOCK, flags | OFlags::CLOEXEC, mode);
        let lock = lock.map_err(failed)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(failed)?;
        Ok((directory, lock))
    }
}

/// A new file that nobody else can read, durable.
fn write_new(directory: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file = File::from(rustix::fs::openat(directory, name, flags, mode)?);
    file.write_all(bytes)?;
    file.sync_all()
}

/// The file of a baseline.
fn file_name(name: &str) -> Result<String, BaselineError> {
    check(name)?;
    Ok(format!("{name}{SUFFIX}"))
}

/// Names are words for a command line, and never paths.
fn check(name: &str) -> Result<(), BaselineError> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+');
    let is_name = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.chars().all(word)
        && !name.starts_with(['.', '-']);
    match is_name {
        true => Ok(()),
        false => Err(BaselineError::NoName(name.to_owned())),
    }
}
