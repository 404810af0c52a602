//! From a copied piece of the stack to the frames that frame pointers found.

use profiler_common::arch::SIGNAL_REGISTERS;
use profiler_common::stack::{MAX_USER_FRAMES, SegmentHead};

use super::tables::{Tables, Value};

/// What a handler of a signal returns to, by its instructions: `mov $15,%rax; syscall` (musl
/// `src/signal/x86_64/restore.s`; glibc and gdb hold to the same bytes).
const RESTORER: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];

/// The code of a process.
pub trait Code {
    /// Where an address is; nothing if it holds no code.
    fn locate(&self, address: u64) -> Option<Location<'_>>;
    /// Bytes of code, as many as are asked for.
    fn bytes(&self, address: u64, count: usize) -> Option<Vec<u8>>;
}

/// An address in an executable.
#[derive(Debug, Clone, Copy)]
pub struct Location<'a> {
    /// Its tables.
    pub tables: &'a Tables,
    /// The address as the file has it.
    pub address: u64,
}

/// A piece of the stack, the registers that belong to it, and what frame pointers found behind it.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Registers.
    pub head: SegmentHead,
    /// The stack, from the stack pointer on.
    pub stack: &'a [u8],
    /// Whether it is a handler's of a signal, and what that interrupted is a segment of its own.
    pub is_handler: bool,
    /// Where the functions return to that frame pointers lead through, innermost first.
    pub chain: &'a [u64],
}

/// How a segment was put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The tables led to where the frame pointers do.
    Chain,
    /// The tables led to where the handler of a signal returns to.
    Signal,
    /// The tables led to the first function of the process or thread.
    Root,
    /// Neither: functions may be missing between what the tables and what the frame pointers showed.
    Gap,
}

#[derive(Debug, Clone, Copy)]
struct Registers {
    pc: u64,
    sp: u64,
    fp: u64,
    /// The address is one that is executed next; otherwise one that is returned to.
    is_exact: bool,
}

enum Step {
    To(Registers),
    Chain,
    Signal,
    Root,
    Gap,
}

/// The frames of a segment, innermost first, as [`crate::model::Stack`] has them.
pub fn join(segment: &Segment<'_>, code: &dyn Code) -> (Vec<u64>, Joined) {
    let head = &segment.head;
    let mut at = Registers {
        pc: head.pc,
        sp: head.sp,
        fp: head.fp,
        is_exact: true,
    };
    let mut frames = vec![restorer_at(code, at).unwrap_or(head.pc)];
    let joined = loop {
        match step(segment, code, at, frames.len() == 1) {
            Step::To(caller) if frames.len() < MAX_USER_FRAMES => {
                // Whoever looks an outer frame up takes one from it.
                frames.push(caller.pc + u64::from(caller.is_exact));
                at = caller;
            }
            Step::To(_) | Step::Gap => break Joined::Gap,
            Step::Chain => break Joined::Chain,
            Step::Signal => break Joined::Signal,
            Step::Root => break Joined::Root,
        }
    };
    if matches!(joined, Joined::Chain | Joined::Gap) {
        frames.extend_from_slice(segment.chain);
    }
    (frames, joined)
}

