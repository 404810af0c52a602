//! Hoon stacks: where a ship's memory keeps them, how far they are followed, and the record of one.
//!
//! Each road (a nested computation) has a list of the hints that it is under. The stack is the lists
//! of all roads, from the innermost out. A sample notes only which nouns the hints are, with the
//! hash that each carries in its head, so that a name looked up later can be held against it.

use crate::record::RecordHeader;
use crate::shared;

/// Where a version of vere keeps what a Hoon stack is read from. Offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// What the word at [`VERSION_OFFSET`] says.
    pub version: u64,
    /// What the word at [`PARAMETERS_OFFSET`] says, in the bits of `parameters_mask`.
    pub parameters: u64,
    /// The bits of it that move anything.
    pub parameters_mask: u64,
    /// Number of the last event, in the home struct.
    pub event: u32,
    /// The home road, in the home struct.
    pub home_road: u32,
    /// The road inside, in a road; 0 if there is none.
    pub kid: u32,
    /// End of the heap, in a road whose heap is below its stack.
    pub hat: u32,
    /// End of the stack, in such a road.
    pub mat: u32,
    /// Beginning of the heap.
    pub rut: u32,
    /// The list of hints, in a road.
    pub tax: u32,
    /// By how much the number in a reference is shifted to an offset.
    pub reference_shift: u32,
}

/// First address of the loom on 64-bit Linux (`pkg/c3/portable.h:150`).
pub const LOOM_START: u64 = 0x2_0000_0000;
/// The loom's version, in the home struct of every version since 4.0.
pub const VERSION_OFFSET: u32 = 0x00;
/// Word size, bits of references and page size, there too.
pub const PARAMETERS_OFFSET: u32 = 0x08;

/// vere 4.0 to 4.6 with words of 32 bits (`pkg/noun/allocate.h`: `u3a_road`, `version.h`: `U3V_VER`,
/// `manage.c`: `_pave_params`). Of the parameters count: words of 32 bits (bit 0), 2 virtual bits
/// (1-2), pages of 2^14 bytes (3-5); the bytecode's version above them moves nothing here.
/// The road grew in 4.1 (`lop_p`, `tim`) and 4.4 (`cax.for_p`) without moving these.
pub const V4: Layout = Layout {
    version: 5,
    parameters: 0x14,
    parameters_mask: 0x3f,
    event: 0x10,
    home_road: 0x20,
    kid: 0x04,
    hat: 0x10,
    mat: 0x14,
    rut: 0x18,
    tax: 0x51c,
    reference_shift: 4,
};

/// All that are known.
pub const LAYOUTS: [Layout; 1] = [V4];

impl Layout {
    /// The layout that the words of a home struct tell of.
    #[inline(always)]
    pub fn of(version: u64, parameters: u64) -> Option<&'static Self> {
        LAYOUTS.iter().find(|layout| {
            version == layout.version && parameters & layout.parameters_mask == layout.parameters
        })
    }

    /// Address of the home road.
    #[inline(always)]
    pub const fn home(&self) -> u64 {
        LOOM_START + self.home_road as u64
    }

    /// Address of what a reference refers to.
    #[inline(always)]
    pub const fn address(&self, reference: u32) -> u64 {
        LOOM_START + (((reference & REFERENCE_MASK) as u64) << self.reference_shift)
    }
}

/// Address of a road by the word offset that another road keeps of it.
#[inline(always)]
pub const fn road_address(words: u32) -> u64 {
    LOOM_START + (words as u64) * 4
}

/// The number in a reference (`pkg/noun/allocate.h`, `u3a_to_off`).
pub const REFERENCE_MASK: u32 = 0x3fff_ffff;

/// Whether a noun is an atom that is its own value.
#[inline(always)]
pub const fn is_direct(noun: u32) -> bool {
    noun >> 31 == 0
}

/// Whether a noun refers to a cell.
#[inline(always)]
pub const fn is_cell(noun: u32) -> bool {
    noun >> 30 == 3
}

/// Roads that are followed; 2 to 4 are usual. `mule` within `mule` makes more.
pub const MAX_ROADS: usize = 16;
/// Hints that are followed in all; up to 281 were seen (a compilation), thousands are possible
/// (recursion that is no loop). The outermost are missing then.
pub const MAX_FRAMES: usize = 512;
/// Most reads of memory for one stack: the home struct, of each road the list and the next road, and
/// of each hint its list's cell, its own, its data's and a battery's.
pub const MAX_READS: usize = 1 + 2 * MAX_ROADS + 4 * (MAX_FRAMES + 1);

