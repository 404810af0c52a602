//! Readers of procfs, sysfs and cgroupfs. Every reader takes [`Roots`], so that it works on another
//! host's files, on a container's view, and on a test's small tree; every parser takes text or a reader.
//!
//! What could not be read is never zero: it is a [`Reading::Unknown`] with the reason.

pub mod block;
pub mod cgroup;
pub mod counters;
pub mod doctor;
mod facts;
pub mod filesystem;
pub mod firewall;
pub mod interfaces;
pub mod kernel;
pub mod memory;
pub mod neighbours;
pub mod net;
pub mod process;
mod reading;
pub mod runner;
pub mod schedules;

pub use facts::{HostFacts, Targets, host_facts};
pub use reading::{ReadError, Reading};

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use procfs_core::{FromRead, ProcError};

/// Where the kernel's file systems and the host's files are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// The procfs mount, normally `/proc`.
    pub proc: PathBuf,
    /// The sysfs mount, normally `/sys`.
    pub sys: PathBuf,
    /// The root of the file system that absolute paths of the host are looked up in, normally `/`.
    pub filesystem: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self::under(Path::new("/"))
    }
}

impl Roots {
    /// Roots of a tree that holds `proc` and `sys`, as `/` does.
    pub fn under(filesystem: &Path) -> Self {
        Self {
            proc: filesystem.join("proc"),
            sys: filesystem.join("sys"),
            filesystem: filesystem.to_path_buf(),
        }
    }

    /// The file that the host knows as the absolute path `path`.
    pub fn host_path(&self, path: &Path) -> PathBuf {
        self.filesystem.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A kernel setting below `/proc/sys`, by its dotted name (`net.core.rmem_max`).
    pub fn sysctl_path(&self, name: &str) -> PathBuf {
        self.proc.join("sys").join(name.replace('.', "/"))
    }
}

/// Reads a small text file whole. Bytes that are not UTF-8 become U+FFFD.
pub fn read_text(path: &Path) -> Result<String, ReadError> {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| ReadError::io(path, error))
}

/// Reads a file that holds one value and nothing else, as most files of sysfs do.
pub fn read_value<T: std::str::FromStr>(path: &Path) -> Result<T, ReadError> {
    let text = read_text(path)?;
    let value = text.trim();
    value
        .parse()
        .map_err(|_| ReadError::malformed(path, format!("the value `{value}`")))
}

/// Reads a file with one of procfs-core's parsers.
pub fn read_parsed<T: FromRead>(path: &Path) -> Result<T, ReadError> {
    // Read first, parse afterwards: a parser that fails on half a file of a process that is just
    // exiting must not look like a format that we do not know.
    let bytes = std::fs::read(path).map_err(|error| ReadError::io(path, error))?;
    T::from_read(bytes.as_slice()).map_err(|error| ReadError::parse(path, error))
}

/// The target of a symbolic link, as text: in procfs it need not be a path.
pub fn read_link(path: &Path) -> Result<PathBuf, ReadError> {
    std::fs::read_link(path).map_err(|error| ReadError::io(path, error))
}

/// Names of a directory's entries, sorted, so that what follows is the same on every run.
pub fn entry_names(path: &Path) -> Result<Vec<OsString>, ReadError> {
    let entries = std::fs::read_dir(path).map_err(|error| ReadError::io(path, error))?;
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| ReadError::io(path, error))?;
    names.sort();
    Ok(names)
}

/// The entries of a directory whose names are numbers: processes, threads, file descriptors.
pub fn numbered_entries(path: &Path) -> Result<Vec<u32>, ReadError> {
    let mut numbers: Vec<u32> = entry_names(path)?
        .iter()
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Undoes the octal escapes (`\040` for a space) of mountinfo.
pub fn unescape_octal(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl ReadError {
    fn parse(path: &Path, error: ProcError) -> Self {
        match error {
            ProcError::PermissionDenied(_) => {
                Self::io(path, io::Error::from(io::ErrorKind::PermissionDenied))
            }
            ProcError::NotFound(_) => Self::io(path, io::Error::from(io::ErrorKind::NotFound)),
            ProcError::Io(error, _) => Self::io(path, error),
            other => Self::malformed(path, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_escapes_are_undone() {
        assert_eq!(unescape_octal(r"/mnt/my\040pier\134x"), r"/mnt/my pier\x");
        assert_eq!(unescape_octal(r"/a\04"), r"/a\04");
        assert_eq!(unescape_octal(r"/plain"), "/plain");
    }

    #[test]
    fn host_paths_stay_below_the_root() {
        let roots = Roots::under(Path::new("/x"));
        assert_eq!(
            roots.host_path(Path::new("/dev/vda")),
            Path::new("/x/dev/vda")
        );
        assert_eq!(
            roots.sysctl_path("net.core.rmem_max"),
            Path::new("/x/proc/sys/net/core/rmem_max")
        );
    }
}
