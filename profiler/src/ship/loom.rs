//! The head of mars' memory: event number, heap size, and whether an event is running.
//!
//! From v4.0 the home struct lies at the bottom of the loom, at an address that never changes on
//! 64-bit Linux, so one read of `/proc/PID/mem` needs no symbols. Older and 64-bit layouts are
//! recognised as unknown and not interpreted.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use profiler_common::hoon::{Layout, PARAMETERS_OFFSET, V4, VERSION_OFFSET};
use serde::{Deserialize, Serialize};

use super::Ship;
use crate::host::Roots;
use crate::host::process::Process;

/// Where the loom is mapped (vere `pkg/c3/portable.h`, `U3_OS_LoomBase`).
pub const LOOM_BASE: u64 = profiler_common::hoon::LOOM_START;

/// Size of a word of the loom.
const WORD_BYTES: u64 = 4;

/// Bytes of the head that are read: up to the last field of the home road that is wanted.
const HEAD_BYTES: usize = (V4.home_road + V4.rut) as usize + 4;

/// The addresses of a loom of `bytes`.
pub fn range(bytes: u64) -> Range<u64> {
    LOOM_BASE..LOOM_BASE.saturating_add(bytes)
}

/// What the head of the loom says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoomAnswer {
    /// A layout that is known.
    Home(LoomHome),
    /// The version words are not ones that this profiler knows: nothing else was interpreted.
    UnknownLayout {
        /// The word where v4 keeps the loom's version.
        version: u64,
        /// The word where v4 keeps the layout's parameters.
        parameters: u64,
    },
    /// The head could not be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// The home road of a v4.0-v4.6 ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoomHome {
    /// Number of the last event that was computed; bumped when its computation ends, before it is
    /// committed (vere `pkg/noun/vortex.c`).
    pub event_number: u64,
    /// Size of the persistent heap.
    pub heap_bytes: u64,
    /// Contiguous free memory between heap and stack.
    pub free_gap_bytes: u64,
    /// Whether a computation runs at this moment.
    pub event_in_progress: bool,
}

/// Why the head of the loom could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoomError {
    /// The process has ended.
    #[error("process {tgid} has ended")]
    Gone {
        /// Process id of mars.
        tgid: u32,
    },
    /// Its memory may not be read.
    #[error("the memory of process {tgid} may not be read: run as root, or with CAP_SYS_PTRACE")]
    Denied {
        /// Process id of mars.
        tgid: u32,
    },
    /// Nothing is mapped at the loom's address: mars is just starting, or is not a ship's.
    #[error(
        "process {tgid} has no loom at {LOOM_BASE:#x}: it is just starting, or is no 64-bit vere"
    )]
    NotMapped {
        /// Process id of mars.
        tgid: u32,
    },
    /// The pointers contradict each other: the read fell into a change, so try again.
    #[error("the loom of process {tgid} changed while it was read: try again")]
    Torn {
        /// Process id of mars.
        tgid: u32,
    },
    /// Any other failure of the read.
    #[error("the memory of process {tgid} could not be read: {source}")]
    Io {
        /// Process id of mars.
        tgid: u32,
        /// What the kernel answered.
        source: io::Error,
    },
}

/// Reads the head of mars' loom. It neither stops nor attaches to the process.
///
/// # Errors
/// See [`LoomError`]; a layout that is not known is an answer, not an error.
pub fn read(roots: &Roots, mars_tgid: u32) -> Result<LoomAnswer, LoomError> {
    let failed = |error: io::Error| sort_error(mars_tgid, error);
    let memory = File::open(Process::new(roots, mars_tgid).path("mem")).map_err(failed)?;
    let mut head = [0; HEAD_BYTES];
    memory.read_exact_at(&mut head, LOOM_BASE).map_err(failed)?;
    decode(&head).ok_or(LoomError::Torn { tgid: mars_tgid })
}

/// Reads the head of a ship's loom, and keeps the reason where that is not possible.
pub fn answer(roots: &Roots, ship: &Ship) -> LoomAnswer {
    let Some(mars) = &ship.mars else {
        return LoomAnswer::Unreadable {
            reason: "the ship has no Nock process at this moment".to_owned(),
        };
    };
    read(roots, mars.tgid).unwrap_or_else(|error| LoomAnswer::Unreadable {
        reason: error.to_string(),
    })
}

fn sort_error(tgid: u32, source: io::Error) -> LoomError {
    use rustix::io::Errno;
    match Errno::from_io_error(&source) {
        Some(Errno::NOENT | Errno::SRCH) => LoomError::Gone { tgid },
        Some(Errno::ACCESS | Errno::PERM) => LoomError::Denied { tgid },
        // procfs answers EIO for an address that nothing is mapped at, and 0 bytes for a process
        // whose memory is already gone.
        Some(Errno::IO) => LoomError::NotMapped { tgid },
        _ if source.kind() == io::ErrorKind::UnexpectedEof => LoomError::Gone { tgid },
        _ => LoomError::Io { tgid, source },
    }
}