/// `%spot`, a place in a source: [`HoonFrame::noun`] is `[path [line column] [line column]]`.
pub const FRAME_SPOT: u32 = 1;
/// `%mean` of a trap: the noun is the trap's battery, a formula that stays while traps come and go.
pub const FRAME_MEAN: u32 = 2;
/// `%mean` of a text: the noun is it.
pub const FRAME_TEXT: u32 = 3;
/// `%hunk`: the noun is its data.
pub const FRAME_HUNK: u32 = 4;
/// `%lose`: the noun is its data.
pub const FRAME_LOSE: u32 = 5;
/// A hint of another name, which no vere pushes: the noun is the name.
pub const FRAME_OTHER: u32 = 6;
/// Bits of [`HoonFrame::kind`] that hold one of these.
pub const FRAME_KIND_MASK: u32 = 0xff;
/// Bit of it: what the noun refers to was not in memory, so its hash is not known.
pub const FRAME_ABSENT: u32 = 0x100;
/// Its road, home 0, from this bit on.
pub const FRAME_ROAD_SHIFT: u32 = 16;

/// The names of hints, as atoms.
pub const TAG_SPOT: u32 = u32::from_le_bytes(*b"spot");
/// As above.
pub const TAG_MEAN: u32 = u32::from_le_bytes(*b"mean");
/// As above.
pub const TAG_HUNK: u32 = u32::from_le_bytes(*b"hunk");
/// As above.
pub const TAG_LOSE: u32 = u32::from_le_bytes(*b"lose");

/// The stack is whole.
pub const END_WHOLE: u32 = 0;
/// It had more than [`MAX_FRAMES`] hints: the outermost are missing.
pub const END_FRAMES: u32 = 1;
/// There were more than [`MAX_ROADS`] roads: it is not known which is the innermost.
pub const END_ROADS: u32 = 2;
/// A page was not in memory: what lies further out is missing.
pub const END_ABSENT: u32 = 3;
/// What was read is no list of hints: what lies further out is missing.
pub const END_MALFORMED: u32 = 4;
/// The version words are not of a known layout: nothing was read.
pub const END_LAYOUT: u32 = 5;
/// Number of ways that a walk ends.
pub const ENDS: usize = 6;

shared! {
    /// One hint of a stack.
    pub struct HoonFrame {
        /// `FRAME_…`, flags and road.
        pub kind: u32,
        /// Which noun tells what it is: a reference, or an atom itself.
        pub noun: u32,
        /// That noun's hash (`mug`) as it stood in its head; 0 if it was never computed.
        pub mug: u32,
    }

    /// The Hoon stack of mars' main thread when the sampling clock ticked. Its time is that of the
    /// thread's sample. Followed by the frames, innermost first.
    pub struct HoonRecord {
        /// Kind, time, thread.
        pub header: RecordHeader,
        /// Number of the last event that was computed.
        pub event_number: u64,
        /// `END_…`.
        pub end: u32,
        /// Roads there were, home included: with one, no computation was under way.
        pub roads: u32,
        /// Bytes of frames that follow.
        pub frame_bytes: u32,
        /// Keeps the size a multiple of 8.
        pub zero: u32,
    }

    /// Where the program walks a stack and builds its record.
    pub struct HoonScratch {
        /// The record.
        pub record: HoonRecord,
        /// The frames behind it.
        pub frames: [HoonFrame; MAX_FRAMES],
        /// Addresses of the roads, home first.
        pub roads: [u64; MAX_ROADS],
        /// Which of them is being walked.
        pub road: u32,
        /// What is left of its list.
        pub list: u32,
        /// Frames so far.
        pub count: u32,
        /// Keeps the size a multiple of 8.
        pub zero: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_told_by_their_version_words() {
        // As 4.6 shows it: bytecode version 1 above the parameters.
        assert_eq!(Layout::of(5, 0x54), Some(&V4));
        for (version, parameters) in [(4, 0x54), (6, 0x54), (5, 0x55), (5, 0x16), (5, 0), (0, 0)] {
            assert_eq!(Layout::of(version, parameters), None);
        }
    }

    #[test]
    fn references_lead_to_addresses() {
        assert_eq!(V4.home(), 0x2_0000_0020);
        assert_eq!(V4.address(0xc042_8cae), 0x2_0428_cae0);
        assert_eq!(road_address(0x1fff_fea0), 0x2_7fff_fa80);
        assert!(is_direct(0x6e61_656d) && !is_direct(0x8000_0000));
        assert!(is_cell(0xc000_0000) && !is_cell(0xbfff_ffff));
    }
}
