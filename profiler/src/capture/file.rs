//! The capture file.
//!
//! Sixteen bytes of head (magic, version), then sections: an eight-byte name, the length and the
//! CRC-32 of what follows. The section `end` closes it, so that a file cut short is known as
//! such. `meta` and `symbols` are JSON; the others hold the programs' own bytes: `records` as
//! length and bytes each, the sums as pairs of key and value. Whoever reads one trusts nothing.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use profiler_common::ames::{PacketKey, PacketTotals, Times};
use profiler_common::block::{BlockKey, BlockTotals};
use profiler_common::neighbour::{AheadKey, AheadTotals, DeviceTotals, IoKey, IoTotals};
use profiler_common::sched::{Thread, WaitKey, Waits};
use profiler_common::snapshot::SnapshotTotals;
use profiler_common::udp::{UdpKey, UdpTotals};
use profiler_common::writeback::{File, FileIo, FileIoKey, FileKey};
use thiserror::Error;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::recording::Recording;
use super::validate::validate;
use crate::hoon::HoonNames;
use crate::model::{AmesTotals, Capture, Meta, NeighbourTotals, Symbols, Totals, WritebackTotals};

const MAGIC: &[u8; 8] = b"profile\0";
/// Version of the format. Raised by every change that an older reader would misread.
pub const FORMAT_VERSION: u32 = 5;
/// The format before: threads kept frames behind their sums, and stacks did not say how they end.
const FORMAT_VERSION_4: u32 = 4;
/// Bytes of those frames: 127 and 63 words, and two spare ones.
const FORMAT_4_FRAMES: usize = 192 * 8;
/// Longest section that is read, so that a damaged length cannot exhaust memory.
const MAX_SECTION_BYTES: u64 = 1 << 31;

const META: &str = "meta";
const RECORDS: &str = "records";
const THREADS: &str = "threads";
const WAITS: &str = "waits";
const BLOCK: &str = "block";
const UDP: &str = "udp";
const AMES: &str = "ames";
const AMES_TIMES: &str = "amestime";
const SNAPSHOT: &str = "snapshot";
const AHEAD: &str = "ahead";
const DEVICES: &str = "devices";
const IO: &str = "io";
const FILES: &str = "files";
const FILE_IO: &str = "file-io";
const SYMBOLS: &str = "symbols";
const HOON: &str = "hoon";
const END: &str = "end";
/// All that are read.
const SECTIONS: [&str; 16] = [
    META, RECORDS, THREADS, WAITS, BLOCK, UDP, AMES, AMES_TIMES, SNAPSHOT, AHEAD, DEVICES, IO,
    FILES, FILE_IO, SYMBOLS, HOON,
];

