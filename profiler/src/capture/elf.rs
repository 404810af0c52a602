//! The parts of an executable that stacks are made whole and named by.

use std::fs::File;
use std::ops::Range;

use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{LittleEndian, Object as _, ObjectSection as _, ReadCache};
use thiserror::Error;

use crate::unwind::{Section, Tables};

/// Largest table that is read: two hundred times that of vere.
const MAX_TABLE_BYTES: u64 = 128 << 20;

/// Why a file is no executable that can be read.
#[derive(Debug, Error)]
#[error("it is no 64-bit ELF file that can be read: {0}")]
pub struct ElfError(#[from] object::Error);

/// Where the parts of an executable go in memory.
#[derive(Debug, Default)]
pub struct Layout {
    loads: Vec<Load>,
}

/// A part of the file that is mapped.
#[derive(Debug)]
struct Load {
    file: Range<u64>,
    address: u64,
}

/// What stacks are made whole by.
#[derive(Debug, Default)]
pub struct Elf {
    /// Where its parts go.
    pub layout: Layout,
    /// How its functions keep their callers.
    pub tables: Tables,
}

type Parsed<'a> = ElfFile64<'a, LittleEndian, &'a ReadCache<&'a File>>;

impl Layout {
    /// Reads the program headers of a file.
    ///
    /// # Errors
    /// If it is no ELF file.
    pub fn read(file: &File) -> Result<Self, ElfError> {
        let cache = ReadCache::new(file);
        Ok(Self::of(&ElfFile64::parse(&cache)?))
    }

    fn of(elf: &Parsed<'_>) -> Self {
        let loads = elf.elf_program_headers().iter().filter_map(|header| {
            if header.p_type(LittleEndian) != object::elf::PT_LOAD {
                return None;
            }
            let (start, length) = header.file_range(LittleEndian);
            Some(Load {
                file: start..start.checked_add(length)?,
                address: header.p_vaddr(LittleEndian),
            })
        });
        Self {
            loads: loads.collect(),
        }
    }

    /// The address, before the executable is moved, of a place in the file.
    pub fn address(&self, file_offset: u64) -> Option<u64> {
        let load = self.loads.iter().find(|l| l.file.contains(&file_offset))?;
        load.address.checked_add(file_offset - load.file.start)
    }
}

impl Elf {
    /// Reads what is needed of a file; what it lacks, of the file that was split off it.
    ///
    /// # Errors
    /// If it is no ELF file.
    pub fn read(file: &File, debug_file: Option<&File>) -> Result<Self, ElfError> {
        let cache = ReadCache::new(file);
        let elf: Parsed<'_> = ElfFile64::parse(&cache)?;
        let eh_frame = section(&elf, ".eh_frame").unwrap_or_default();
        let split_off = || {
            let cache = ReadCache::new(debug_file?);
            section(&ElfFile64::parse(&cache).ok()?, ".debug_frame")
        };
        let debug_frame = section(&elf, ".debug_frame").or_else(split_off);
        Ok(Self {
            layout: Layout::of(&elf),
            tables: Tables::new(eh_frame, debug_frame.unwrap_or_default().bytes),
        })
    }
}

fn section(elf: &Parsed<'_>, name: &str) -> Option<Section> {
    let section = elf.section_by_name(name)?;
    if section.size() > MAX_TABLE_BYTES {
        return None;
    }
    Some(Section {
        address: section.address(),
        bytes: section.data().ok()?.to_vec(),
    })
}