fn step(segment: &Segment<'_>, code: &dyn Code, at: Registers, is_innermost: bool) -> Step {
    // First: behind its last instruction another function may begin.
    if restorer_at(code, at).is_some() {
        if segment.is_handler {
            return Step::Signal;
        }
        return interrupted(segment, at.sp).map_or(Step::Gap, Step::To);
    }
    let leads_to_chain = segment.head.chain_fp != 0 && at.fp == segment.head.chain_fp;
    let location = code.locate(at.pc - u64::from(!at.is_exact));
    let row = location.and_then(|place| place.tables.row(place.address));
    let Some(row) = row else {
        let caller = (is_innermost || at.is_exact)
            .then(|| bare_caller(segment, code, at))
            .flatten();
        return match caller {
            Some(caller) => Step::To(caller),
            // What was interrupted in assembler, on a stack that was not copied.
            None if at.is_exact && word(segment, at.sp).is_none() => Step::Gap,
            // Without rules, a function is taken for one that keeps its frame pointer.
            None if leads_to_chain => Step::Chain,
            // The first functions of a process or thread are assembler.
            None if segment.chain.is_empty() && !is_innermost && location.is_some() => Step::Root,
            None => Step::Gap,
        };
    };
    if row.from_fp && leads_to_chain {
        return Step::Chain;
    }
    let base = if row.from_fp { at.fp } else { at.sp };
    let cfa = base.wrapping_add_signed(row.offset);
    let read = |offset| word(segment, cfa.wrapping_add_signed(offset));
    let returns_to = match row.returns_to {
        Value::At(offset) => read(offset),
        Value::Same => None,
        Value::Unknown => return Step::Root,
    };
    let fp = match row.fp {
        Value::Same => Some(at.fp),
        Value::At(offset) => read(offset),
        Value::Unknown => None,
    };
    match (returns_to, fp) {
        (Some(0), _) => Step::Root,
        // Stacks grow down: otherwise it would not end.
        (Some(pc), Some(fp)) if cfa > at.sp => Step::To(Registers {
            pc,
            sp: cfa,
            fp,
            is_exact: is_restorer(code, pc),
        }),
        _ => Step::Gap,
    }
}

/// Whether handlers of signals return to an address.
fn is_restorer(code: &dyn Code, address: u64) -> bool {
    code.bytes(address, RESTORER.len()).as_deref() == Some(&RESTORER)
}

/// Where the code that handlers return to begins, if it runs: before its first instruction, its second, or
/// behind that, in the call that goes on with what was interrupted. It moves no stack pointer.
fn restorer_at(code: &dyn Code, at: Registers) -> Option<u64> {
    let starts = [0, 7, 9].map(|past| at.pc.wrapping_sub(past));
    let mut starts = starts.into_iter().filter(|_| at.is_exact);
    starts.find(|start| is_restorer(code, *start))
}

/// The caller of assembler that has no rules and leaves the stack as it found it.
fn bare_caller(segment: &Segment<'_>, code: &dyn Code, at: Registers) -> Option<Registers> {
    let pc = word(segment, at.sp)?;
    follows_call(code, pc).then_some(Registers {
        pc,
        sp: at.sp + 8,
        fp: at.fp,
        is_exact: false,
    })
}

/// Whether the instruction before an address is a call: `E8` with four bytes, or `FF /2` with a memory
/// operand or register, of two to seven bytes.
fn follows_call(code: &dyn Code, address: u64) -> bool {
    const LONGEST: usize = 7;
    let Some(before) = address.checked_sub(LONGEST as u64) else {
        return false;
    };
    let Some(bytes) = code.bytes(before, LONGEST) else {
        return false;
    };
    let is_call = |at: usize| bytes[at] == 0xff && (bytes[at + 1] >> 3) & 7 == 2;
    bytes[LONGEST - 5] == 0xe8 || [2, 3, 6, 7].iter().any(|length| is_call(LONGEST - length))
}

/// What a signal interrupted, from the frame that the kernel made at `sp`.
fn interrupted(segment: &Segment<'_>, sp: u64) -> Option<Registers> {
    let places = SIGNAL_REGISTERS?;
    Some(Registers {
        pc: word(segment, sp + places.pc)?,
        sp: word(segment, sp + places.sp)?,
        fp: word(segment, sp + places.fp)?,
        is_exact: true,
    })
}

/// A word of the copied stack.
fn word(segment: &Segment<'_>, address: u64) -> Option<u64> {
    let at = usize::try_from(address.checked_sub(segment.head.sp)?).ok()?;
    let bytes = segment.stack.get(at..at.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}