/// Why a file is no capture that can be read.
#[derive(Debug, Error)]
pub enum FileError {
    /// Reading failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It does not begin as a capture does.
    #[error("it is not a capture: it does not begin with the mark of one")]
    NotACapture,
    /// Another format.
    #[error(
        "it has format {found}, and this profiler reads formats {FORMAT_VERSION_4} and \
         {FORMAT_VERSION}; use the version of profile that wrote it"
    )]
    Version {
        /// Its format.
        found: u32,
    },
    /// It ends too early.
    #[error(
        "it is truncated: it ends {within}; copy it again from where it was taken, nothing of it \
         can be trusted to be complete"
    )]
    Truncated {
        /// Where.
        within: String,
    },
    /// A section's checksum does not fit.
    #[error("it is damaged: the checksum of its section {0:?} does not fit")]
    Checksum(String),
    /// A section makes no sense.
    #[error("it is damaged: section {section:?}: {reason}")]
    Section {
        /// Its name.
        section: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Writes a capture.
///
/// # Errors
/// If writing fails, or (never seen) a part cannot be turned into JSON.
pub fn write(
    to: &mut impl Write,
    meta: &Meta,
    recording: &Recording,
    totals: &Totals,
    symbols: &Symbols,
    hoon: &HoonNames,
) -> Result<(), FileError> {
    to.write_all(MAGIC)?;
    to.write_all(&FORMAT_VERSION.to_le_bytes())?;
    to.write_all(&[0; 4])?;
    section(to, META, &json(META, meta)?)?;
    section(to, RECORDS, recording.bytes())?;
    section(to, THREADS, &pairs(&totals.threads))?;
    section(to, WAITS, &pairs(&totals.waits))?;
    section(to, BLOCK, &pairs(&totals.block))?;
    section(to, UDP, &pairs(&totals.udp))?;
    section(to, AMES, &pairs(&totals.ames.packets))?;
    section(to, AMES_TIMES, &pairs(&totals.ames.times))?;
    section(to, SNAPSHOT, &pairs(&totals.snapshots))?;
    section(to, AHEAD, &pairs(&totals.neighbours.ahead))?;
    section(to, DEVICES, &pairs(&totals.neighbours.devices))?;
    section(to, IO, &pairs(&totals.neighbours.io))?;
    section(to, FILES, &pairs(&totals.writeback.files))?;
    section(to, FILE_IO, &pairs(&totals.writeback.io))?;
    section(to, SYMBOLS, &json(SYMBOLS, symbols)?)?;
    section(to, HOON, &json(HOON, hoon)?)?;
    section(to, END, &[])
}

/// Reads a capture.
///
/// # Errors
/// If it is none, of another version, truncated or damaged.
pub fn read(from: &mut impl Read) -> Result<Capture, FileError> {
    let mut head = [0; 16];
    read_head(from, &mut head, || FileError::NotACapture)?;
    if &head[..8] != MAGIC {
        return Err(FileError::NotACapture);
    }
    let found = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    let behind_thread = match found {
        FORMAT_VERSION => 0,
        FORMAT_VERSION_4 => FORMAT_4_FRAMES,
        _ => return Err(FileError::Version { found }),
    };
    let sections = sections(from)?;
    let bytes = |name: &'static str| {
        sections
            .get(name)
            .map(Vec::as_slice)
            .ok_or(FileError::Section {
                section: name,
                reason: "it is missing".to_owned(),
            })
    };
    let mut meta: Meta = from_json(META, bytes(META)?)?;
    let recording = Recording::of_bytes(bytes(RECORDS)?.to_vec());
    let (events, malformed) = recording.decode();
    meta.losses.malformed_records += malformed;
    let mut capture = Capture {
        meta,
        events,
        totals: Totals {
            threads: from_spaced_pairs::<u32, Thread>(THREADS, bytes(THREADS)?, behind_thread)?,
            waits: from_pairs::<WaitKey, Waits>(WAITS, bytes(WAITS)?)?,
            block: from_pairs::<BlockKey, BlockTotals>(BLOCK, bytes(BLOCK)?)?,
            udp: from_pairs::<UdpKey, UdpTotals>(UDP, bytes(UDP)?)?,
            ames: AmesTotals {
                packets: from_pairs::<PacketKey, PacketTotals>(AMES, bytes(AMES)?)?,
                times: from_pairs::<u32, Times>(AMES_TIMES, bytes(AMES_TIMES)?)?,
            },
            snapshots: from_pairs::<u32, SnapshotTotals>(SNAPSHOT, bytes(SNAPSHOT)?)?,
            turnaround: Vec::new(),
            neighbours: NeighbourTotals {
                ahead: from_pairs::<AheadKey, AheadTotals>(AHEAD, bytes(AHEAD)?)?,
                devices: from_pairs::<u32, DeviceTotals>(DEVICES, bytes(DEVICES)?)?,
                io: from_pairs::<IoKey, IoTotals>(IO, bytes(IO)?)?,
            },
            writeback: WritebackTotals {
                files: from_pairs::<FileKey, File>(FILES, bytes(FILES)?)?,
                io: from_pairs::<FileIoKey, FileIo>(FILE_IO, bytes(FILE_IO)?)?,
            },
        },
        symbols: from_json(SYMBOLS, bytes(SYMBOLS)?)?,
        // Captures from before Hoon stacks have neither them nor their names.
        hoon: match (found, sections.contains_key(HOON)) {
            (FORMAT_VERSION_4, false) => HoonNames::default(),
            _ => from_json(HOON, bytes(HOON)?)?,
        },
    };
    validate(&mut capture)?;
    Ok(capture)
}

