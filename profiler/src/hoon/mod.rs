//! Hoon stacks: what of its own code a ship computes, read from outside.
//!
//! Two stages, apart in time. [`walk()`] is what the programs do at a sample, said in plain Rust: it
//! follows roads and lists of hints and keeps references. [`HoonNames`] finds out later what the
//! references mean, and believes nothing that does not have the hash which the sample saw. Both
//! read memory that changes under them, or that anybody made: all work is bounded.

mod battery;
mod jet;
mod names;
mod nouns;
mod resolve;
mod site;
mod spin;
#[cfg(test)]
mod tests;
mod walk;

pub use jet::jet;
pub use names::{Folding, fold};
pub use nouns::Unresolved;
pub use resolve::{FrameKey, HoonNames, Resolution};
pub use site::{MeanSite, Site, Spot};
pub use spin::{SPIN_HEAD_BYTES, SPIN_PAGE_BYTES, SpinError, SpinStack};
pub use walk::{HoonStack, is_computing, walk};

/// Memory of a process, by address.
pub trait Memory {
    /// Fills `bytes` from `address` on. False, and anything in `bytes`, if not all of it can be read.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;
}

/// Words of 32 bits from `address` on.
fn words<const N: usize>(memory: &impl Memory, address: u64) -> Option<[u32; N]> {
    let mut words = [0; N];
    memory
        .read(address, zerocopy::IntoBytes::as_mut_bytes(&mut words))
        .then(|| words.map(u32::from_le))
}
