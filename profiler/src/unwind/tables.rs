//! What an executable's call frame information says of its functions.

use std::cell::RefCell;
use std::collections::BTreeMap;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, EndianSlice, LittleEndian, Register,
    RegisterRule, UnwindContext, UnwindOffset, UnwindSection,
};

/// Most functions that are taken from a table: a hundred times those of vere.
const MAX_FUNCTIONS: usize = 1 << 21;

/// Numbers of registers in the tables: frame pointer and stack pointer (System V ABI, AMD64 supplement,
/// figure 3.36; DWARF for the Arm 64-bit architecture, 4.1).
const REGISTERS: (Register, Register) = if cfg!(target_arch = "x86_64") {
    (Register(6), Register(7))
} else {
    (Register(29), Register(31))
};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// A section as it is in the file.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// Its address, before the executable is moved.
    pub address: u64,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Where a caller's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Still in its register.
    Same,
    /// On the stack, so many bytes from the canonical frame address.
    At(i64),
    /// There is none, or it cannot be told.
    Unknown,
}

/// How to get from a function to its caller, at one address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The canonical frame address is reckoned from the frame pointer, so the function has set it;
    /// otherwise from the stack pointer.
    pub from_fp: bool,
    /// What is added.
    pub offset: i64,
    /// The caller's frame pointer.
    pub fp: Value,
    /// Where the function returns to. Unknown for the first of a process or thread.
    pub returns_to: Value,
}

/// A function with rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    start: u64,
    end: u64,
    offset: usize,
    in_debug_frame: bool,
}

/// The tables of one executable, or none.
#[derive(Debug, Default)]
pub struct Tables {
    eh_frame: Section,
    debug_frame: Vec<u8>,
    /// By start.
    functions: Vec<Function>,
    /// Rules that were looked up: the same few calls are in most stacks.
    rows: RefCell<BTreeMap<u64, Option<Row>>>,
}

impl Tables {
    /// Indexes both tables. What makes no sense in them ends the table there.
    pub fn new(eh_frame: Section, debug_frame: Vec<u8>) -> Self {
        let bases = bases(&eh_frame);
        let mut functions = Vec::new();
        let section = EhFrame::new(&eh_frame.bytes, LittleEndian);
        index(&section, &bases, false, &mut functions);
        let section = DebugFrame::new(&debug_frame, LittleEndian);
        index(&section, &bases, true, &mut functions);
        functions.sort_unstable();
        Self {
            eh_frame,
            debug_frame,
            functions,
            rows: RefCell::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn debug_frame(&self) -> &[u8] {
        &self.debug_frame
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.functions.len()
    }

    /// The rules at an address, as it is in the file; nothing if no function with rules holds it.
    pub fn row(&self, address: u64) -> Option<Row> {
        *self
            .rows
            .borrow_mut()
            .entry(address)
            .or_insert_with(|| self.look_up(address))
    }

    fn look_up(&self, address: u64) -> Option<Row> {
        let behind = self.functions.partition_point(|f| f.start <= address);
        let function = self.functions.get(behind.checked_sub(1)?)?;
        if address >= function.end {
            return None;
        }
        let bases = bases(&self.eh_frame);
        if function.in_debug_frame {
            let section = DebugFrame::new(&self.debug_frame, LittleEndian);
            row(&section, &bases, function.offset.into(), address)
        } else {
            let section = EhFrame::new(&self.eh_frame.bytes, LittleEndian);
            row(&section, &bases, function.offset.into(), address)
        }
    }
}

fn bases(eh_frame: &Section) -> BaseAddresses {
    BaseAddresses::default().set_eh_frame(eh_frame.address)
}

fn index<'a, S>(section: &S, bases: &BaseAddresses, in_debug_frame: bool, to: &mut Vec<Function>)
where
    S: UnwindSection<Bytes<'a>>,
    S::Offset: UnwindOffset<usize>,
{
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else {
            continue;
        };
        let Ok(fde) = partial.parse(S::cie_from_offset) else {
            continue;
        };
        // A function that the linker left out keeps an entry at 0.
        if fde.initial_address() == 0 || fde.len() == 0 {
            continue;
        }
        to.push(Function {
            start: fde.initial_address(),
            end: fde.end_address(),
            offset: fde.offset(),
            in_debug_frame,
        });
        if to.len() >= MAX_FUNCTIONS {
            return;
        }
    }
}

fn row<'a, S>(section: &S, bases: &BaseAddresses, offset: S::Offset, address: u64) -> Option<Row>
where
    S: UnwindSection<Bytes<'a>>,
    S::Offset: UnwindOffset<usize>,
{
    let fde = section
        .fde_from_offset(bases, offset, S::cie_from_offset)
        .ok()?;
    let mut context = UnwindContext::new();
    let row = fde
        .unwind_info_for_address(section, bases, &mut context, address)
        .ok()?;
    let (fp, sp) = REGISTERS;
    let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else {
        return None;
    };
    if register != fp && register != sp {
        return None;
    }
    let value = |register| match row.register(register) {
        // Compilers say nothing of a register that they have not touched.
        None | Some(RegisterRule::SameValue) => Value::Same,
        Some(RegisterRule::Offset(offset)) => Value::At(offset),
        Some(_) => Value::Unknown,
    };
    Some(Row {
        from_fp: register == fp,
        offset,
        fp: value(fp),
        returns_to: value(fde.cie().return_address_register()),
    })
}
