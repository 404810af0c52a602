//! Paths as a process sees them. `/proc/PID/root/PATH` looks like one of them and is not: an absolute
//! link in it leads to a file of the host, and the links in a container are the container's to make.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use super::{FileId, Process};
use crate::host::ReadError;

/// What a process finds at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inside {
    /// Which file it is.
    pub id: FileId,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Where it is from here: below `/proc/PID/root`, without links where their targets are known.
    pub reachable: PathBuf,
}

/// How often a lookup is begun again that the kernel gave up because something was renamed
/// meanwhile (`openat2(2)`, `EAGAIN`).
const ATTEMPTS: usize = 16;

impl Process {
    /// What the process finds at `path`. Nothing is opened but for its identity.
    ///
    /// # Errors
    /// Also when this user may not look into the process.
    pub fn inside(&self, path: &Path) -> Result<Inside, ReadError> {
        let below = path.strip_prefix("/").unwrap_or(path);
        let text = self.path_inside(path);
        let failed = |error: io::Error| ReadError::io(&text, error);
        let root = open_path(&self.path("root")).map_err(failed)?;
        let (file, is_resolved) = match open_in_root(&root, below) {
            Ok(file) => (file, true),
            // Before Linux 5.6 there is no such call, and an old seccomp filter refuses it.
            Err(Errno::NOSYS | Errno::PERM) => (open_path(&text).map_err(failed)?, false),
            Err(error) => return Err(failed(error.into())),
        };
        let metadata = file.metadata().map_err(failed)?;
        let reachable = is_resolved
            .then(|| resolved_below(&root, &file))
            .flatten()
            .map(|below| self.path("root").join(below));
        Ok(Inside {
            id: (&metadata).into(),
            is_directory: metadata.is_dir(),
            reachable: reachable.unwrap_or(text),
        })
    }

    /// A path as the process sees it, in the text of one from here.
    pub fn path_inside(&self, path: &Path) -> PathBuf {
        self.path("root")
            .join(path.strip_prefix("/").unwrap_or(path))
    }
}

fn open_path(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(OFlags::PATH.bits().cast_signed())
        .open(path)
}

fn open_in_root(root: &File, below: &Path) -> Result<File, Errno> {
    let below = if below.as_os_str().is_empty() {
        Path::new(".")
    } else {
        below
    };
    let open = || {
        openat2(
            root,
            below,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        )
    };
    let mut answer = open();
    for _ in 1..ATTEMPTS {
        if answer.as_ref().err() != Some(&Errno::AGAIN) {
            break;
        }
        answer = open();
    }
    answer.map(File::from)
}

/// The path of an open file from an open root that it is below, which the kernel shows without links.
fn resolved_below(root: &File, file: &File) -> Option<PathBuf> {
    let shown =
        |file: &File| std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok();
    let path = shown(file)?.strip_prefix(shown(root)?).ok()?.to_path_buf();
    Some(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::host::Roots;

    #[test]
    fn links_lead_where_the_process_would_be_led() {
        let tree = tempfile::tempdir().unwrap();
        let path = |path: &str| tree.path().join(path);
        for directory in ["proc/7", "container/real/zod", "host/zod"] {
            std::fs::create_dir_all(path(directory)).unwrap();
        }
        symlink(path("container"), path("proc/7/root")).unwrap();
        symlink("/real", path("container/absolute")).unwrap();
        symlink("../../real", path("container/above")).unwrap();
        symlink(path("host"), path("container/escape")).unwrap();
        let process = Process::new(&Roots::under(tree.path()), 7);

        let id = FileId::of(&path("container/real/zod")).unwrap();
        for way in ["/real/zod", "/absolute/zod", "/above/zod", "/../real/zod"] {
            let found = process.inside(Path::new(way)).unwrap();
            assert_eq!(found.id, id, "{way}");
            assert!(found.is_directory);
            assert_eq!(found.reachable, path("proc/7/root/real/zod"));
        }
        // A directory of the host is not one of the container.
        let escaped = process.inside(Path::new("/escape/zod"));
        assert!(escaped.is_err_and(|error| error.is_absent()));
        assert_eq!(
            process.inside(Path::new("/")).unwrap().id,
            FileId::of(&path("container")).unwrap()
        );
    }
}
