//! The output folder: made or checked before a capture begins, so that nobody waits thirty
//! seconds to learn that there is no room for the result.
//!
//! It is held open as a directory and only names inside it are created, new, with mode 0600, and
//! never through a symbolic link. A file is written under a temporary name and renamed when it is
//! whole; on any failure it is removed.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use thiserror::Error;

/// Why the output folder cannot be used.
#[derive(Debug, Error)]
pub enum OutputError {
    /// It exists and is something else.
    #[error("{0} exists and is no directory; name a new one with -o")]
    NotADirectory(PathBuf),
    /// It cannot be made or opened.
    #[error("cannot use the output directory {path}: {source}")]
    Unusable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something in it already.
    #[error("{0} already holds {1}; name a new directory with -o, nothing is overwritten")]
    Occupied(PathBuf, String),
    /// Not enough room.
    #[error(
        "the file system of {path} has {free_bytes} bytes free, and a capture may need \
         {needed_bytes}; free some space or name another directory with -o"
    )]
    NoSpace {
        /// Its path.
        path: PathBuf,
        /// Free for us.
        free_bytes: u64,
        /// What we may need.
        needed_bytes: u64,
    },
    /// A file could not be written.
    #[error("cannot write {path}: {source}; it was removed, nothing is left half-written")]
    Write {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An output folder that can be written to.
#[derive(Debug)]
pub struct Output {
    directory: OwnedFd,
    path: PathBuf,
}

impl Output {
    /// Makes the folder if it is not there, and checks that it is empty of what will be written,
    /// is no symbolic link, and has room. A folder that was made is handed to `owner` (user and
    /// group), as long as there is the privilege to.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn prepare(
        path: &Path,
        names: &[&str],
        needed_bytes: u64,
        owner: Option<(u32, u32)>,
    ) -> Result<Self, OutputError> {
        let unusable = |source: rustix::io::Errno| OutputError::Unusable {
            path: path.to_owned(),
            source: source.into(),
        };
        let made = match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(error) => return Err(unusable(error)),
        };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                return Err(OutputError::NotADirectory(path.to_owned()));
            }
            Err(error) => return Err(unusable(error)),
        };
        for name in names {
            if rustix::fs::statat(&directory, *name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(OutputError::Occupied(path.to_owned(), (*name).to_owned()));
            }
        }
        if let Some((uid, gid)) = owner.filter(|_| made) {
            let (uid, gid) = (
                rustix::fs::Uid::from_raw(uid),
                rustix::fs::Gid::from_raw(gid),
            );
            rustix::fs::fchown(&directory, Some(uid), Some(gid)).map_err(unusable)?;
        }
        let stat = rustix::fs::fstatvfs(&directory).map_err(unusable)?;
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free_bytes < needed_bytes {
            return Err(OutputError::NoSpace {
                path: path.to_owned(),
                free_bytes,
                needed_bytes,
            });
        }
        Ok(Self {
            directory,
            path: path.to_owned(),
        })
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one file, wholly or not at all.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of it is left.
    pub fn write(
        &self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<PathBuf, OutputError> {
        let path = self.path.join(name);
        let partial = format!(".{name}.partial");
        self.write_partial(&partial, name, content)
            .map_err(|source| {
                // Best effort: it may not exist at all.
                let _ = rustix::fs::unlinkat(&self.directory, &partial, AtFlags::empty());
                OutputError::Write {
                    path: path.clone(),
                    source,
                }
            })?;
        Ok(path)
    }

    fn write_partial(
        &self,
        partial: &str,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.directory, partial, flags, mode)?;
        let mut writer = BufWriter::new(File::from(file));
        content(&mut writer)?;
        writer.flush()?;
        writer.get_ref().sync_all()?;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.directory, partial, &self.directory, name, flags) {
            // File systems without it (some network ones): the name was checked to be free.
            Err(rustix::io::Errno::INVAL) => {
                rustix::fs::renameat(&self.directory, partial, &self.directory, name)?;
            }
            result => result?,
        }
        Ok(())
    }
}
