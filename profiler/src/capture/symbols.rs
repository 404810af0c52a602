//! Names for the addresses in stacks.
//!
//! The ship's code is found through its mappings, opened when the capture begins: a ship that
//! dies, or whose binary was replaced on disk, can still be named at the end. File offsets are
//! what is looked up, so that programs with and without a fixed address are treated alike.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use blazesym::symbolize::source::{Elf, Kernel, Source};
use blazesym::symbolize::{Input, Sym, Symbolized, Symbolizer};

use super::elf::Layout;
use super::kallsyms;
use crate::model::{Event, FrameKind, NamedRange, NamedRanges, Symbols};

/// The code of the watched processes, held open.
#[derive(Default)]
pub struct Executables {
    by_tgid: BTreeMap<u32, Vec<OpenCode>>,
    errors: BTreeMap<u32, String>,
}

/// One mapping that holds code.
#[derive(Debug)]
pub struct OpenCode {
    /// Where it is mapped.
    pub addresses: Range<u64>,
    /// Where that begins in the file.
    pub file_offset: u64,
    /// The very file that is mapped.
    pub file: File,
    /// What was split off it ([`super::debug_file`]).
    pub debug_file: Option<File>,
}

impl Executables {
    /// Adds the code of a process. What was added before stays.
    pub fn add(&mut self, tgid: u32, code: impl IntoIterator<Item = OpenCode>) {
        self.errors.remove(&tgid);
        self.by_tgid
            .entry(tgid)
            .or_insert_with(|| code.into_iter().collect());
    }

    /// Notes why the code of a process could not be had.
    pub fn add_error(&mut self, tgid: u32, reason: String) {
        if !self.by_tgid.contains_key(&tgid) {
            self.errors.insert(tgid, reason);
        }
    }

    /// Whether the code of a process was added.
    pub fn has(&self, tgid: u32) -> bool {
        self.by_tgid.contains_key(&tgid)
    }

    /// Forgets the code of a process that has ended.
    pub fn remove(&mut self, tgid: u32) {
        self.by_tgid.remove(&tgid);
        self.errors.remove(&tgid);
    }

    /// Every mapping of code, with its process.
    pub fn code(&self) -> impl Iterator<Item = (u32, &OpenCode)> {
        let all = self.by_tgid.iter();
        all.flat_map(|(tgid, code)| code.iter().map(|code| (*tgid, code)))
    }

    /// Names the functions that hold addresses of processes, and says how far each function goes.
    pub fn ranges(&self, addresses: &BTreeMap<u32, BTreeSet<u64>>) -> NamedRanges {
        let symbolizer = symbolizer();
        let mut named = NamedRanges {
            errors: self.errors.clone(),
            ..NamedRanges::default()
        };
        for (tgid, addresses) in addresses {
            let of_process = named.user.entry(*tgid).or_default();
            let error = self.symbols(&symbolizer, *tgid, addresses, |address, symbol| {
                let start = address.saturating_sub(symbol.offset as u64);
                // Hand-written code may say no size; then no more is known than this address.
                let size = symbol.size.filter(|size| *size > symbol.offset);
                let end = size.map_or(address + 1, |size| start + size as u64);
                of_process.push(NamedRange {
                    start,
                    end,
                    name: symbol.name.to_string(),
                });
            });
            named.errors.extend(error.map(|error| (*tgid, error)));
        }
        named
    }

    /// Names every address in the events' stacks.
    pub fn resolve(&self, events: &[Event]) -> Symbols {
        let mut user: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        let mut kernel = BTreeSet::new();
        for (thread, stack) in events.iter().filter_map(Event::stack) {
            for (address, kind) in stack.lookups() {
                match kind {
                    FrameKind::User => user.entry(thread.tgid).or_default().insert(address),
                    FrameKind::Kernel => kernel.insert(address),
                };
            }
        }
        let mut symbols = Symbols {
            errors: self.errors.clone(),
            ..Symbols::default()
        };
        let symbolizer = symbolizer();
        for (tgid, addresses) in &user {
            let (names, error) = self.user_names(&symbolizer, *tgid, addresses);
            symbols.user.insert(*tgid, names);
            symbols.errors.extend(error.map(|error| (*tgid, error)));
        }
        let kernel: Vec<u64> = kernel.into_iter().collect();
        let source = Source::Kernel(Kernel {
            vmlinux: blazesym::MaybeDefault::None,
            debug_syms: false,
            ..Kernel::default()
        });
        match symbolizer.symbolize(&source, Input::AbsAddr(&kernel)) {
            Ok(found) => symbols.kernel = named(&kernel, &found),
            Err(error) if !kernel.is_empty() => {
                symbols.errors.insert(0, error.to_string());
            }
            Err(_) => {}
        }
        symbols
    }

