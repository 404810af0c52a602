//! Control groups of version 1 and 2, as far as the faults need them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::poll_until;
use crate::undo::Undo;
use crate::{Error, Result, scratch};

/// How long a group's last processes may take to leave it.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// A controller that limits something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// CPU bandwidth.
    Cpu,
    /// Block I/O.
    Io,
    /// Memory.
    Memory,
}

impl Controller {
    /// Its names in versions 1 and 2.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Cpu => ("cpu", "cpu"),
            Self::Io => ("blkio", "io"),
            Self::Memory => ("memory", "memory"),
        }
    }

    /// What to enable in version 2. Writeback is charged to a group only if it has `memory` too
    /// (Documentation/admin-guide/cgroup-v2.rst, "Writeback").
    fn enabled_together(self) -> &'static [&'static str] {
        match self {
            Self::Cpu => &["cpu"],
            Self::Io => &["memory", "io"],
            Self::Memory => &["memory"],
        }
    }
}

/// Which interface a hierarchy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy per controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// A group of our own directly below a hierarchy's root. Undoing moves its processes to the root.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    version: Version,
    _undo: Undo,
}

impl Cgroup {
    /// Makes a group where this host has the controller.
    pub fn create(controller: Controller, what: &str) -> Result<Self> {
        let mounts = Path::new("/proc/self/mounts");
        let text = fs::read_to_string(mounts).map_err(Error::path("read", mounts))?;
        let (version, root) = find(&text, controller, |root| {
            fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
        })
        .ok_or_else(|| Error::Missing {
            what: format!("the {} controller of control groups", controller.names().1),
            remedy: "mount a control group hierarchy that has it, or leave the container".into(),
        })?;
        let enabled = match version {
            Version::V1 => Vec::new(),
            Version::V2 => enable(&root, controller)?,
        };
        let path = root.join(scratch::name(what));
        fs::create_dir(&path).map_err(Error::path("create", &path))?;
        let (group, parent) = (path.clone(), root);
        let undo = Undo::new(format!("remove {}", path.display()), move || {
            remove(&group, &parent)?;
            enabled
                .iter()
                .try_for_each(|name| switch(&parent, '-', name))
        });
        Ok(Self {
            path,
            version,
            _undo: undo,
        })
    }

    /// Which files the group has.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The group's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process with all its threads into the group; its later children follow.
    pub fn add(&self, pid: u32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Sets a limit.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.path.join(file);
        fs::write(&path, value).map_err(Error::path("write", &path))
    }
}

/// The first hierarchy that has the controller. `controllers` reads a version 2 root's list.
fn find(
    mounts: &str,
    controller: Controller,
    controllers: impl Fn(&Path) -> String,
) -> Option<(Version, PathBuf)> {
    let (v1, v2) = controller.names();
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = PathBuf::from(fields.next()?);
        match (fields.next()?, fields.next()?) {
            ("cgroup", options) if options.split(',').any(|option| option == v1) => {
                Some((Version::V1, path))
            }
            ("cgroup2", _) if controllers(&path).split_whitespace().any(|name| name == v2) => {
                Some((Version::V2, path))
            }
            _ => None,
        }
    })
}

/// Enables a version 2 controller for the root's children; gives what was not enabled before.
fn enable(root: &Path, controller: Controller) -> Result<Vec<&'static str>> {
    let path = root.join("cgroup.subtree_control");
    let present = fs::read_to_string(&path).map_err(Error::path("read", &path))?;
    let absent: Vec<_> = controller
        .enabled_together()
        .iter()
        .copied()
        .filter(|name| !present.split_whitespace().any(|one| one == *name))
        .collect();
    absent.iter().try_for_each(|name| switch(root, '+', name))?;
    Ok(absent)
}

fn switch(root: &Path, sign: char, name: &str) -> Result<()> {
    let path = root.join("cgroup.subtree_control");
    fs::write(&path, format!("{sign}{name}")).map_err(Error::path("write", &path))
}

/// Empties a group into its parent and removes it. A process that is ending can be neither moved nor
/// ignored for a moment, hence the wait.
fn remove(group: &Path, parent: &Path) -> Result<()> {
    poll_until(
        &format!("{} to be empty", group.display()),
        LEAVE_LIMIT,
        || {
            let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for pid in members.lines() {
                // It may have ended since; if not, removing the group fails and says so.
                let _ = fs::write(parent.join("cgroup.procs"), pid);
            }
            Ok(match fs::remove_dir(group) {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error.to_string()),
            })
        },
    )
}

/// Removes groups whose maker is gone, in every hierarchy.
pub(crate) fn remove_stale() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let roots = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        fields
            .next()?
            .starts_with("cgroup")
            .then(|| PathBuf::from(path))
    });
    for root in roots {
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            if scratch::is_stale(&entry.file_name().to_string_lossy()) {
                remove(&entry.path(), &root)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/blkio cgroup rw,relatime,blkio 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
";
    const UNIFIED: &str = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";

    #[test]
    fn finds_version_1_in_a_hybrid_host() {
        let found = find(HYBRID, Controller::Io, |_| String::new());
        assert_eq!(found, Some((Version::V1, "/sys/fs/cgroup/blkio".into())));
        let found = find(HYBRID, Controller::Cpu, |_| String::new());
        assert_eq!(
            found,
            Some((Version::V1, "/sys/fs/cgroup/cpu,cpuacct".into()))
        );
    }

    #[test]
    fn finds_version_2_where_it_has_the_controller() {
        let found = find(UNIFIED, Controller::Io, |_| "cpuset cpu io memory\n".into());
        assert_eq!(found, Some((Version::V2, "/sys/fs/cgroup".into())));
        assert_eq!(
            find(UNIFIED, Controller::Io, |_| "cpu memory\n".into()),
            None
        );
    }
}
