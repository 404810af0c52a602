//! Names of addresses.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    /// The ship's own program, or a library of it.
    User,
    /// The kernel.
    Kernel,
}

/// A named frame.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    /// Name of the function, or the module and address if it has none.
    pub name: String,
    /// What it belongs to.
    pub kind: FrameKind,
}

/// Names of the addresses in a capture's stacks. A function that was inlined stands before the
/// one that it was inlined into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// By process, then by address.
    pub user: BTreeMap<u32, BTreeMap<u64, Vec<String>>>,
    /// By address.
    pub kernel: BTreeMap<u64, Vec<String>>,
    /// Why a process' addresses, or the kernel's (process 0), have no names.
    pub errors: BTreeMap<u32, String>,
}

/// Addresses that names are wanted of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// By process.
    pub user: BTreeMap<u32, BTreeSet<u64>>,
    /// The kernel's.
    pub kernel: BTreeSet<u64>,
}

impl Addresses {
    /// Whether none is wanted.
    pub fn is_empty(&self) -> bool {
        self.kernel.is_empty() && self.user.values().all(BTreeSet::is_empty)
    }
}

/// A function, by the addresses that are known to be of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedRange {
    /// Its first address.
    pub start: u64,
    /// The first behind it.
    pub end: u64,
    /// Its name.
    pub name: String,
}

/// Functions that hold addresses asked for; an address that no range holds has no name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedRanges {
    /// By process.
    pub user: BTreeMap<u32, Vec<NamedRange>>,
    /// The kernel's.
    pub kernel: Vec<NamedRange>,
    /// Why a process' addresses, or the kernel's (process 0), have no names.
    pub errors: BTreeMap<u32, String>,
}

impl Symbols {
    /// Frames of one address, innermost first; the bare address if it has no name.
    pub fn frames(&self, tgid: u32, address: u64, kind: FrameKind) -> Vec<Frame> {
        let names = match kind {
            FrameKind::User => self.user.get(&tgid).and_then(|names| names.get(&address)),
            FrameKind::Kernel => self.kernel.get(&address),
        };
        match names {
            Some(names) if !names.is_empty() => names
                .iter()
                .map(|name| Frame {
                    name: name.clone(),
                    kind,
                })
                .collect(),
            _ => vec![Frame {
                name: format!("[{address:#x}]"),
                kind,
            }],
        }
    }
}
