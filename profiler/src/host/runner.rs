//! How a process is run: from a shell, by a systemd unit, in a container. Commands that make a change last
//! depend on it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process::Process;
use super::{ReadError, Roots, read_text};

/// Where GroundSeg keeps a file of settings for each ship, named by the ship without its tilde
/// (Native-Planet/GroundSeg, `goseg/config`).
const GROUNDSEG_PIERS: &str = "/opt/nativeplanet/groundseg/settings/pier";
/// Where Docker keeps what it knows of a container (its default data directory).
const DOCKER_CONTAINERS: &str = "/var/lib/docker/containers";
/// Where systemd looks for units, the first first (systemd.unit(5)).
const UNIT_DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Characters of a container's id: SHA-256 in hexadecimal.
const CONTAINER_ID_CHARS: usize = 64;

/// What runs a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runner {
    /// Nothing that could be told: a shell, a terminal multiplexer, an init script.
    Bare,
    /// A service of systemd.
    Unit {
        /// Its name, with `.service`.
        name: String,
        /// Whether it is one of a user's own manager.
        of_user: bool,
        /// Its file, or its template's; nothing if it is in none of the known directories.
        file: Option<PathBuf>,
    },
    /// A container of Docker.
    Docker {
        /// Its id.
        id: String,
        /// Its name, where Docker's own files could be read.
        name: Option<String>,
    },
    /// A container of Docker that GroundSeg made.
    GroundSeg {
        /// The container's id.
        id: String,
        /// The ship, as GroundSeg calls it, which is also the container's name.
        ship: String,
        /// GroundSeg's settings of it.
        settings: PathBuf,
    },
    /// A container of Podman.
    Podman {
        /// Its id.
        id: String,
    },
    /// Another container: of Kubernetes, LXC, systemd-nspawn.
    Container {
        /// What its control group says.
        what: String,
    },
}

impl Runner {
    /// In a sentence.
    pub fn words(&self) -> String {
        match self {
            Self::Bare => "hand, or a script".to_owned(),
            Self::Unit { name, of_user, .. } => {
                let of = if *of_user { "user unit" } else { "unit" };
                format!("the systemd {of} {name}")
            }
            Self::Docker { .. } => format!("the Docker container {}", self.container()),
            Self::GroundSeg { ship, .. } => format!("GroundSeg, as {ship}"),
            Self::Podman { .. } => format!("the Podman container {}", self.container()),
            Self::Container { what } => format!("a container, {what}"),
        }
    }

    /// What a container is called in commands; empty for what is none.
    pub fn container(&self) -> &str {
        match self {
            Self::Docker { id, name } => name.as_deref().unwrap_or_else(|| short(id)),
            Self::GroundSeg { ship, .. } => ship,
            Self::Podman { id } => short(id),
            Self::Bare | Self::Unit { .. } | Self::Container { .. } => "",
        }
    }
}

/// What users see of an id.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Tells what runs `process`, by its control groups. `ship` is what the ship is called, with its tilde.
///
/// # Errors
/// If its control groups cannot be read.
pub fn runner(roots: &Roots, process: &Process, ship: Option<&str>) -> Result<Runner, ReadError> {
    let groups = process.cgroups()?;
    // The unified hierarchy and systemd's own first: limits of others may be anybody's groups.
    let mut paths: Vec<(bool, &str)> = groups
        .0
        .iter()
        .map(|group| {
            let named = group.controllers.is_empty()
                || group.controllers.iter().any(|name| name == "name=systemd");
            (!named, group.pathname.as_str())
        })
        .collect();
    paths.sort_by_key(|(later, _)| *later);
    let found = paths.iter().find_map(|(_, path)| of_group(roots, path));
    Ok(match found {
        Some(Runner::Docker { id, .. }) => docker(roots, id, ship),
        Some(found) => found,
        None => Runner::Bare,
    })
}

/// What one control group says, its innermost part first.
fn of_group(roots: &Roots, path: &str) -> Option<Runner> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let kubernetes = parts.iter().any(|part| part.starts_with("kubepods"));
    for (at, part) in parts.iter().enumerate().rev() {
        let stem = part.strip_suffix(".scope").unwrap_or(part);
        let parent = at.checked_sub(1).and_then(|at| parts.get(at)).copied();
        if let Some(id) = stem.strip_prefix("libpod-").filter(|id| is_id(id)) {
            return Some(Runner::Podman { id: id.to_owned() });
        }
        let in_docker = matches!(parent, Some("docker" | "system.slice")) || parent.is_none();
        let id = stem.strip_prefix("docker-").unwrap_or(stem);
        if is_id(id) && !kubernetes && (in_docker || stem != id) {
            return Some(Runner::Docker {
                id: id.to_owned(),
                name: None,
            });
        }
        let is_other = kubernetes
            || part.starts_with("lxc.payload")
            || parent == Some("lxc")
            || parent == Some("machine.slice");
        if is_other {
            return Some(Runner::Container {
                what: (*part).to_owned(),
            });
        }
        if part.ends_with(".service") && !part.starts_with("user@") {
            let of_user = parts[..at].iter().any(|part| part.starts_with("user@"));
            return Some(Runner::Unit {
                name: (*part).to_owned(),
                of_user,
                file: (!of_user).then(|| unit_file(roots, part)).flatten(),
            });
        }
    }
    None
}