fn section(to: &mut impl Write, name: &str, payload: &[u8]) -> Result<(), FileError> {
    let mut head = [0; 24];
    // The names are the constants above, of at most eight bytes.
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    head[16..20].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    to.write_all(&head)?;
    Ok(to.write_all(payload)?)
}

/// Fills `head`; the file's end is `too_short`, and nothing else is.
fn read_head(
    from: &mut impl Read,
    head: &mut [u8],
    too_short: impl FnOnce() -> FileError,
) -> Result<(), FileError> {
    from.read_exact(head).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => too_short(),
        _ => FileError::Io(error),
    })
}

fn sections(from: &mut impl Read) -> Result<BTreeMap<String, Vec<u8>>, FileError> {
    let mut sections = BTreeMap::new();
    loop {
        let mut head = [0; 24];
        let truncated = |within: String| FileError::Truncated { within };
        read_head(from, &mut head, || {
            truncated("between two sections".to_owned())
        })?;
        let name_end = head[..8].iter().position(|&b| b == 0).unwrap_or(8);
        let name = String::from_utf8_lossy(&head[..name_end]).into_owned();
        let number = |at: usize| {
            u64::from_le_bytes(std::array::from_fn(|i| {
                head.get(at + i).copied().unwrap_or(0)
            }))
        };
        let length = number(8);
        if length > MAX_SECTION_BYTES {
            return Err(FileError::Checksum(name));
        }
        // `take` and not a buffer of the promised length: a hostile length must not allocate.
        let mut payload = Vec::new();
        from.take(length).read_to_end(&mut payload)?;
        if payload.len() as u64 != length {
            return Err(truncated(format!("within its section {name:?}")));
        }
        if u64::from(crc32fast::hash(&payload)) != number(16) & 0xffff_ffff {
            return Err(FileError::Checksum(name));
        }
        if name == END {
            return Ok(sections);
        }
        // A later version may add sections; a hostile file may add any number.
        if SECTIONS.contains(&name.as_str()) {
            sections.insert(name, payload);
        }
    }
}

fn json(section: &'static str, value: &impl serde::Serialize) -> Result<Vec<u8>, FileError> {
    serde_json::to_vec(value).map_err(|e| FileError::Section {
        section,
        reason: e.to_string(),
    })
}

fn from_json<T: serde::de::DeserializeOwned>(
    section: &'static str,
    bytes: &[u8],
) -> Result<T, FileError> {
    serde_json::from_slice(bytes).map_err(|e| FileError::Section {
        section,
        reason: e.to_string(),
    })
}

fn pairs<K: IntoBytes + Immutable, V: IntoBytes + Immutable>(entries: &[(K, V)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_of_val(entries));
    for (key, value) in entries {
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    bytes
}

fn from_pairs<K: FromBytes, V: FromBytes>(
    section: &'static str,
    bytes: &[u8],
) -> Result<Vec<(K, V)>, FileError> {
    from_spaced_pairs(section, bytes, 0)
}

/// Pairs with so many bytes behind each that are not looked at.
fn from_spaced_pairs<K: FromBytes, V: FromBytes>(
    section: &'static str,
    mut bytes: &[u8],
    behind: usize,
) -> Result<Vec<(K, V)>, FileError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let pair = K::read_from_prefix(bytes).ok().and_then(|(key, rest)| {
            let (value, rest) = V::read_from_prefix(rest).ok()?;
            Some(((key, value), rest.get(behind..)?))
        });
        let Some((entry, rest)) = pair else {
            let reason = "an entry is cut short".to_owned();
            return Err(FileError::Section { section, reason });
        };
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}
