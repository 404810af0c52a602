//! The file of the journal: one line for each entry, appended and made durable under the lock.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use super::{BaselineError, Baselines};

/// Its name.
const JOURNAL: &str = "journal.jsonl";
/// More is not read: an entry takes 2 KiB, and nobody makes so many changes.
const MAX_BYTES: u64 = 64 << 20;

impl Baselines {
    /// The journal's file.
    pub fn journal_path(&self) -> PathBuf {
        self.directory().join(JOURNAL)
    }

    /// All of the journal; empty if there is none.
    ///
    /// # Errors
    /// If it is no ordinary file, too large, or cannot be read.
    pub fn journal(&self) -> Result<String, BaselineError> {
        let path = self.journal_path();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(String::new()),
            Err(rustix::io::Errno::LOOP) => return Err(BaselineError::NoFile(path)),
            Err(error) => return Err(BaselineError::io(&path, error.into())),
        };
        let failed = |error| BaselineError::io(&path, error);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(BaselineError::NoFile(path));
        }
        if metadata.len() > MAX_BYTES {
            let limit_bytes = MAX_BYTES;
            return Err(BaselineError::TooLarge { path, limit_bytes });
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Adds a line (without its end) and makes it durable. A line that was cut short before keeps to
    /// itself.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&self, line: &str) -> Result<(), BaselineError> {
        let (directory, _lock) = self.lock()?;
        let path = self.journal_path();
        let flags = OFlags::CREATE | OFlags::APPEND | OFlags::RDWR | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&directory, JOURNAL, flags | OFlags::CLOEXEC, mode);
        let appended = file.map_err(io::Error::from).and_then(|file| {
            let mut file = File::from(file);
            let mut text = String::new();
            if is_torn(&file)? {
                text.push('\n');
            }
            text.push_str(line);
            text.push('\n');
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(rustix::fs::fsync(&directory)?)
        });
        appended.map_err(|error| BaselineError::io(&path, error))
    }
}

/// Whether the last line has no end.
fn is_torn(file: &File) -> io::Result<bool> {
    let Some(last) = file.metadata()?.len().checked_sub(1) else {
        return Ok(false);
    };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte != *b"\n")
}