fn is_id(text: &str) -> bool {
    text.len() == CONTAINER_ID_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The file of a unit, or of the template that it is an instance of.
fn unit_file(roots: &Roots, name: &str) -> Option<PathBuf> {
    let template = name
        .split_once('@')
        .map(|(stem, _)| format!("{stem}@.service"));
    let names = std::iter::once(name.to_owned()).chain(template);
    names
        .flat_map(|name| UNIT_DIRECTORIES.map(|directory| Path::new(directory).join(&name)))
        .find(|path| roots.host_path(path).is_file())
}

fn docker(roots: &Roots, id: String, ship: Option<&str>) -> Runner {
    let name = docker_name(roots, &id);
    // GroundSeg names the container as the ship.
    let called = name
        .as_deref()
        .or(ship)
        .map(|ship| ship.trim_start_matches('~'));
    if let Some(called) = called.filter(|called| !called.contains('/')) {
        let settings = Path::new(GROUNDSEG_PIERS).join(format!("{called}.json"));
        if roots.host_path(&settings).is_file() {
            return Runner::GroundSeg {
                id,
                ship: called.to_owned(),
                settings,
            };
        }
    }
    Runner::Docker { id, name }
}

/// Docker's own name of a container; nothing if its files may not be read.
fn docker_name(roots: &Roots, id: &str) -> Option<String> {
    let path = Path::new(DOCKER_CONTAINERS).join(id).join("config.v2.json");
    let text = read_text(&roots.host_path(&path)).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(config["Name"].as_str()?.trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f1c9dd7c2c1b4ce0e3c8e1a2b8f7f3a9a6f4b61f1ce2f2f3f6c2d4d1a8b9c0d";

    fn of(text: &str, files: &[(&str, &str)]) -> Runner {
        let tree = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("proc/7/cgroup", text);
        for (path, text) in files {
            put(path, text);
        }
        let roots = Roots::under(tree.path());
        runner(&roots, &Process::new(&roots, 7), Some("~zod")).unwrap()
    }

    #[test]
    fn control_groups_tell_what_runs_a_ship() {
        for (text, bare) in [
            ("0::/\n", true),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", true),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/tmux-spawn-1.scope\n",
                true,
            ),
            ("0::/system.slice/zod.service\n", false),
        ] {
            assert_eq!(of(text, &[]) == Runner::Bare, bare, "{text}");
        }
        let unit = of(
            "0::/system.slice/system-urbit.slice/urbit@zod.service\n",
            &[("etc/systemd/system/urbit@.service", "")],
        );
        let Runner::Unit {
            name,
            file,
            of_user,
        } = unit
        else {
            panic!("{unit:?}");
        };
        assert_eq!((name.as_str(), of_user), ("urbit@zod.service", false));
        assert_eq!(file, Some("/etc/systemd/system/urbit@.service".into()));
        let own = of(
            "0::/user.slice/user-1.slice/user@1.service/app.slice/zod.service\n",
            &[],
        );
        assert!(matches!(own, Runner::Unit { of_user: true, .. }), "{own:?}");
    }

    #[test]
    fn containers_are_named_as_their_commands_name_them() {
        let config = format!("var/lib/docker/containers/{ID}/config.v2.json");
        let config = (config.as_str(), r#"{"Name":"/zod"}"#);
        let settings = ("opt/nativeplanet/groundseg/settings/pier/zod.json", "{}");
        let scope = format!("0::/system.slice/docker-{ID}.scope\n");
        let v1 = format!("4:cpu:/mine\n1:name=systemd:/docker/{ID}\n");
        for text in [&scope, &v1] {
            let docker = of(text, &[config]);
            assert_eq!(docker.container(), "zod");
            assert!(matches!(docker, Runner::Docker { .. }));
            assert_eq!(of(text, &[]).container(), &ID[..12]);
            let groundseg = of(text, &[config, settings]);
            assert_eq!(groundseg.words(), "GroundSeg, as zod");
        }
        let podman = of(
            &format!("0::/machine.slice/libpod-{ID}.scope/container\n"),
            &[],
        );
        assert!(matches!(podman, Runner::Podman { .. }), "{podman:?}");
        let other = of(
            "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope\n",
            &[],
        );
        assert!(matches!(other, Runner::Container { .. }), "{other:?}");
    }
}
