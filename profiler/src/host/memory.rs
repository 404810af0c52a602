//! The memory of a process: what its addresses are for, and what part of them is in memory.

use std::ops::Range;
use std::path::Path;

use procfs_core::process::{MMapPath, MemoryMaps};
use serde::{Deserialize, Serialize};

use super::process::Process;
use super::{ReadError, read_parsed};

/// Most neighbours that are kept apart; a loom may have as many mappings as the kernel allows.
const MAX_MAPPINGS: usize = 4096;

/// Neighbouring mappings of the same file, or of none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Name of the file without its directory, `[heap]` and the like, or `anonymous memory`.
    pub name: String,
}

/// What a process' addresses are for, in their order, and how many mappings that are: each file's
/// neighbours are one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mappings {
    /// Neighbours joined.
    pub joined: Vec<Mapping>,
    /// Mappings before that; `vm.max_map_count` is their limit.
    pub count: u64,
}

impl Mappings {
    /// Name of what an address is for.
    pub fn name(&self, address: u64) -> Option<&str> {
        let after = self.joined.partition_point(|map| map.start <= address);
        let map = self.joined.get(after.checked_sub(1)?)?;
        (address < map.end).then_some(map.name.as_str())
    }
}

/// What part of a range of addresses is where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeUse {
    /// In memory.
    pub resident_bytes: u64,
    /// Of that, the process' own copies: what it has written to since it was mapped.
    pub anonymous_bytes: u64,
    /// On swap.
    pub swapped_bytes: u64,
    /// In transparent huge pages.
    pub huge_bytes: u64,
}

/// Reads what the addresses of a process are for.
///
/// # Errors
/// If its mappings cannot be read.
pub fn mappings(process: &Process) -> Result<Mappings, ReadError> {
    let maps = process.maps()?.0;
    let mut joined: Vec<Mapping> = Vec::new();
    for map in &maps {
        let name = name(&map.pathname);
        let (start, end) = map.address;
        if let Some(last) = joined.last_mut()
            && last.end == start
            && last.name == name
        {
            last.end = end;
        } else if joined.len() < MAX_MAPPINGS {
            joined.push(Mapping { start, end, name });
        }
    }
    Ok(Mappings {
        joined,
        count: maps.len() as u64,
    })
}

/// Sums up what part of the mappings that begin inside `range` is where. The kernel walks all pages
/// of the process for that, and holds off changes of its mappings meanwhile: milliseconds.
///
/// # Errors
/// If its mappings cannot be read.
pub fn range_use(process: &Process, range: &Range<u64>) -> Result<RangeUse, ReadError> {
    let maps = read_parsed::<MemoryMaps>(&process.path("smaps"))?.0;
    let mut sum = RangeUse::default();
    for map in maps.iter().filter(|map| range.contains(&map.address.0)) {
        let field = |name: &str| map.extension.map.get(name).copied().unwrap_or(0);
        sum.resident_bytes += field("Rss");
        sum.anonymous_bytes += field("Anonymous");
        sum.swapped_bytes += field("Swap");
        sum.huge_bytes += field("AnonHugePages");
    }
    Ok(sum)
}

fn name(path: &MMapPath) -> String {
    match path {
        MMapPath::Path(path) => file_name(path),
        MMapPath::Heap => "[heap]".to_owned(),
        MMapPath::Stack | MMapPath::TStack(_) => "[stack]".to_owned(),
        MMapPath::Vdso | MMapPath::Vvar | MMapPath::Vsyscall => "[vdso]".to_owned(),
        _ => "anonymous memory".to_owned(),
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy()
        .trim_end_matches(" (deleted)")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Roots;

    #[test]
    fn addresses_have_names_and_neighbours_are_joined() {
        let process = Process::own(&Roots::default());
        let mappings = mappings(&process).unwrap();
        let code = addresses_have_names_and_neighbours_are_joined as *const () as u64;
        let executable = std::env::current_exe().unwrap();
        assert_eq!(
            mappings.name(code),
            executable.file_name().and_then(|name| name.to_str())
        );
        let local = 0_u64;
        assert_ne!(mappings.name(&raw const local as u64), None);
        assert_eq!(mappings.name(0), None);
        assert!(mappings.count >= mappings.joined.len() as u64);
        let pairs = mappings.joined.windows(2);
        assert!(
            pairs
                .into_iter()
                .all(|two| two[0].end < two[1].start || two[0].name != two[1].name)
        );
    }

    #[test]
    fn written_memory_is_resident_and_anonymous() {
        let page = vec![1_u8; 1 << 20];
        let start = page.as_ptr() as u64;
        let process = Process::own(&Roots::default());
        let whole = range_use(&process, &(0..u64::MAX)).unwrap();
        assert!(whole.resident_bytes >= whole.anonymous_bytes);
        assert!(whole.anonymous_bytes >= 1 << 20, "{start:#x} {whole:?}");
        assert_eq!(range_use(&process, &(0..1)).unwrap(), RangeUse::default());
    }
}
