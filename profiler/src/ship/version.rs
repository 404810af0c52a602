//! The version of vere that runs a ship, where its files state it; never guessed.

use std::path::Path;

use super::small_file::read_small_file;
use crate::host::entry_names;
use crate::host::process::{FileId, Process};

/// Longest version that is taken for one.
const MAX_BYTES: usize = 32;

/// Version of the vere that `process` runs on the pier.
pub fn version(process: &Process, pier: &Path) -> Option<String> {
    of_executable(process, pier).or_else(|| of_newest_epoch(&pier.join(".urb/log")))
}

/// The version in the executable's file name, `vere-v4.6-linux-x86_64`. `.run` is a hard link to
/// such a file in `.bin/<pace>` (vere `pkg/vere/king.c`, `u3_king_vere`).
fn of_executable(process: &Process, pier: &Path) -> Option<String> {
    let executable = process.executable().ok()?;
    let of_name = |name: &str| {
        let version = name.strip_prefix("vere-v")?.split('-').next()?;
        let version = version.trim_end_matches(" (deleted)");
        (!version.is_empty()).then(|| version.to_owned())
    };
    if let Some(version) = executable.file_name()?.to_str().and_then(of_name) {
        return Some(version);
    }
    let id = FileId::of(&process.path("exe")).ok()?;
    let binaries = pier.join(".bin");
    entry_names(&binaries).ok()?.iter().find_map(|pace| {
        let directory = binaries.join(pace);
        entry_names(&directory).ok()?.iter().find_map(|file| {
            (FileId::of(&directory.join(file)).ok()? == id).then(|| of_name(file.to_str()?))?
        })
    })
}

/// The version in `vere.txt` of the newest epoch: at its start a vere begins a new epoch if that is
/// not its own (vere `pkg/vere/disk.c`, `u3_disk_init`).
fn of_newest_epoch(log: &Path) -> Option<String> {
    let names = entry_names(log).ok()?;
    let epochs = names.iter().filter_map(|name| {
        let number: u64 = name.to_str()?.strip_prefix("0i")?.parse().ok()?;
        Some((number, name))
    });
    let (_, newest) = epochs.max()?;
    let text = read_small_file(&log.join(newest).join("vere.txt"))
        .ok()?
        .text;
    let version = text.trim();
    let is_version = version.starts_with(|c: char| c.is_ascii_digit())
        && text.len() <= MAX_BYTES
        && version
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
    is_version.then(|| version.to_owned())
}

/// Whether a version's releases were compiled with frame pointers: up to 3.1 they were built by Bazel
/// and gcc without (vere-v3.0 `bazel/common_settings.bzl`), since 3.2 by zig with
/// `-fno-omit-frame-pointer` (`build.zig`).
pub(super) fn keeps_frame_pointers(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']);
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    match (number(), number()) {
        (Some(major), minor) => (major, minor.unwrap_or(0)) > (3, 1),
        // Not a release.
        (None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_up_to_3_1_keep_no_frame_pointers() {
        for version in ["1.22", "2.12", "3.0", "3.1", "3.1-abc", "3"] {
            assert!(!keeps_frame_pointers(version), "{version}");
        }
        for version in ["3.2", "3.5", "4.0", "4.6-1a2b", "10.0", "edge"] {
            assert!(keeps_frame_pointers(version), "{version}");
        }
    }

    #[test]
    fn the_newest_epoch_names_the_version() {
        let log = tempfile::tempdir().unwrap();
        assert_eq!(of_newest_epoch(log.path()), None);
        for (epoch, text) in [("0i0", "4.4"), ("0i99", "4.5\n"), ("0i100", "4.6")] {
            std::fs::create_dir(log.path().join(epoch)).unwrap();
            std::fs::write(log.path().join(epoch).join("vere.txt"), text).unwrap();
        }
        assert_eq!(of_newest_epoch(log.path()).as_deref(), Some("4.6"));
        let newest = log.path().join("0i100/vere.txt");
        for text in ["", "root:x:0:0", &"4".repeat(40)] {
            std::fs::write(&newest, text).unwrap();
            assert_eq!(of_newest_epoch(log.path()), None, "{text:?}");
        }
        std::fs::remove_file(&newest).unwrap();
        std::os::unix::fs::symlink(log.path().join("0i0/vere.txt"), &newest).unwrap();
        assert_eq!(of_newest_epoch(log.path()), None);
    }
}
