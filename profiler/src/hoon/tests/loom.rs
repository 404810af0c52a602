//! Memory of a ship in a test: sparse, counted, and easy to write nouns to.

use std::cell::Cell;
use std::collections::BTreeMap;

use noun::murmur3::{mug, mug_of_cell};
use noun::{Noun, murmur3};
use profiler_common::hoon::LOOM_START;
use profiler_common::hoon::{V4, road_address};

use super::super::Memory;

/// Bytes by address, four at a time.
#[derive(Debug, Clone, Default)]
pub struct Loom {
    pub words: BTreeMap<u64, u32>,
    pub reads: Cell<u32>,
}

impl Memory for Loom {
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.reads.set(self.reads.get() + 1);
        assert_eq!((address % 4, bytes.len() % 4), (0, 0));
        for (index, target) in bytes.chunks_mut(4).enumerate() {
            match self.words.get(&(address + index as u64 * 4)) {
                Some(word) => target.copy_from_slice(&word.to_le_bytes()),
                None => return false,
            }
        }
        true
    }
}

impl Loom {
    /// A home struct with so many roads inside each other, home included. Their lists are empty.
    pub fn with_roads(roads: u32) -> Self {
        let mut loom = Self::default();
        loom.set(LOOM_START, &[5, 0, 0x54, 0, 42, 0]);
        for index in 0..roads {
            let next = if index + 1 == roads {
                0
            } else {
                0x1000 * (index + 1)
            };
            let road = Self::road(index);
            loom.set(road + u64::from(V4.kid), &[next]);
            loom.set(road + u64::from(V4.tax), &[0]);
        }
        loom
    }

    /// Address of a road of [`Self::with_roads`].
    pub fn road(index: u32) -> u64 {
        match index {
            0 => V4.home(),
            _ => road_address(0x1000 * index),
        }
    }

    pub fn set(&mut self, address: u64, words: &[u32]) {
        for (index, word) in words.iter().enumerate() {
            self.words.insert(address + index as u64 * 4, *word);
        }
    }

    /// A free place of the heap, as a reference without its tag.
    fn free(&self) -> u32 {
        let heap = LOOM_START + 0x100_0000;
        let last = self.words.range(heap..).next_back();
        last.map_or(0x10_0000, |(address, _)| {
            ((address - LOOM_START) / 16 + 1) as u32
        })
    }

    /// Writes a cell and refers to it.
    pub fn cell(&mut self, mug: u32, head: u32, tail: u32) -> u32 {
        let at = self.free();
        self.set(V4.address(at), &[1, mug, head, tail]);
        at | 0xc000_0000
    }

    /// Writes a noun, with the hash of each part as a formula has it, and refers to it.
    pub fn noun(&mut self, noun: &Noun) -> (u32, u32) {
        if let Some((head, tail)) = noun.as_cell() {
            let ((head, head_mug), (tail, tail_mug)) = (self.noun(head), self.noun(tail));
            let mug = mug_of_cell(head_mug, tail_mug);
            return (self.cell(mug, head, tail), mug);
        }
        let bytes = noun.as_atom().unwrap().to_bytes();
        let mug = murmur3::mug(&bytes);
        if let Some(direct) = noun.as_u64().filter(|number| *number < 1 << 31) {
            return (direct as u32, mug);
        }
        let mut words = vec![1, mug, bytes.len().div_ceil(4) as u32];
        words.extend(bytes.chunks(4).map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_le_bytes(word)
        }));
        let at = self.free();
        self.set(V4.address(at), &words);
        (at | 0x8000_0000, mug)
    }

    /// Pushes a hint, as the interpreter does: nothing of it is hashed but the data.
    pub fn push(&mut self, road: u32, tag: &str, data: u32) {
        let tag = u32::from_le_bytes(tag.as_bytes().try_into().unwrap());
        let entry = self.cell(0, tag, data);
        let list = Self::road(road) + u64::from(V4.tax);
        let rest = self.words[&list];
        let first = self.cell(0, entry, rest);
        self.set(list, &[first]);
    }

    /// Pushes a `%mean` whose trap is fresh and whose code is `formula`.
    pub fn push_mean(&mut self, road: u32, formula: &Noun) {
        let (battery, _) = self.noun(formula);
        let trap = self.cell(0, battery, 0);
        self.push(road, "mean", trap);
    }
}

/// `[path [line column] [line column]]`.
pub fn spot<const N: usize>(path: [&str; N], line: u64) -> Noun {
    let n = |number: u64| Noun::from(number);
    Noun::tuple([
        Noun::path(path),
        Noun::cell(n(line), n(5)),
        Noun::cell(n(line + 1), n(80)),
    ])
}

#[test]
fn a_written_noun_carries_vere_s_hashes() {
    let mut loom = Loom::with_roads(1);
    let (reference, hash) = loom.noun(&Noun::path(["dojo", "hoon"]));
    assert_eq!(hash, 0x46ec_32f8);
    assert_eq!(loom.words[&(V4.address(reference) + 4)], hash);
    assert_eq!(mug(b"dojo"), loom.noun(&Noun::cord("dojo")).1);
}
