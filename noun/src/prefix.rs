//! The beginning of a jammed noun, when its end is not at hand: what stands there, in the order of the bits.

use crate::bits::BitReader;
use crate::noun::Atom;

/// What a jammed noun is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A cell; its head and its tail follow.
    Cell,
    /// An atom.
    Atom(Atom),
    /// The first bytes of an atom that goes on behind the end of the input.
    Part(Vec<u8>),
    /// A noun that stood before, which is not looked up.
    Reference,
}

/// Goes through the tokens up to the end of the input, or up to where it makes no sense.
pub struct Prefix<'a> {
    input: BitReader<'a>,
    done: bool,
}

impl<'a> Prefix<'a> {
    /// Begins with the first bit.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            input: BitReader::new(bytes),
            done: false,
        }
    }

    /// Goes past one noun with all that is in it. `None` if the input ends before it does.
    pub fn skip_noun(&mut self) -> Option<()> {
        let mut wanted = 1_u32;
        while wanted > 0 {
            wanted = match self.next()? {
                Token::Cell => wanted + 1,
                Token::Atom(_) | Token::Reference => wanted - 1,
                Token::Part(_) => return None,
            };
        }
        Some(())
    }

    /// The next token, if it is a cell.
    pub fn cell(&mut self) -> Option<()> {
        (self.next()? == Token::Cell).then_some(())
    }

    /// The next token, if it is a whole atom.
    pub fn atom(&mut self) -> Option<Atom> {
        match self.next()? {
            Token::Atom(atom) => Some(atom),
            _ => None,
        }
    }

    fn token(&mut self) -> Option<Token> {
        if !self.input.bit()? {
            return self.length().map(|bits| self.atom_of(bits));
        }
        if !self.input.bit()? {
            return Some(Token::Cell);
        }
        let bits = self.length()?;
        self.input.take(bits)?;
        Some(Token::Reference)
    }

    /// `++rub`'s length: how many bits the number has that follows.
    fn length(&mut self) -> Option<u64> {
        let mut length_bits = 0_u32;
        while !self.input.bit()? {
            length_bits += 1;
            if length_bits > 63 {
                return None;
            }
        }
        let Some(low_bits) = length_bits.checked_sub(1) else {
            return Some(0);
        };
        Some(1 << low_bits | self.input.number(low_bits)?)
    }

    fn atom_of(&mut self, bits: u64) -> Token {
        if let Some(bytes) = self.input.take(bits) {
            return Token::Atom(Atom::from_bytes(&bytes));
        }
        self.done = true;
        let whole_bytes = self.input.remaining() / 8;
        Token::Part(self.input.take(whole_bytes * 8).unwrap_or_default())
    }
}

impl Iterator for Prefix<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        if self.done {
            return None;
        }
        let token = self.token();
        self.done |= token.is_none();
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Noun, jam};

    fn message() -> Vec<u8> {
        let blob = Noun::Atom(Atom::from_bytes(&[7; 200]));
        let lane = Noun::cell(Noun::from(1_u64), Noun::from(0x1234_5678_u64));
        jam(&Noun::tuple([Noun::cord("hear"), lane, blob]))
    }

    #[test]
    fn what_lies_before_the_cut_is_read() {
        let bytes = message();
        let mut prefix = Prefix::new(&bytes[..64]);
        assert_eq!(prefix.cell(), Some(()));
        assert!(
            prefix
                .atom()
                .is_some_and(|tag| tag.to_text().as_deref() == Some("hear"))
        );
        assert_eq!(prefix.cell(), Some(()));
        assert_eq!(prefix.skip_noun(), Some(()));
        let Some(Token::Part(part)) = prefix.next() else {
            panic!("the blob is cut");
        };
        assert!(part.len() > 30 && part.iter().all(|byte| *byte == 7));
        assert_eq!(prefix.next(), None);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_ends() {
        let bytes = message();
        for length in 0..bytes.len() {
            assert!(Prefix::new(&bytes[..length]).count() <= 8);
        }
        for bit in 0..bytes.len() * 8 {
            let mut corrupt = bytes.clone();
            corrupt[bit / 8] ^= 1 << (bit % 8);
            assert!(Prefix::new(&corrupt).count() <= bytes.len() * 8);
        }
    }
}
