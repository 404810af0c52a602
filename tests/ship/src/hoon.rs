//! The Hoon of this ship: places in code that it says its computing is under, as an interpreter does.
//!
//! The places are nouns of the home road and carry their hashes, as nouns of code do. What is pushed
//! lives on the road of the event and carries none (vere `trace.c:42-67`).

use noun::Noun;
use noun::murmur3::{mug, mug_of_cell};
use serde_json::{Value, json};

use crate::loom::{Kid, Loom};
use crate::options::Hints;
use crate::spin::Page;

/// A part of every event's computation.
pub struct Piece {
    /// Its part of the computing.
    pub percent: u64,
    /// What it is under, outermost first.
    hints: &'static [Hint],
    /// What it is under on a road of its own inside of that, as for `mule`; no such road if nothing.
    inside: &'static [Hint],
    /// The labels on the spin page meanwhile, outermost first (urbit `gall.hoon` and others, `%spin`).
    labels: &'static [&'static str],
}

enum Hint {
    /// A path without its slashes, and a line.
    Spot(&'static [&'static str], u64),
    /// A trap that would print this, from a text of its code.
    Mean(&'static str),
}

/// All pieces, in order.
pub const PIECES: [Piece; 3] = [
    Piece {
        percent: 50,
        hints: &[Hint::Spot(&["sys", "vane", "gall", "hoon"], 1569)],
        inside: &[
            Hint::Spot(&["app", "groups", "hoon"], 120),
            Hint::Spot(&["lib", "strand", "hoon"], 31),
        ],
        labels: &["call/gall", "on-poke/groups"],
    },
    Piece {
        percent: 30,
        hints: &[Hint::Spot(&["sys", "vane", "ames", "hoon"], 402)],
        inside: &[],
        labels: &["call/ames"],
    },
    Piece {
        percent: 20,
        hints: &[
            Hint::Spot(&["sys", "vane", "clay", "hoon"], 77),
            Hint::Mean("find"),
        ],
        inside: &[],
        labels: &["take/clay"],
    },
];

impl Hint {
    /// Its tag, and the noun of its place: of a mean, its code `[8 [1 text] 0 1]`.
    fn noun(&self) -> (&'static str, Noun) {
        let n = |number: u64| Noun::from(number);
        match self {
            Self::Spot(path, line) => {
                let path = Noun::list(path.iter().map(|knot| Noun::cord(knot)));
                let start = Noun::cell(n(*line), n(5));
                let end = Noun::cell(n(line + 1), n(40));
                ("spot", Noun::tuple([path, start, end]))
            }
            Self::Mean(text) => {
                let constant = Noun::cell(n(1), Noun::cord(text));
                ("mean", Noun::tuple([n(8), constant, n(0), n(1)]))
            }
        }
    }

    /// What it is called, but for the hash of a mean's code.
    fn name(&self) -> String {
        match self {
            Self::Spot(path, line) => format!("/{}:{line}", path.join("/")),
            Self::Mean(text) => format!("%mean/{text}"),
        }
    }
}

/// The pieces as ground truth.
pub fn truth() -> Value {
    let pieces = PIECES.iter().map(|piece| {
        let hints = piece.hints.iter().chain(piece.inside);
        let names: Vec<String> = hints.map(Hint::name).collect();
        json!({"percent": piece.percent, "outermost_first": names, "labels": piece.labels})
    });
    json!({"event": "hoon", "pieces": pieces.collect::<Vec<_>>()})
}

/// Hints and roads that are more than a profiler follows.
const MANY_HINTS: usize = 600;
const MANY_ROADS: usize = 20;

/// How long all pieces take together before they begin anew, µs: hardly more than making the lists does.
const CHURN_US: u64 = 20;

/// The places, once they are in the loom.
pub struct Code {
    pieces: Vec<[Vec<(u32, u32)>; 2]>,
    shape: Hints,
    /// Nothing before 4.0, which had none.
    spin: Option<Page>,
}

