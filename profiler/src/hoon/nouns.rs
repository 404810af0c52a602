//! Reading nouns that may be gone, with their hashes as witnesses.
//!
//! The interpreter finds formulas by their hash, and keeps in the head of every cell and larger atom
//! of one the hash (`mug`) of that part. So whoever holds the hash of a noun can check each cell
//! that it reads by the hashes of its two halves, without reading the rest.

use noun::murmur3::{mug, mug_of_cell};
use profiler_common::hoon::{Layout, is_cell, is_direct};
use thiserror::Error;

use super::{Memory, words};

/// Most reads of memory for the name of one hint.
pub(super) const MAX_READS: u32 = 2048;

/// Why a hint has no name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Unresolved {
    /// It is not in memory.
    #[error("not in memory")]
    Absent,
    /// Nobody looked: the process' memory could not be read.
    #[error("not looked up")]
    NotLookedUp,
    /// Something else is there by now.
    #[error("gone when it was looked up")]
    Changed,
    /// It carries no hash, so nobody can say whether it is what was sampled.
    #[error("without a hash")]
    Unhashed,
    /// It is not made as such a hint is.
    #[error("not made as a hint is")]
    Malformed,
    /// It takes more than [`MAX_READS`] reads, or is longer than any name.
    #[error("too large")]
    TooLarge,
}

/// A noun, and its hash if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checked {
    /// A reference, or an atom itself.
    pub noun: u32,
    /// What its hash must be.
    pub mug: Option<u32>,
}

impl Checked {
    /// Itself, if what is read of it can be held against something.
    pub fn with_hash(self) -> Result<Self, Unresolved> {
        let is_checked = self.mug.is_some() || is_direct(self.noun);
        is_checked.then_some(self).ok_or(Unresolved::Unhashed)
    }
}

/// Nouns of a ship, read one by one up to a limit.
pub(super) struct Nouns<'a, M> {
    memory: &'a M,
    layout: &'static Layout,
    reads_left: u32,
}

impl<'a, M: Memory> Nouns<'a, M> {
    /// Of this memory.
    pub fn new(memory: &'a M, layout: &'static Layout) -> Self {
        Self {
            memory,
            layout,
            reads_left: MAX_READS,
        }
    }

    fn words<const N: usize>(&mut self, noun: u32, at: u64) -> Result<[u32; N], Unresolved> {
        self.reads_left = self.reads_left.checked_sub(1).ok_or(Unresolved::TooLarge)?;
        words(self.memory, self.layout.address(noun) + at).ok_or(Unresolved::Absent)
    }

    /// Head and tail of what must be a cell.
    pub fn cell(&mut self, cell: Checked) -> Result<(Checked, Checked), Unresolved> {
        if !is_cell(cell.noun) {
            return Err(Unresolved::Malformed);
        }
        let [_, kept, head, tail] = self.words(cell.noun, 0)?;
        let Some(expected) = cell.mug else {
            let unchecked = |noun| Checked { noun, mug: None };
            return Ok((unchecked(head), unchecked(tail)));
        };
        if kept != expected {
            return Err(Unresolved::Changed);
        }
        let (head, tail) = (self.with_mug(head)?, self.with_mug(tail)?);
        let (Some(head_mug), Some(tail_mug)) = (head.mug, tail.mug) else {
            return Err(Unresolved::Unhashed);
        };
        if mug_of_cell(head_mug, tail_mug) != expected {
            return Err(Unresolved::Changed);
        }
        Ok((head, tail))
    }

    /// The part with the hash that it carries; one that is its own value has it from that.
    fn with_mug(&mut self, noun: u32) -> Result<Checked, Unresolved> {
        let found = if is_direct(noun) {
            mug(trimmed(&noun.to_le_bytes()))
        } else {
            let [_, found] = self.words(noun, 0)?;
            found
        };
        Ok(Checked {
            noun,
            mug: (found != 0).then_some(found),
        })
    }

    /// The bytes of what must be an atom of at most `MAX_WORDS` words, lowest first.
    pub fn atom<const MAX_WORDS: usize>(&mut self, atom: Checked) -> Result<Vec<u8>, Unresolved> {
        let bytes = if is_direct(atom.noun) {
            trimmed(&atom.noun.to_le_bytes()).to_vec()
        } else if is_cell(atom.noun) {
            return Err(Unresolved::Malformed);
        } else {
            let [_, _, length, first] = self.words(atom.noun, 0)?;
            // What fits a direct atom is one.
            if length == 0 || length == 1 && is_direct(first) {
                return Err(Unresolved::Malformed);
            }
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if length > MAX_WORDS {
                return Err(Unresolved::TooLarge);
            }
            // Word by word costs more reads; a block may cross into a page that is not there, which
            // the atom does not.
            let mut block = vec![0; length * 4];
            self.reads_left = self.reads_left.checked_sub(1).ok_or(Unresolved::TooLarge)?;
            if !(self.memory).read(self.layout.address(atom.noun) + 12, &mut block) {
                return Err(Unresolved::Absent);
            }
            block.truncate(trimmed(&block).len());
            block
        };
        match atom.mug {
            Some(expected) if mug(&bytes) != expected => Err(Unresolved::Changed),
            _ => Ok(bytes),
        }
    }

    /// An atom that is its own value, as all numbers of lines are.
    pub fn number(&mut self, atom: Checked) -> Result<u32, Unresolved> {
        match is_direct(atom.noun) {
            true => Ok(atom.noun),
            false => Err(Unresolved::Malformed),
        }
    }

    /// The hash of a noun that carries none, from all of it.
    pub fn hash(&mut self, noun: u32) -> Result<u32, Unresolved> {
        enum Step {
            Visit(u32),
            Join,
        }
        let mut steps = vec![Step::Visit(noun)];
        let mut hashes = Vec::new();
        while let Some(step) = steps.pop() {
            match step {
                Step::Visit(noun) if is_cell(noun) => {
                    let (head, tail) = self.cell(Checked { noun, mug: None })?;
                    steps.extend([Step::Join, Step::Visit(tail.noun), Step::Visit(head.noun)]);
                }
                Step::Visit(noun) => {
                    hashes.push(mug(&self.atom::<256>(Checked { noun, mug: None })?));
                }
                Step::Join => {
                    let (tail, head) = (hashes.pop(), hashes.pop());
                    let (Some(head), Some(tail)) = (head, tail) else {
                        return Err(Unresolved::Malformed);
                    };
                    hashes.push(mug_of_cell(head, tail));
                }
            }
        }
        hashes.pop().ok_or(Unresolved::Malformed)
    }
}

/// Without the zeros above the highest byte.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0);
    &bytes[..end.map_or(0, |end| end + 1)]
}
