//! Sampling mode: how long events take, from the king's message to mars' answer, added up in the kernel.

use crate::histogram;
use crate::shared;

/// Events under way whose beginnings are remembered. A king of vere 4.0 to 4.6 has ten at most
/// (`pkg/vere/lord.c`); a power of two.
pub const UNDER_WAY: usize = 16;

/// How the jammed noun of a message begins that is a cell of `%poke` and more (`pkg/noun/serial.c`): bits
/// 1 and 0 for the cell, 0 for the atom, five zeroes, a one and four ones for its length of 31 bits, then
/// the letters.
pub const POKE_BITS: u64 = 0b1_1111_0000_0001 | (u32::from_le_bytes(*b"poke") as u64) << 13;
/// The bits of a message's first eight bytes that tell.
pub const POKE_MASK: u64 = (1 << 44) - 1;

/// Whether a message's first eight bytes are those of a `%poke`.
#[inline(always)]
pub const fn is_poke(first: u64) -> bool {
    first & POKE_MASK == POKE_BITS
}

shared! {
    /// Value of `TURNAROUND`, by a ship's number.
    pub struct Turnaround {
        /// Messages that the king has sent; goes around.
        pub sent: u32,
        /// Those that mars has answered; goes around.
        pub answered: u32,
        /// When those under way were sent, by the low bits of their number.
        pub sent_ktime_ns: [u64; UNDER_WAY],
        /// Events whose time is known.
        pub count: u64,
        /// Time of them all.
        pub total_ns: u64,
        /// Messages and answers that have no partner: sent before we looked, or not seen.
        pub unmatched: u64,
        /// How many took how long (`histogram`).
        pub buckets: [u32; histogram::BUCKETS],
    }
}
