//! Checksums of what a window's rows say. SQLite checks the shape of its pages but not the values
//! in them, and a number that a failing disk changed would be believed.

use std::io;

use crc32fast::Hasher;

use super::error::Fault;
use crate::model::Window;

/// Of a window without its stacks.
pub(super) fn of_window(window: &Window) -> Result<u32, Fault> {
    // Taken apart, so that a field that is added is not forgotten.
    let Window {
        ship,
        vere_version,
        start_unix_ns,
        duration_ns,
        clock_step_ns,
        events,
        budgets,
        leaves,
        histograms,
        stacks: _,
        udp,
        faults,
        loom,
        memory,
        disk_space,
        verdict,
        findings,
        own_cost,
        losses,
        not_measured,
        cut_short,
    } = window;
    let first = (
        ship,
        vere_version,
        start_unix_ns,
        duration_ns,
        clock_step_ns,
    );
    let second = (events, budgets, leaves, histograms, udp, faults, loom);
    let third = (memory, disk_space, verdict, findings, own_cost);
    let fourth = (losses, not_measured, cut_short);
    let mut writer = HashWriter(Hasher::new());
    serde_json::to_writer(&mut writer, &(first, second, third, fourth))
        .map_err(|error| Fault::Value(error.to_string()))?;
    Ok(writer.0.finalize())
}

/// Of the names in a stack.
pub(super) fn of_frames(frames: &[String]) -> u32 {
    let mut hasher = Hasher::new();
    for frame in frames {
        hasher.update(&(frame.len() as u64).to_le_bytes());
        hasher.update(frame.as_bytes());
    }
    hasher.finalize()
}

/// Of the stacks of one kind in one window, in whatever order they come.
#[derive(Debug, Default)]
pub(super) struct StacksChecksum(u32);

impl StacksChecksum {
    /// Adds a stack by the checksum of its frames.
    pub(super) fn add(&mut self, frames: u32, weight_ns: u64) {
        let mut hasher = Hasher::new();
        hasher.update(&frames.to_le_bytes());
        hasher.update(&weight_ns.to_le_bytes());
        self.0 = self.0.wrapping_add(hasher.finalize());
    }

    /// The checksum, with what the stacks leave out, the kind and the window.
    pub(super) fn finish(&self, kind: &str, window_id: i64, rest_ns: u64) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(kind.as_bytes());
        hasher.update(&window_id.to_le_bytes());
        hasher.update(&rest_ns.to_le_bytes());
        hasher.update(&self.0.to_le_bytes());
        hasher.finalize()
    }
}

struct HashWriter(Hasher);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
