//! `jam`: a noun as bytes, each repeated part once (hoon.hoon `++jam`, `++mat`).

use std::collections::HashMap;

use crate::bits::BitWriter;
use crate::intern::Interner;
use crate::noun::{Atom, Noun};

/// Serialises a noun. Equal nouns give equal bytes.
pub fn jam(noun: &Noun) -> Vec<u8> {
    let mut interner = Interner::default();
    interner.intern(noun);
    let mut first_position = HashMap::new();
    let mut out = BitWriter::default();
    let mut stack = vec![noun];
    while let Some(noun) = stack.pop() {
        let here = out.position();
        let seen = interner
            .id_of(noun)
            .and_then(|id| match first_position.entry(id) {
                std::collections::hash_map::Entry::Occupied(entry) => Some(*entry.get()),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(here);
                    None
                }
            })
            .map(Atom::from);
        match (noun, seen) {
            // A back reference is only worth its bits when it is shorter than the atom itself.
            (Noun::Atom(atom), Some(position)) if atom.bit_length() > position.bit_length() => {
                push_reference(&mut out, &position);
            }
            (Noun::Atom(atom), _) => {
                out.push(0b0, 1);
                push_mat(&mut out, atom);
            }
            (Noun::Cell(_), Some(position)) => push_reference(&mut out, &position),
            (Noun::Cell(cell), None) => {
                out.push(0b01, 2);
                stack.push(cell.tail());
                stack.push(cell.head());
            }
        }
    }
    out.into_bytes()
}

fn push_reference(out: &mut BitWriter, position: &Atom) {
    out.push(0b11, 2);
    push_mat(out, position);
}

/// `++mat`: the length of the length in unary, the length without its leading one, then the bits.
fn push_mat(out: &mut BitWriter, atom: &Atom) {
    let length = atom.bit_length();
    let length_bits = 64 - length.leading_zeros();
    out.push(0, length_bits);
    out.push(1, 1);
    if length_bits > 0 {
        out.push(length, length_bits - 1);
        out.push_bytes(&atom.to_bytes(), length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that hoon's `jam` gives in the dojo, and vere's own tests use.
    #[test]
    fn known_jams() {
        let n = |number: u64| Noun::from(number);
        assert_eq!(jam(&n(0)), [0x02]);
        assert_eq!(jam(&n(1)), [0x0c]);
        assert_eq!(jam(&n(2)), [0x48]);
        assert_eq!(jam(&Noun::cell(n(0), n(0))), [0x29]);
        assert_eq!(jam(&Noun::cell(n(1), n(1))), [0x31, 0x03]);
        assert_eq!(jam(&Noun::cell(n(2), n(3))), [0x21, 0xd1]);
    }

    #[test]
    fn a_repeated_cell_is_written_once() {
        let pair = Noun::cell(Noun::cord("a long enough cord"), Noun::from(1_u64));
        let equal = Noun::cell(Noun::cord("a long enough cord"), Noun::from(1_u64));
        let one = jam(&pair).len();
        assert!(jam(&Noun::cell(pair, equal)).len() <= one + 2);
    }
}
