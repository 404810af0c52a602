//! The epochs of a ship's event log, its snapshot, and the size of its pier.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::{ReadError, entry_names};

/// Unit of `st_blocks` (stat(2)).
const BLOCK_BYTES: u64 = 512;
/// Entries of a pier after which its size is no longer summed up: something else lies in there.
const MAX_ENTRIES: usize = 100_000;

/// What the log and the snapshot take on the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogUse {
    /// Epochs (`.urb/log/0i…`, since vere 3.0), the oldest first.
    pub epochs: Vec<Epoch>,
    /// The whole log.
    pub log_bytes: u64,
    /// The snapshot's image (`.urb/chk/image.bin`).
    pub image_bytes: u64,
}

/// One epoch of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number of its first event.
    pub first_event: u64,
    /// What it takes.
    pub bytes: u64,
}

/// Reads what the log of the pier takes. Links are not followed.
///
/// # Errors
/// If there is no log, or it may not be read.
pub fn log_use(pier: &Path) -> Result<LogUse, ReadError> {
    let log = pier.join(".urb/log");
    let mut found = LogUse::default();
    for name in entry_names(&log)? {
        let path = log.join(&name);
        let bytes = tree_bytes(&path).unwrap_or(0);
        found.log_bytes += bytes;
        // `0i` and a number: how Hoon writes a whole one.
        let first_event = name
            .to_str()
            .and_then(|name| name.strip_prefix("0i")?.parse().ok());
        if let Some(first_event) = first_event {
            found.epochs.push(Epoch { first_event, bytes });
        }
    }
    found.epochs.sort_by_key(|epoch| epoch.first_event);
    // Images of older versions are two files; of those that are not there nothing is needed.
    for image in ["image.bin", "north.bin", "south.bin"] {
        let path = pier.join(".urb/chk").join(image);
        found.image_bytes += path.symlink_metadata().map_or(0, |metadata| metadata.len());
    }
    Ok(found)
}

/// What a pier takes on the disk; nothing if it holds too many files to sum up.
pub fn pier_bytes(pier: &Path) -> Option<u64> {
    tree_bytes(pier)
}

/// Sums up what lies in a directory, by the blocks that it takes: the log's files have holes.
fn tree_bytes(top: &Path) -> Option<u64> {
    let (mut bytes, mut entries) = (0_u64, 0);
    let mut directories = vec![top.to_path_buf()];
    while let Some(path) = directories.pop() {
        entries += 1;
        if entries > MAX_ENTRIES {
            return None;
        }
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        bytes = bytes.saturating_add(metadata.blocks().saturating_mul(BLOCK_BYTES));
        if metadata.is_dir() {
            let names = entry_names(&path).unwrap_or_default();
            directories.extend(names.iter().map(|name| path.join(name)));
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_counted_and_links_are_not_followed() {
        let pier = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: usize| {
            let path = pier.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![7_u8; bytes]).unwrap();
        };
        assert!(log_use(pier.path()).is_err());
        put(".urb/log/0i1000/data.mdb", 8192);
        put(".urb/log/0i20/data.mdb", 4096);
        put(".urb/log/notes.txt", 1);
        put(".urb/chk/image.bin", 16384);
        std::os::unix::fs::symlink("/", pier.path().join(".urb/log/away")).unwrap();
        let found = log_use(pier.path()).unwrap();
        let firsts: Vec<u64> = found.epochs.iter().map(|epoch| epoch.first_event).collect();
        assert_eq!(firsts, [20, 1000]);
        assert!(found.epochs[1].bytes >= 8192 && found.log_bytes >= 12288);
        assert_eq!(found.image_bytes, 16384);
        assert!(pier_bytes(pier.path()).unwrap() < 1 << 20);
    }
}
