//! The ship's name as the outside shows it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::host::process::{Map, MapName};

/// Prefix of the spin stack's file name in `/dev/shm` (vere `pkg/noun/trace.c`, `u3t_sstack_init`).
const SPIN_STACK_PREFIX: &str = "spin_stack_page_";

/// A ship's name and where it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipName {
    /// The name with its tilde, `~sampel-palnet`.
    pub text: String,
    /// How far it can be trusted.
    pub source: NameSource,
}

/// Where a ship's name was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameSource {
    /// The name of mars' spin stack, which vere writes itself from v4.5 on.
    SpinStack,
    /// The pier's directory is named like a ship, which is only a convention.
    Directory,
}

/// The name that mars' spin stack carries: `spin_stack_page_<~ship>_<king pid>`; up to v4.4 the
/// file is named with the pid alone.
pub fn from_spin_stack(maps: &[Map]) -> Option<ShipName> {
    maps.iter().find_map(|map| {
        let MapName::Path(path) = &map.name else {
            return None;
        };
        let file = path.file_name()?.to_str()?;
        let (name, _king_pid) = file.strip_prefix(SPIN_STACK_PREFIX)?.rsplit_once('_')?;
        is_name(name).then(|| ShipName {
            text: name.to_owned(),
            source: NameSource::SpinStack,
        })
    })
}

/// The name that the pier's directory suggests.
pub fn from_directory(pier: &Path) -> Option<ShipName> {
    let directory = pier.file_name()?.to_str()?;
    let name = if directory.starts_with('~') {
        directory.to_owned()
    } else {
        format!("~{directory}")
    };
    is_name(&name).then_some(ShipName {
        text: name,
        source: NameSource::Directory,
    })
}

fn is_name(text: &str) -> bool {
    text.parse::<noun::Ship>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin_stack(file: &str) -> Option<String> {
        let map = Map {
            address: (0x7f00_0000_0000, 0x7f00_0000_4000),
            executable: false,
            offset: 0,
            device: 0x19,
            inode: 42,
            name: MapName::Path(Path::new("/dev/shm").join(file)),
        };
        from_spin_stack(&[map]).map(|name| name.text)
    }

    #[test]
    fn the_spin_stack_names_the_ship_from_v4_5_on() {
        let named = Some("~sampel-palnet".to_owned());
        assert_eq!(spin_stack("spin_stack_page_~sampel-palnet_1234"), named);
        assert_eq!(
            spin_stack("spin_stack_page_~sampel-palnet_1 (deleted)"),
            named
        );
        assert_eq!(spin_stack("spin_stack_page_1234"), None);
        assert_eq!(spin_stack("other"), None);
    }

    #[test]
    fn a_directory_suggests_a_name_only_when_it_is_one() {
        let name = |path: &str| from_directory(Path::new(path)).map(|name| name.text);
        assert_eq!(
            name("/piers/sampel-palnet"),
            Some("~sampel-palnet".to_owned())
        );
        assert_eq!(name("/piers/~zod"), Some("~zod".to_owned()));
        assert_eq!(name("/piers/production"), None);
        assert_eq!(name("/"), None);
    }
}
