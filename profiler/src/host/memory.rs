//! The memory of a process: what its addresses are for, and what part of them is in memory.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::process::{MapName, Process};
use super::{ReadError, read_text};

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
    let maps = process.maps()?;
    let mut joined: Vec<Mapping> = Vec::new();
    for map in &maps {
        let name = name(&map.name);
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
    let text = read_text(&process.path("smaps"))?;
    let mut sum = RangeUse::default();
    let mut inside = false;
    for line in text.lines() {
        // The head of a mapping, `200000000-200100000 r--p …`, or a field of it, `Rss: 4 kB`.
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        let Some(field) = first.strip_suffix(':') else {
            let start = first.split_once('-').map(|(start, _)| start);
            let start = start.and_then(|start| u64::from_str_radix(start, 16).ok());
            inside = start.is_some_and(|start| range.contains(&start));
            continue;
        };
        let sum = match field {
            _ if !inside => continue,
            "Rss" => &mut sum.resident_bytes,
            "Anonymous" => &mut sum.anonymous_bytes,
            "Swap" => &mut sum.swapped_bytes,
            "AnonHugePages" => &mut sum.huge_bytes,
            _ => continue,
        };
        let kib: u64 = words.next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        *sum += kib * 1024;
    }
    Ok(sum)
}

fn name(name: &MapName) -> String {
    match name {
        MapName::Path(path) => file_name(path),
        MapName::Heap => "[heap]".to_owned(),
        MapName::Stack => "[stack]".to_owned(),
        MapName::Vdso => "[vdso]".to_owned(),
        MapName::Anonymous | MapName::Other(_) => "anonymous memory".to_owned(),
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
