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
use blazesym::symbolize::{Input, Symbolized, Symbolizer};

use crate::model::{Event, FrameKind, Symbols};

/// The code of the watched processes, held open.
#[derive(Default)]
pub struct Executables {
    by_tgid: BTreeMap<u32, Vec<MappedCode>>,
    errors: BTreeMap<u32, String>,
}

/// One mapping that holds code.
struct MappedCode {
    addresses: Range<u64>,
    file_offset: u64,
    file: File,
}

impl Executables {
    /// Adds the code of a process: addresses, where they begin in a file, and the very file that
    /// is mapped. What was added before stays.
    pub fn add(&mut self, tgid: u32, code: impl IntoIterator<Item = (Range<u64>, u64, File)>) {
        self.errors.remove(&tgid);
        let code = code.into_iter();
        self.by_tgid.entry(tgid).or_insert_with(|| {
            code.map(|(addresses, file_offset, file)| MappedCode {
                addresses,
                file_offset,
                file,
            })
            .collect()
        });
    }

    /// Notes why the code of a process could not be had.
    pub fn add_error(&mut self, tgid: u32, reason: String) {
        if !self.by_tgid.contains_key(&tgid) {
            self.errors.insert(tgid, reason);
        }
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
        // No DWARF: symbol tables are enough for names, and vere's debug information would cost
        // more memory than everything else.
        let symbolizer = Symbolizer::builder()
            .enable_code_info(false)
            .enable_inlined_fns(false)
            .build();
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
        let (mut names, mut error) = (BTreeMap::new(), None);
        for code in self.by_tgid.get(&tgid).into_iter().flatten() {
            let inside: Vec<u64> = addresses.range(code.addresses.clone()).copied().collect();
            if inside.is_empty() {
                continue;
            }
            let offsets: Vec<u64> = inside
                .iter()
                .map(|address| address - code.addresses.start + code.file_offset)
                .collect();
            let path = PathBuf::from(format!("/proc/self/fd/{}", code.file.as_raw_fd()));
            let mut elf = Elf::new(path);
            elf.debug_syms = false;
            match symbolizer.symbolize(&Source::Elf(elf), Input::FileOffset(&offsets)) {
                Ok(found) => names.extend(named(&inside, &found)),
                Err(problem) => error = Some(problem.to_string()),
            }
        }
        (names, error)
    }
}

fn named(addresses: &[u64], found: &[Symbolized<'_>]) -> BTreeMap<u64, Vec<String>> {
    let pairs = addresses.iter().zip(found);
    pairs
        .filter_map(|(address, symbol)| Some((*address, vec![symbol.as_sym()?.name.to_string()])))
        .collect()
}
