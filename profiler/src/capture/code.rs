//! The code of the watched processes, as stacks are made whole by it.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::rc::Rc;

use super::elf::Elf;
use super::symbols::{Executables, OpenCode};
use crate::unwind::{Code, Location};

/// The code of all processes, each executable read once.
#[derive(Default)]
pub struct CodeTables<'a> {
    by_tgid: BTreeMap<u32, Vec<Mapping<'a>>>,
}

/// A mapping of code.
struct Mapping<'a> {
    code: &'a OpenCode,
    elf: Rc<Elf>,
}

impl Mapping<'_> {
    /// Where an address in it is in its file.
    fn file_offset(&self, address: u64) -> u64 {
        address - self.code.addresses.start + self.code.file_offset
    }
}

impl<'a> CodeTables<'a> {
    /// Reads the tables of every executable. One that cannot be read has none.
    pub fn of(executables: &'a Executables) -> Self {
        let mut by_file: BTreeMap<(u64, u64), Rc<Elf>> = BTreeMap::new();
        let mut tables = Self::default();
        for (tgid, code) in executables.code() {
            let Ok(metadata) = code.file.metadata() else {
                continue;
            };
            let elf = by_file
                .entry((metadata.dev(), metadata.ino()))
                .or_insert_with(|| {
                    let debug_file = code.debug_file.as_ref();
                    Rc::new(Elf::read(&code.file, debug_file).unwrap_or_else(|error| {
                        log::debug!("code of process {tgid}: {error}");
                        Elf::default()
                    }))
                });
            tables.by_tgid.entry(tgid).or_default().push(Mapping {
                code,
                elf: Rc::clone(elf),
            });
        }
        tables
    }

    /// The code of one process; of one that is not known, none.
    pub fn of_process(&self, tgid: u32) -> ProcessCode<'_> {
        ProcessCode(self.by_tgid.get(&tgid).map_or(&[], Vec::as_slice))
    }
}

/// The code of one process.
pub struct ProcessCode<'a>(&'a [Mapping<'a>]);

impl ProcessCode<'_> {
    fn mapping(&self, address: u64) -> Option<&Mapping<'_>> {
        self.0.iter().find(|m| m.code.addresses.contains(&address))
    }
}

impl Code for ProcessCode<'_> {
    fn locate(&self, address: u64) -> Option<Location<'_>> {
        let mapping = self.mapping(address)?;
        let offset = mapping.file_offset(address);
        Some(Location {
            tables: &mapping.elf.tables,
            address: mapping.elf.layout.address(offset)?,
        })
    }

    fn bytes(&self, address: u64, count: usize) -> Option<Vec<u8>> {
        let mapping = self.mapping(address)?;
        let offset = mapping.file_offset(address);
        let mut bytes = vec![0; count];
        mapping.code.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }
}