/// Interprets the head; `None` when its pointers are out of order.
fn decode(head: &[u8; HEAD_BYTES]) -> Option<LoomAnswer> {
    let version = u64_at(head, VERSION_OFFSET)?;
    let parameters = u64_at(head, PARAMETERS_OFFSET)?;
    let Some(layout) = Layout::of(version, parameters) else {
        return Some(LoomAnswer::UnknownLayout {
            version,
            parameters,
        });
    };
    let road = |field| u32_at(head, layout.home_road + field);
    let hat = road(layout.hat)?;
    let words_between = |upper: u32, lower: u32| upper.checked_sub(lower).map(u64::from);
    Some(LoomAnswer::Home(LoomHome {
        event_number: u64_at(head, layout.event)?,
        heap_bytes: words_between(hat, road(layout.rut)?)? * WORD_BYTES,
        free_gap_bytes: words_between(road(layout.mat)?, hat)? * WORD_BYTES,
        event_in_progress: road(layout.kid)? != 0,
    }))
}

fn u32_at(bytes: &[u8], offset: u32) -> Option<u32> {
    let field = bytes.get(offset as usize..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], offset: u32) -> Option<u64> {
    let field = bytes.get(offset as usize..)?.first_chunk()?;
    Some(u64::from_le_bytes(*field))
}

#[cfg(test)]
pub(super) fn encode(version: u64, parameters: u64, home: &LoomHome) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let rut = 0x1000_u32;
    let hat = rut + u32::try_from(home.heap_bytes / WORD_BYTES).unwrap();
    let mat = hat + u32::try_from(home.free_gap_bytes / WORD_BYTES).unwrap();
    for (offset, value) in [
        (VERSION_OFFSET, version),
        (PARAMETERS_OFFSET, parameters),
        (V4.event, home.event_number),
    ] {
        head[offset as usize..][..8].copy_from_slice(&value.to_le_bytes());
    }
    for (field, value) in [
        (V4.kid, u32::from(home.event_in_progress)),
        (V4.hat, hat),
        (V4.mat, mat),
        (V4.rut, rut),
    ] {
        head[(V4.home_road + field) as usize..][..4].copy_from_slice(&value.to_le_bytes());
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: LoomHome = LoomHome {
        event_number: 420_051,
        heap_bytes: 46 << 20,
        free_gap_bytes: 1900 << 20,
        event_in_progress: true,
    };

    #[test]
    fn a_known_layout_is_read_and_another_is_not_interpreted() {
        // 0x54 is what 4.6 shows: bytecode version 1 above the parameters.
        assert_eq!(
            decode(&encode(5, 0x54, &HOME)),
            Some(LoomAnswer::Home(HOME))
        );
        for (version, parameters) in [(4, 0x54), (5, 0x55), (5, 0x24), (0, 0)] {
            assert_eq!(
                decode(&encode(version, parameters, &HOME)),
                Some(LoomAnswer::UnknownLayout {
                    version,
                    parameters
                })
            );
        }
    }

    #[test]
    fn pointers_out_of_order_are_torn() {
        let mut head = encode(5, 0x54, &HOME);
        head[(V4.home_road + V4.hat) as usize..][..4].fill(0);
        assert_eq!(decode(&head), None);
    }

    /// Instants of a live 4.6 ship, each stopped while it computed.
    #[test]
    fn recorded_ships_are_read() {
        let recordings =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/loom");
        let Ok(entries) = std::fs::read_dir(&recordings) else {
            eprintln!("skipped: no recordings in {}", recordings.display());
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let recording: serde_json::Value = serde_json::from_str(&text).unwrap();
            let mut head = [0; HEAD_BYTES];
            for chunk in recording["memory"].as_array().unwrap() {
                let address = chunk[0].as_str().unwrap().trim_start_matches("0x");
                let address = u64::from_str_radix(address, 16).unwrap();
                let hex = chunk[1].as_str().unwrap().as_bytes();
                for (index, digits) in hex.chunks(2).enumerate() {
                    let at = usize::try_from(address - LOOM_BASE).unwrap() + index;
                    if let Some(byte) = head.get_mut(at) {
                        let digits = std::str::from_utf8(digits).unwrap();
                        *byte = u8::from_str_radix(digits, 16).unwrap();
                    }
                }
            }
            let Some(LoomAnswer::Home(home)) = decode(&head) else {
                panic!("{}: {:?}", path.display(), decode(&head));
            };
            assert_eq!(
                Some(home.event_number),
                recording["expected"]["event"].as_u64()
            );
            assert!(home.event_in_progress, "{}", path.display());
        }
    }
}
