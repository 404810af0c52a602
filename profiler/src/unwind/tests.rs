//! Stacks as the programs copy them, against tables as compilers write them.

use gimli::write::{
    Address, CallFrameInstruction, CommonInformationEntry, DebugFrame, EndianVec,
    FrameDescriptionEntry, FrameTable,
};
use gimli::{Encoding, Format, LittleEndian, Register};
use profiler_common::cpu_clock::SampleRecord;
use profiler_common::record::KIND_SAMPLE;
use profiler_common::stack::{
    SegmentHead, WALK_BROKEN, WALK_FULL, WALK_GAP, WALK_ROOT, WALK_UNKNOWN,
};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use super::*;

const RBP: Register = Register(6);
const RSP: Register = Register(7);
const RA: Register = Register(16);

/// Functions of 256 bytes: with a frame pointer, and two without, of which the second uses the register
/// for something else. The last has no rules.
const FRAMED: u64 = 0x1000;
const LEAF: u64 = 0x1100;
const SAVER: u64 = 0x1200;
const FIRST: u64 = 0x1300;
const BARE: u64 = 0x1400;
const RESTORER: u64 = 0x1500;
/// Top of the stack.
const SP: u64 = 0x7000;

struct Program {
    tables: Tables,
}

impl Code for &Program {
    fn locate(&self, address: u64) -> Option<Location<'_>> {
        (FRAMED..0x2000).contains(&address).then_some(Location {
            tables: &self.tables,
            address,
        })
    }

    fn bytes(&self, address: u64, count: usize) -> Option<Vec<u8>> {
        self.locate(address)?;
        let mut bytes = vec![0x90; count];
        if address == RESTORER {
            bytes = vec![0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
        } else if count == 7 {
            // A call is before every odd address.
            bytes[2] = if address.is_multiple_of(2) { 0xe8 } else { 0 };
        }
        Some(bytes)
    }
}

fn program() -> Program {
    let encoding = Encoding {
        format: Format::Dwarf32,
        version: 4,
        address_size: 8,
    };
    let mut cie = CommonInformationEntry::new(encoding, 1, -8, RA);
    cie.add_instruction(CallFrameInstruction::Cfa(RSP, 8));
    cie.add_instruction(CallFrameInstruction::Offset(RA, -8));
    let mut table = FrameTable::default();
    let cie = table.add_cie(cie);
    let mut function = |start, rules: Vec<(u32, CallFrameInstruction)>| {
        let mut fde = FrameDescriptionEntry::new(Address::Constant(start), 0x100);
        for (offset, rule) in rules {
            fde.add_instruction(offset, rule);
        }
        table.add_fde(cie, fde);
    };
    let saved = CallFrameInstruction::Offset(RBP, -16);
    function(
        FRAMED,
        vec![
            (1, CallFrameInstruction::CfaOffset(16)),
            (1, saved.clone()),
            (4, CallFrameInstruction::CfaRegister(RBP)),
        ],
    );
    function(LEAF, vec![(4, CallFrameInstruction::CfaOffset(32))]);
    function(
        SAVER,
        vec![(1, CallFrameInstruction::CfaOffset(32)), (1, saved)],
    );
    function(FIRST, vec![(0, CallFrameInstruction::Undefined(RA))]);
    let mut written = DebugFrame::from(EndianVec::new(LittleEndian));
    table.write_debug_frame(&mut written).unwrap();
    Program {
        tables: Tables::new(Section::default(), written.0.into_vec()),
    }
}

/// A sample with its copies: registers, words of the stack, and the chain that was found from `chain_fp`.
struct Sample {
    walk: u16,
    segments: Vec<(SegmentHead, Vec<u64>, Vec<u64>)>,
}

impl Sample {
    fn new(pc: u64, fp: u64, stack: &[u64], chain_fp: u64, chain: &[u64]) -> Self {
        let mut sample = Self {
            walk: WALK_ROOT,
            segments: Vec::new(),
        };
        sample.add(pc, fp, stack, chain_fp, chain);
        sample
    }

    fn add(&mut self, pc: u64, fp: u64, stack: &[u64], chain_fp: u64, chain: &[u64]) {
        let before = self.segments.iter().map(|(_, _, chain)| 1 + chain.len());
        let head = SegmentHead {
            pc,
            sp: SP,
            fp,
            chain_fp,
            first: before.sum::<usize>() as u32,
            bytes: stack.len() as u32 * 8,
        };
        self.segments.push((head, stack.to_vec(), chain.to_vec()));
    }

