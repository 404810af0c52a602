//! The output folder: made or checked before a capture begins, so that nobody waits thirty
//! seconds to learn that there is no room for the result.
//!
//! It is held open as a directory and only names inside it are created, new, with mode 0600, and
//! never through a symbolic link. A file is written under a temporary name and renamed when it is
//! whole; on any failure it is removed.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
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
    /// It lies in the pier.
    #[error(
        "{0} lies in the ship's pier, where nothing is written; name another directory with -o"
    )]
    InPier(PathBuf),
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
    /// Checks that a folder is not in the pier (a directory, by device and inode).
    ///
    /// # Errors
    /// If it is.
    pub fn outside(path: &Path, pier: Option<(u64, u64)>) -> Result<(), OutputError> {
        match is_below(path, pier) {
            true => Err(OutputError::InPier(path.to_owned())),
            false => Ok(()),
        }
    }

    /// Makes the folder if it is not there, and not in the pier (a directory, by device and inode).
    ///
    /// # Errors
    /// If it lies in the pier, or cannot be made.
    pub fn make(path: &Path, pier: Option<(u64, u64)>) -> Result<(), OutputError> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if is_below(parent, pier) || is_below(path, pier) {
            return Err(OutputError::InPier(path.to_owned()));
        }
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(OutputError::Unusable {
                path: path.to_owned(),
                source: error.into(),
            }),
        }
    }

    /// Opens the folder and checks that files can be made in it, that it is empty of what will be
    /// written, is no symbolic link, and has room. Must be called with the rights that files will be
    /// written with.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn prepare(path: &Path, names: &[&str], needed_bytes: u64) -> Result<Self, OutputError> {
        let unusable = |source: rustix::io::Errno| OutputError::Unusable {
            path: path.to_owned(),
            source: source.into(),
        };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                return Err(OutputError::NotADirectory(path.to_owned()));
            }
            Err(error) => return Err(unusable(error)),
        };
        let partial = names.iter().map(|name| partial_name(name));
        for name in names.iter().map(|name| (*name).to_owned()).chain(partial) {
            if rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                return Err(OutputError::Occupied(path.to_owned(), name));
            }
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
        let output = Self {
            directory,
            path: path.to_owned(),
        };
        // Better now than after the capture.
        let probe = partial_name("probe");
        output.create(&probe).map_err(unusable)?;
        rustix::fs::unlinkat(&output.directory, &probe, AtFlags::empty()).map_err(unusable)?;
        Ok(output)
    }

    /// A new file that nobody else can read.
    fn create(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)
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
        let failed = |source| OutputError::Write {
            path: path.clone(),
            source,
        };
        let partial = partial_name(name);
        let file = self.create(&partial).map_err(|e| failed(e.into()))?;
        self.write_partial(file, &partial, name, content)
            .map_err(|source| {
                // Ours, as it was made above.
                let _ = rustix::fs::unlinkat(&self.directory, &partial, AtFlags::empty());
                failed(source)
            })?;
        Ok(path)
    }

    fn write_partial(
        &self,
        file: OwnedFd,
        partial: &str,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<()> {
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

/// Name of a file while it is being written.
fn partial_name(name: &str) -> String {
    format!(".{name}.partial")
}

/// Whether a directory is the pier or lies below it.
fn is_below(path: &Path, pier: Option<(u64, u64)>) -> bool {
    let Some(pier) = pier else { return false };
    // What is not there yet lies below its parent, which is asked for too.
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    path.ancestors().any(|directory| {
        std::fs::metadata(directory).is_ok_and(|found| (found.dev(), found.ino()) == pier)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["capture"];

    #[test]
    fn nothing_is_written_into_the_pier() {
        let pier = tempfile::tempdir().unwrap();
        let id = std::fs::metadata(pier.path()).unwrap();
        let id = Some((id.dev(), id.ino()));
        for below in ["", "out", ".urb/../out"] {
            std::fs::create_dir_all(pier.path().join(".urb")).unwrap();
            let error = Output::make(&pier.path().join(below), id).unwrap_err();
            assert!(matches!(error, OutputError::InPier(_)), "{below}: {error}");
        }
        assert!(!pier.path().join("out").exists());
        let beside = tempfile::tempdir().unwrap();
        Output::make(&beside.path().join("out"), id).unwrap();
    }

    #[test]
    fn what_another_run_left_is_neither_used_nor_removed() {
        let home = tempfile::tempdir().unwrap();
        let left = home.path().join(".capture.partial");
        std::fs::write(&left, "of another run").unwrap();
        let error = Output::prepare(home.path(), NAMES, 0).unwrap_err();
        assert!(matches!(error, OutputError::Occupied(..)), "{error}");
        assert!(left.exists());
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let output = Output::prepare(home.path(), NAMES, 0).unwrap();
        let failed = output.write("capture", |_| Err(io::Error::other("disk gone")));
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(output.path()).unwrap().count(), 0);
    }
}
