//! Where a process' control groups are mounted.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::filesystem::{Mount, own_mounts};
use crate::host::process::Process;
use crate::host::{ReadError, Roots, read_text};

/// Which interface a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// A process' place in one mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Which interface its files have.
    pub version: Version,
    /// Controllers attached to it.
    pub controllers: Vec<String>,
    /// Directory where the hierarchy is mounted, reachable from here.
    pub mount_point: PathBuf,
    /// The process' group below `mount_point`; empty for the root group.
    pub group: PathBuf,
}

impl Hierarchy {
    /// Directories of the process' group and all its ancestors within the mount, innermost first.
    pub fn levels(&self) -> impl Iterator<Item = (PathBuf, PathBuf)> + '_ {
        self.group
            .ancestors()
            .map(|group| (Path::new("/").join(group), self.mount_point.join(group)))
    }
}

/// The hierarchies that `process` is in and that are mounted here.
pub fn hierarchies(roots: &Roots, process: &Process) -> Result<Vec<Hierarchy>, ReadError> {
    let mounts = own_mounts(roots)?;
    let mut found = Vec::new();
    for group in process.cgroups()? {
        let path = Path::new(&group.pathname);
        let place = if group.controllers.is_empty() {
            let mount = mounts.iter().find(|mount| mount.fs_type == "cgroup2");
            mount.and_then(|mount| place(roots, mount, Version::V2, path))
        } else {
            let attached = |mount: &&Mount| {
                mount.fs_type == "cgroup"
                    && group
                        .controllers
                        .iter()
                        .all(|name| mount.options.contains(name))
            };
            let mount = mounts.iter().find(attached);
            mount.and_then(|mount| place(roots, mount, Version::V1, path))
        };
        let Some(mut place) = place else { continue };
        place.controllers = match place.version {
            Version::V1 => group.controllers,
            // Those of the hierarchy, not of the group: an ancestor's limit holds for groups that
            // do not have the controller themselves.
            Version::V2 => read_text(&place.mount_point.join("cgroup.controllers"))?
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        };
        found.push(place);
    }
    Ok(found)
}

/// Directory of a process' group in the unified hierarchy, which programs can be attached to.
///
/// # Errors
/// With the reason, if it cannot be reached.
pub fn unified_group(roots: &Roots, process: &Process) -> Result<PathBuf, String> {
    let found = hierarchies(roots, process).map_err(|error| error.to_string())?;
    let unified = found.into_iter().find(|place| place.version == Version::V2);
    let unified =
        unified.ok_or("the unified control group hierarchy (cgroup v2) is not mounted")?;
    Ok(unified.mount_point.join(unified.group))
}

/// A group's directory below a mount, which may show only a part of the hierarchy.
fn place(roots: &Roots, mount: &Mount, version: Version, group: &Path) -> Option<Hierarchy> {
    // A group outside our own cgroup namespace is shown as `/../…` and cannot be reached.
    let below = group.strip_prefix(&mount.root).ok()?;
    if below
        .components()
        .any(|part| part == std::path::Component::ParentDir)
    {
        return None;
    }
    Some(Hierarchy {
        version,
        controllers: Vec::new(),
        mount_point: roots.host_path(&mount.mount_point),
        group: below.to_path_buf(),
    })
}
