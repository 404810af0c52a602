//! Damaged memory ends in counted errors: no hang, no panic, and no name of a place that is none.

use std::collections::BTreeSet;

use profiler_common::hoon::{ENDS, MAX_FRAMES, MAX_READS, MAX_ROADS};

use super::super::resolve::resolve;
use super::super::{MeanSite, Site, nouns, walk};
use super::loom::Loom;
use super::made::{put_trap, trap_references};
use super::recorded::recordings;

/// Damaged copies of each recording.
const COPIES: u64 = 150;

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Damages a copy once to four times.
fn damaged(loom: &Loom, random: &mut Random) -> Loom {
    let mut copy = loom.clone();
    let addresses: Vec<u64> = loom.words.keys().copied().collect();
    for _ in 0..=random.below(4) {
        let at = addresses[random.below(addresses.len())];
        let other = addresses[random.below(addresses.len())];
        match random.below(5) {
            // A bit flips.
            0 => copy.set(at, &[loom.words[&at] ^ 1 << random.below(32)]),
            // Memory ends, or has a hole.
            1 => drop(copy.words.remove(&at)),
            2 => copy
                .words
                .retain(|address, _| *address != at && (*address < at) == (other < at)),
            // A word stands where another did: lists become loops, roads become lists.
            3 => copy.set(at, &[loom.words[&other]]),
            // A pointer to anywhere.
            _ => copy.set(at, &[random.next() as u32]),
        }
    }
    copy
}

/// All places that a walk names.
fn places(loom: &Loom) -> BTreeSet<String> {
    let stack = walk(loom);
    assert!(
        loom.reads.get() as usize <= MAX_READS,
        "{} reads",
        loom.reads.get()
    );
    assert!(stack.frames.len() <= MAX_FRAMES && stack.roads.len() <= MAX_ROADS);
    assert!((stack.end as usize) < ENDS);
    let mut places = BTreeSet::new();
    for frame in &stack.frames {
        loom.reads.set(0);
        let site = resolve(loom, frame);
        assert!(
            loom.reads.get() <= nouns::MAX_READS,
            "{} reads",
            loom.reads.get()
        );
        match site {
            Ok(
                Site::Spot(spot)
                | Site::Mean(MeanSite {
                    spot: Some(spot), ..
                }),
            ) => {
                places.insert(format!("{spot:?}"));
            }
            Ok(Site::Mean(_) | Site::Text(_) | Site::Tag(_)) | Err(_) => {}
        }
    }
    places
}

#[test]
fn damaged_recordings_name_no_place_that_is_none() {
    let (mut copies, mut named) = (0, 0);
    for (name, mut loom, _) in recordings() {
        for (index, reference) in trap_references(&loom).into_iter().enumerate() {
            put_trap(&mut loom, reference, index as u64);
        }
        loom.reads.set(0);
        let true_places = places(&loom);
        for seed in 0..COPIES {
            let copy = damaged(&loom, &mut Random(seed));
            copy.reads.set(0);
            let found = places(&copy);
            let wrong: Vec<&String> = found.difference(&true_places).collect();
            assert!(wrong.is_empty(), "{name}, seed {seed}: {wrong:?}");
            copies += 1;
            named += found.len();
        }
    }
    eprintln!("{copies} damaged copies, {named} places named, none of them wrong");
}