    fn bytes(&self) -> Vec<u8> {
        let (mut user, mut copies) = (Vec::new(), Vec::new());
        for (head, stack, chain) in &self.segments {
            user.push(head.pc);
            user.extend(chain);
            copies.extend_from_slice(head.as_bytes());
            copies.extend_from_slice(stack.as_bytes());
        }
        let kernel = [7_u64];
        let mut record = SampleRecord::new_zeroed();
        record.header.kind = KIND_SAMPLE;
        record.stack.user_bytes = user.len() as u16 * 8;
        record.stack.kernel_bytes = 8;
        record.stack.walk = self.walk;
        record.stack.copy_bytes = copies.len() as u16;
        [
            record.as_bytes(),
            user.as_bytes(),
            kernel.as_bytes(),
            &copies,
        ]
        .concat()
    }

    /// Its frames once it is whole, and how they end.
    fn whole(&self) -> (Vec<u64>, u16) {
        let program = program();
        let before = self.bytes();
        let bytes = complete(&before, |_| &program).unwrap();
        assert!(bytes.len() <= before.len());
        let (record, frames) = SampleRecord::read_from_prefix(&bytes).unwrap();
        assert_eq!(record.stack.copy_bytes, 0);
        let frames = <[u64]>::ref_from_bytes(frames).unwrap();
        let (kernel, user) = frames.split_last().unwrap();
        assert_eq!(*kernel, 7);
        assert_eq!(user.len() * 8, usize::from(record.stack.user_bytes));
        (user.to_vec(), record.stack.walk)
    }
}

const FP: u64 = SP + 0x300;
const CHAIN: [u64; 2] = [FRAMED + 0x81, FRAMED + 0x91];

#[test]
fn tables_say_where_a_caller_is() {
    let tables = program().tables;
    assert_eq!(tables.len(), 4);
    let row = |from_fp, offset, fp| Row {
        from_fp,
        offset,
        fp,
        returns_to: Value::At(-8),
    };
    assert_eq!(tables.row(FRAMED), Some(row(false, 8, Value::Same)));
    assert_eq!(tables.row(FRAMED + 2), Some(row(false, 16, Value::At(-16))));
    assert_eq!(
        tables.row(FRAMED + 0xff),
        Some(row(true, 16, Value::At(-16)))
    );
    assert_eq!(tables.row(LEAF + 9), Some(row(false, 32, Value::Same)));
    assert_eq!(tables.row(FIRST).unwrap().returns_to, Value::Unknown);
    assert_eq!(tables.row(BARE), None);
    assert_eq!(tables.row(0), None);
}

#[test]
fn damaged_tables_are_short_and_not_fatal() {
    let whole = program().tables;
    for at in 0..whole.debug_frame().len() {
        let mut bytes = whole.debug_frame().to_vec();
        bytes[at] ^= 0xff;
        let eh_frame = Section {
            address: 0x400,
            bytes: bytes.clone(),
        };
        let tables = Tables::new(eh_frame, bytes);
        for address in (FRAMED..0x1600).step_by(16) {
            let _ = tables.row(address);
        }
    }
}

#[test]
fn what_frame_pointers_hide_is_found() {
    let mid = |function: u64| function + 0x51;
    let cases: [(&str, Sample, Vec<u64>, u16); 9] = [
        (
            "a function that keeps its frame pointer",
            Sample::new(mid(FRAMED), FP, &[1, 2, 3], FP, &CHAIN),
            vec![mid(FRAMED), CHAIN[0], CHAIN[1]],
            WALK_ROOT,
        ),
        (
            "a wrapper, and the wrapper that called it",
            Sample::new(
                mid(LEAF),
                FP,
                &[0, 0, 0, mid(LEAF), 0, 0, 0, mid(FRAMED)],
                FP,
                &CHAIN,
            ),
            vec![mid(LEAF), mid(LEAF), mid(FRAMED), CHAIN[0], CHAIN[1]],
            WALK_ROOT,
        ),
        (
            "the first instructions of a function",
            Sample::new(FRAMED, FP, &[mid(FRAMED)], FP, &CHAIN),
            vec![FRAMED, mid(FRAMED), CHAIN[0], CHAIN[1]],
            WALK_ROOT,
        ),
        (
            "a function that uses the register for something else",
            Sample::new(mid(SAVER), 0x1234, &[0, 0, FP, mid(FRAMED)], FP, &CHAIN),
            vec![mid(SAVER), mid(FRAMED), CHAIN[0], CHAIN[1]],
            WALK_ROOT,
        ),
        (
            "assembler without rules",
            Sample::new(BARE + 9, FP, &[mid(FRAMED)], FP, &CHAIN),
            vec![BARE + 9, mid(FRAMED), CHAIN[0], CHAIN[1]],
            WALK_ROOT,
        ),
        (
            "assembler that has put something on the stack",
            Sample::new(BARE + 9, FP, &[0, mid(FRAMED)], FP, &CHAIN),
            vec![BARE + 9, CHAIN[0], CHAIN[1]],
            WALK_ROOT,
        ),
        (
            "no frame pointers at all, to the first function",
            Sample {
                walk: WALK_BROKEN,
                ..Sample::new(
                    mid(LEAF),
                    9,
                    &[0, 0, 0, mid(LEAF), 0, 0, 0, mid(FIRST)],
                    0,
                    &[],
                )
            },
            vec![mid(LEAF), mid(LEAF), mid(FIRST)],
            WALK_ROOT,
        ),
        (
            "a frame larger than the copy",
            Sample::new(mid(LEAF), FP, &[0, 0, 0], FP, &CHAIN),
            vec![mid(LEAF), CHAIN[0], CHAIN[1]],
            WALK_GAP,
        ),
        (
            "a wrapper above broken frame pointers",
            Sample {
                walk: WALK_BROKEN,
                ..Sample::new(mid(LEAF), FP, &[0, 0, 0, mid(FRAMED)], FP, &CHAIN)
            },
            vec![mid(LEAF), mid(FRAMED), CHAIN[0], CHAIN[1]],
            WALK_BROKEN,
        ),
    ];
    for (what, sample, frames, walk) in cases {
        assert_eq!(sample.whole(), (frames, walk), "{what}");
    }
}

