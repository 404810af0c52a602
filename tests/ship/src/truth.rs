//! Ground truth: what the ship did and when, as JSON lines. Times are CLOCK_MONOTONIC in nanoseconds.
//!
//! Lines are kept in memory and written rarely, so that the log is no load of its own on the ship.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::sys::monotonic_ns;

/// Time between writes. What a killed process had not yet written is lost.
const FLUSH_INTERVAL_NS: u64 = 5_000_000_000;

/// A log of what happened, or nothing at all if no file was asked for.
pub struct Truth {
    file: Option<File>,
    lines: Vec<u8>,
    flushed_ktime_ns: u64,
}

impl Truth {
    /// Starts a new log.
    pub fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = path
            .map(|path| {
                File::create(path)
                    .with_context(|| format!("cannot write the ground truth to {}", path.display()))
            })
            .transpose()?;
        Ok(Self {
            file,
            lines: Vec::new(),
            flushed_ktime_ns: monotonic_ns(),
        })
    }

    /// Notes one line.
    pub fn record(&mut self, line: &Value) {
        if self.file.is_some() {
            self.lines.extend_from_slice(line.to_string().as_bytes());
            self.lines.push(b'\n');
        }
    }

    /// Writes what is due.
    pub fn flush_if_due(&mut self) -> anyhow::Result<()> {
        let now = monotonic_ns();
        if now < self.flushed_ktime_ns + FLUSH_INTERVAL_NS {
            return Ok(());
        }
        self.flush()
    }

    /// Writes everything.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.flushed_ktime_ns = monotonic_ns();
        if let Some(file) = &mut self.file {
            file.write_all(&self.lines)
                .context("cannot write the ground truth")?;
        }
        self.lines.clear();
        Ok(())
    }
}

/// The file that mars writes to, beside the king's.
pub fn mars_path(king: &Path) -> PathBuf {
    let mut name = OsString::from(king);
    name.push(".mars");
    name.into()
}