impl Code {
    /// Writes them to the home road.
    pub fn write(loom: &Loom, shape: Hints, spin: Option<Page>) -> Self {
        let mut free = loom.constants();
        let mut place = |hint: &Hint| {
            let (tag, noun) = hint.noun();
            let (reference, _) = write(loom, &mut free, &noun);
            (Noun::cord(tag).as_u64().unwrap_or(0) as u32, reference)
        };
        let mut places = |hints: &[Hint]| hints.iter().map(&mut place).collect();
        let pieces = PIECES
            .iter()
            .map(|piece| [places(piece.hints), places(piece.inside)]);
        Self {
            pieces: pieces.collect(),
            shape,
            spin,
        }
    }

    /// Begins a piece.
    pub fn enter(&mut self, loom: &Loom, kid: &Kid, piece: usize) {
        let [hints, inside] = &self.pieces[piece];
        self.push(loom, kid, hints);
        if !inside.is_empty() {
            kid.leap(loom);
            self.push(loom, kid, inside);
        }
        if let (Some(spin), true) = (&mut self.spin, self.shape != Hints::Unlabelled) {
            PIECES[piece]
                .labels
                .iter()
                .for_each(|label| spin.push(label));
        }
        match self.shape {
            Hints::Sound | Hints::Unlabelled | Hints::Churn => {}
            Hints::Loop => kid.set_rest(loom, kid.hints(loom)),
            Hints::Number => kid.set_rest(loom, 7),
            // The last bytes that a reference reaches.
            Hints::Unmapped => kid.set_rest(loom, u32::MAX),
            Hints::Many => (0..MANY_HINTS).for_each(|_| self.push(loom, kid, &hints[..1])),
            Hints::Roads => (0..MANY_ROADS).for_each(|_| kid.leap(loom)),
            Hints::Layout => loom.set_known(false),
        }
    }

    /// Ends it: the road inside falls, and what it was under is popped.
    pub fn leave(&mut self, loom: &Loom, kid: &Kid) {
        if let Some(spin) = &mut self.spin {
            spin.clear();
        }
        loom.set_known(true);
        kid.fall(loom);
        kid.set_hints(loom, 0);
        if self.shape == Hints::Churn {
            kid.free(loom);
        }
    }

    /// Longest that a piece lasts before the next one begins, µs.
    pub fn turn_us(&self) -> u64 {
        match self.shape {
            Hints::Churn => CHURN_US,
            _ => u64::MAX,
        }
    }

    fn push(&self, loom: &Loom, kid: &Kid, hints: &[(u32, u32)]) {
        const MEAN: u32 = u32::from_le_bytes(*b"mean");
        for &(tag, place) in hints {
            let cell = |head: u32, tail: u32| {
                let words = [1, 0, head, tail].map(u32::to_le_bytes);
                kid.allocate(loom, words.as_flattened());
                kid.newest(loom)
            };
            let data = if tag == MEAN { cell(place, 0) } else { place };
            let entry = cell(tag, data);
            kid.set_hints(loom, cell(entry, kid.hints(loom)));
        }
    }
}

/// Writes a noun to the home road from `free` on. Its reference, and its hash.
fn write(loom: &Loom, free: &mut usize, noun: &Noun) -> (u32, u32) {
    let (words, hash, tag) = if let Some((head, tail)) = noun.as_cell() {
        let (head, head_hash) = write(loom, free, head);
        let (tail, tail_hash) = write(loom, free, tail);
        let hash = mug_of_cell(head_hash, tail_hash);
        (vec![1, hash, head, tail], hash, 0xc000_0000)
    } else {
        let bytes = noun.as_atom().map(noun::Atom::to_bytes).unwrap_or_default();
        let hash = mug(&bytes);
        if let Some(direct) = noun.as_u64().filter(|number| *number < 1 << 31) {
            return (direct as u32, hash);
        }
        let mut words = vec![1, hash, bytes.len().div_ceil(4) as u32];
        words.extend(bytes.chunks(4).map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_le_bytes(word)
        }));
        (words, hash, 0x8000_0000)
    };
    let at = *free;
    for (index, word) in words.iter().enumerate() {
        loom.set_u32(at + index * 4, *word);
    }
    *free += (words.len() * 4).next_multiple_of(16);
    (at as u32 >> 4 | tag, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_the_whole() {
        assert_eq!(PIECES.iter().map(|piece| piece.percent).sum::<u64>(), 100);
    }
}