#[test]
fn what_a_signal_interrupted_is_joined() {
    let handler = FRAMED + 0x21;
    let mut sample = Sample::new(handler, FP, &[], FP, &[FRAMED + 0x31, RESTORER]);
    sample.add(BARE + 0x10, FP, &[FRAMED + 0x41], FP, &CHAIN);
    // Both addresses around the signal are executed next, and not returned to.
    let frames = vec![
        handler,
        FRAMED + 0x31,
        RESTORER + 1,
        BARE + 0x11,
        FRAMED + 0x41,
        CHAIN[0],
        CHAIN[1],
    ];
    assert_eq!(sample.whole(), (frames, WALK_ROOT));
}

#[test]
fn a_signal_is_found_by_its_restorer_too() {
    // The handler keeps no frame pointer, so that no walk saw where it returns to.
    let mut stack = vec![0, 0, 0, RESTORER];
    let mut context = vec![0; 22];
    context[21] = FRAMED + 0x41;
    context[20] = SP + 0x400;
    context[15] = FP;
    stack.append(&mut context);
    let sample = Sample::new(LEAF + 0x51, FP, &stack, FP, &CHAIN);
    let frames = vec![LEAF + 0x51, RESTORER + 1, FRAMED + 0x42, CHAIN[0], CHAIN[1]];
    assert_eq!(sample.whole(), (frames, WALK_ROOT));
}

#[test]
fn a_signal_is_found_while_its_handler_returns() {
    for past in [0, 7, 9] {
        let mut context = vec![0; 22];
        context[21] = FRAMED + 0x41;
        context[20] = SP + 0x400;
        context[15] = FP;
        let sample = Sample::new(RESTORER + past, FP, &context, FP, &CHAIN);
        let frames = vec![RESTORER, FRAMED + 0x42, CHAIN[0], CHAIN[1]];
        assert_eq!(sample.whole(), (frames, WALK_ROOT), "{past}");
    }
}

#[test]
fn the_deepest_stack_says_that_it_is_cut() {
    let chain = vec![FRAMED + 0x81; 1022];
    let sample = Sample {
        walk: WALK_ROOT,
        ..Sample::new(FRAMED, FP, &[FRAMED + 0x51], FP, &chain)
    };
    let (frames, walk) = sample.whole();
    assert_eq!((frames.len(), walk), (1023, WALK_FULL));
}

#[test]
fn records_without_copies_stay_and_damaged_ones_are_no_panic() {
    let program = program();
    let sample = Sample::new(LEAF + 9, FP, &[0, 0, 0, FRAMED + 9], FP, &CHAIN);
    let whole = sample.bytes();
    for length in 0..whole.len() {
        let _ = complete(&whole[..length], |_| &program);
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            if let Some(bytes) = complete(&flipped, |_| &program) {
                assert!(bytes.len() <= flipped.len());
            }
        }
    }
    let mut record = SampleRecord::new_zeroed();
    record.header.kind = KIND_SAMPLE;
    record.stack.walk = WALK_UNKNOWN;
    assert_eq!(complete(record.as_bytes(), |_| &program), None);
}