    fn user_names(
        &self,
        symbolizer: &Symbolizer,
        tgid: u32,
        addresses: &BTreeSet<u64>,
    ) -> (BTreeMap<u64, Vec<String>>, Option<String>) {
        let mut names = BTreeMap::new();
        let error = self.symbols(symbolizer, tgid, addresses, |address, symbol| {
            names.insert(address, vec![symbol.name.to_string()]);
        });
        (names, error)
    }

    /// Hands over the symbol of each address of a process that has one.
    fn symbols(
        &self,
        symbolizer: &Symbolizer,
        tgid: u32,
        addresses: &BTreeSet<u64>,
        mut found: impl FnMut(u64, &Sym<'_>),
    ) -> Option<String> {
        let mut error = None;
        for code in self.by_tgid.get(&tgid).into_iter().flatten() {
            let inside: Vec<u64> = addresses.range(code.addresses.clone()).copied().collect();
            if inside.is_empty() {
                continue;
            }
            let offsets: Vec<u64> = inside
                .iter()
                .map(|address| address - code.addresses.start + code.file_offset)
                .collect();
            match symbolize(symbolizer, code, &offsets) {
                Ok(symbols) => {
                    for (address, symbol) in inside.iter().zip(&symbols) {
                        if let Some(symbol) = symbol.as_sym() {
                            found(*address, symbol);
                        }
                    }
                }
                Err(problem) => error = Some(problem),
            }
        }
        error
    }
}

/// Symbols at places in a mapped file. What was split off a file names addresses only, since nothing is
/// where it was in the file.
fn symbolize<'s>(
    symbolizer: &'s Symbolizer,
    code: &OpenCode,
    offsets: &[u64],
) -> Result<Vec<Symbolized<'s>>, String> {
    let source = |file: &File| {
        let mut elf = Elf::new(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())));
        elf.debug_syms = false;
        Source::Elf(elf)
    };
    let found = match &code.debug_file {
        None => symbolizer.symbolize(&source(&code.file), Input::FileOffset(offsets)),
        Some(debug_file) => {
            let layout = Layout::read(&code.file).map_err(|error| error.to_string())?;
            let addresses = offsets.iter().map(|offset| layout.address(*offset));
            let addresses: Vec<u64> = addresses.map(Option::unwrap_or_default).collect();
            symbolizer.symbolize(&source(debug_file), Input::VirtOffset(&addresses))
        }
    };
    found.map_err(|error| error.to_string())
}

/// No DWARF: symbol tables are enough for names, and vere's debug information would cost more memory
/// than everything else.
fn symbolizer() -> Symbolizer {
    Symbolizer::builder()
        .enable_code_info(false)
        .enable_inlined_fns(false)
        .build()
}

/// The kernel's functions that hold addresses.
///
/// # Errors
/// If they cannot be read.
pub fn kernel_ranges(addresses: &BTreeSet<u64>) -> std::io::Result<Vec<NamedRange>> {
    let functions = kallsyms::functions_at(addresses)?;
    let ranges = functions.into_iter().map(|(range, name)| NamedRange {
        start: range.start,
        end: range.end,
        name,
    });
    Ok(ranges.collect())
}

fn named(addresses: &[u64], found: &[Symbolized<'_>]) -> BTreeMap<u64, Vec<String>> {
    let pairs = addresses.iter().zip(found);
    pairs
        .filter_map(|(address, symbol)| Some((*address, vec![symbol.as_sym()?.name.to_string()])))
        .collect()
}
