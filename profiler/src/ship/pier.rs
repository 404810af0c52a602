//! A pier's paths: the one that the ship uses and the one that this host reaches it by.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lock::LOCK_FILE;
use crate::host::process::{FileId, Process};
use crate::host::{Reading, Roots, filesystem};

/// The directory that makes a directory a pier (vere `pkg/vere/disk.c`).
pub const PIER_MARK: &str = ".urb";

/// A pier, by both its paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PierPaths {
    /// As the ship sees it; in a container this is not a path of the host.
    pub inside: PathBuf,
    /// As this profiler reaches it: the host's own path, else through `/proc/PID/root`, which
    /// lasts as long as the process.
    pub reachable: PathBuf,
    /// Device and inode, which are the same by every path.
    pub id: Reading<FileId>,
}

impl PierPaths {
    /// The pier `inside` of `process`, made reachable.
    pub fn of_process(roots: &Roots, process: &Process, inside: &Path) -> Self {
        let (id, through_process) = match process.inside(inside) {
            Ok(found) => (Reading::Known(found.id), found.reachable),
            Err(error) => (
                Reading::unknown(error.to_string()),
                process.path_inside(inside),
            ),
        };
        let on_host = roots.host_path(inside);
        // The same text may be another directory here, so identity decides.
        let same_here = match &id {
            Reading::Known(id) => FileId::of(&on_host).is_ok_and(|here| here == *id),
            Reading::Unknown { .. } => on_host.join(PIER_MARK).is_dir(),
        };
        Self {
            inside: inside.to_path_buf(),
            reachable: if same_here {
                on_host
            } else {
                host_path_of_mount(roots, process, inside, &id).unwrap_or(through_process)
            },
            id,
        }
    }

    /// Whether both are one directory, by whatever path each process sees it.
    pub fn same_as(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (Reading::Known(own), Reading::Known(other)) => own == other,
            // Without the right to look into the processes, the text is all there is.
            _ => self.inside == other.inside,
        }
    }

    /// Whether `path` is this pier. `id` is the identity of `path`.
    pub fn is(&self, path: &Path, id: Option<FileId>) -> bool {
        match (&self.id, id) {
            (Reading::Known(own), Some(id)) => *own == id,
            // Without the right to look into the process, the text is all there is.
            _ => self.reachable == path,
        }
    }
}

/// Finds a container's directory among the host's own mounts: a volume is the same file system,
/// mounted elsewhere. Identity is checked, so a wrong guess is no answer.
fn host_path_of_mount(
    roots: &Roots,
    process: &Process,
    inside: &Path,
    id: &Reading<FileId>,
) -> Option<PathBuf> {
    let theirs = filesystem::mounts(process).ok()?;
    let ours = filesystem::own_mounts(roots).ok()?;
    let mount = filesystem::mount_of(&theirs, inside)?;
    let below = inside.strip_prefix(&mount.mount_point).ok()?;
    let within_filesystem = mount.root.join(below);
    ours.iter()
        .filter(|candidate| candidate.device == mount.device)
        .filter_map(|candidate| {
            let rest = within_filesystem.strip_prefix(&candidate.root).ok()?;
            Some(roots.host_path(&candidate.mount_point.join(rest)))
        })
        .find(|path| FileId::of(path).ok().as_ref() == id.known())
}

/// Where a path given by a process' arguments leads, as the process sees it. Up to v3.5 the serf's
/// path may be relative to the directory that the king was started in.
pub fn resolve_inside(process: &Process, path: &Path) -> PathBuf {
    if path.is_absolute() {
        return path.to_path_buf();
    }
    match std::fs::read_link(process.path("cwd")) {
        Ok(directory) => clean(&directory.join(path)),
        Err(_) => path.to_path_buf(),
    }
}

/// Removes `.` and resolves `..` in the text: the path may be of another mount namespace, where
/// nothing here can canonicalise it.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// Whether `directory` looks like a pier from within `process`.
pub fn is_pier_inside(process: &Process, directory: &Path) -> bool {
    process
        .inside(&directory.join(PIER_MARK))
        .is_ok_and(|mark| mark.is_directory)
}

/// The pier that a process has files open in, from the text of its links: `…/.urb/…`. It follows a
/// pier that is moved. A text that does not lead to the open file is passed over: its file was
/// removed, or it is a path from outside the process' root.
pub fn from_open_files(process: &Process) -> Option<PathBuf> {
    let files = process.open_files().ok()?;
    files.iter().find_map(|(fd, target)| {
        let mark = target
            .ancestors()
            .find(|ancestor| ancestor.file_name().is_some_and(|name| name == PIER_MARK))?;
        let pier = mark.parent()?.to_path_buf();
        let open = FileId::of(&process.path("fd").join(fd.to_string())).ok()?;
        (process.inside(target).ok()?.id == open).then_some(pier)
    })
}

/// Whether a process has the lock of the pier at `pier`, or a file below its `.urb`, open. The text
/// of its links only says which file to compare with.
pub fn has_open_in(process: &Process, pier: &Path) -> bool {
    let Ok(files) = process.open_files() else {
        return false;
    };
    files.iter().any(|(fd, target)| {
        let file = match below_mark(target) {
            Some(below) => FileId::of(&pier.join(PIER_MARK).join(below)),
            None if target.ends_with(LOCK_FILE) => FileId::of_link(&pier.join(LOCK_FILE)),
            None => return false,
        };
        let open = FileId::of(&process.path("fd").join(fd.to_string()));
        matches!((file, open), (Ok(file), Ok(open)) if file == open)
    })
}

/// What a path names below the nearest `.urb` above it.
fn below_mark(path: &Path) -> Option<&Path> {
    let mark = path
        .ancestors()
        .skip(1)
        .find(|ancestor| ancestor.file_name().is_some_and(|name| name == PIER_MARK))?;
    path.strip_prefix(mark).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_cleaned_as_text() {
        assert_eq!(
            clean(Path::new("/home/a/./x/../zod")),
            Path::new("/home/a/zod")
        );
    }
}
