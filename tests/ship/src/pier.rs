//! The directory of a ship: its paths, its creation, and its lock.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Directories of a pier, in the order in which they are made.
const DIRECTORIES: [&str; 7] = [
    ".urb",
    ".urb/chk",
    ".urb/log",
    ".urb/log/0i0",
    ".urb/get",
    ".urb/put",
    ".urb/roc",
];

/// A pier by its absolute path.
#[derive(Debug, Clone)]
pub struct Pier {
    root: PathBuf,
}

impl Pier {
    /// Makes what is missing of the pier.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        if path.exists() && !path.is_dir() {
            bail!(
                "{} is not a directory: name a pier, or a path where one can be made",
                path.display()
            );
        }
        let make = |path: &Path| {
            fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
        };
        make(path)?;
        let root =
            fs::canonicalize(path).with_context(|| format!("cannot resolve {}", path.display()))?;
        DIRECTORIES
            .iter()
            .try_for_each(|directory| make(&root.join(directory)))?;
        Ok(Self { root })
    }

    /// A pier that exists.
    pub fn open(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The pier itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The event log, outside of its epochs.
    pub fn log(&self) -> PathBuf {
        self.root.join(".urb/log")
    }

    /// The only epoch.
    pub fn epoch(&self) -> PathBuf {
        self.root.join(".urb/log/0i0")
    }

    /// A file of the snapshot.
    pub fn checkpoint(&self, name: &str) -> PathBuf {
        self.root.join(".urb/chk").join(name)
    }

    /// The control socket, from the pier: the whole path may be too long for a socket address.
    pub const CONTROL_SOCKET: &str = ".urb/conn.sock";

    /// The control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.root.join(Self::CONTROL_SOCKET)
    }

    /// Takes the pier's lock, and writes this process's id into its file. It is held as long as the file is open.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.root.join(".vere.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o666)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 1,
            l_pid: 0,
        };
        // SAFETY: the descriptor is open and the struct valid; the kernel only reads it.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) } == -1 {
            // SAFETY: as above; the kernel writes who holds the lock into the struct.
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) };
            bail!(
                "{} is in use by process {}: stop that ship first",
                self.root.display(),
                lock.l_pid
            );
        }
        // A line is added to those of owners that did not end well, as vere does.
        file.seek(SeekFrom::End(0))
            .and_then(|_| writeln!(file, "{}", std::process::id()))
            .and_then(|()| file.sync_data())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Lock { path, _file: file })
    }
}

/// The held lock of a pier.
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Removes the lock's file: the end of a clean exit.
    pub fn release(&self) {
        // The lock itself goes with the process, so a file that stays is only a stale one.
        let _stale = fs::remove_file(&self.path);
    }
}

/// A path for a system call.
pub fn c_path(path: &Path) -> anyhow::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .with_context(|| format!("{} holds a zero byte", path.display()))
}
