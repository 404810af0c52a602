//! `cue`: bytes back to a noun. The input may be hostile, so size and depth are bounded and the stack is explicit.

use std::collections::HashMap;

use crate::bits::BitReader;
use crate::noun::{Atom, Noun};

/// What decoding may cost at most. Two bits of input can ask for a cell of some hundred bytes, so a limit on the input
/// alone would not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CueLimits {
    /// Atoms, cells and references read.
    pub nodes: u32,
    /// Cells within heads of cells. A list is deep in its tails only, and is not bounded by this.
    pub head_depth: u32,
}

impl Default for CueLimits {
    /// A million nodes (under 256 MB while decoding) and 4096 heads: some hundred times what `%peel /mass` answers.
    fn default() -> Self {
        Self {
            nodes: 1 << 20,
            head_depth: 4096,
        }
    }
}

/// Why bytes are not a noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CueError {
    /// The input ends within a noun.
    #[error("the jammed noun ends too early: bit {position} is missing")]
    Truncated {
        /// Position of the first missing bit.
        position: u64,
    },
    /// An atom or reference claims a length beyond 64 bits.
    #[error("the jammed noun has a length of more than 64 bits at bit {position}")]
    Length {
        /// Where the length stands.
        position: u64,
    },
    /// A reference points to where no noun began.
    #[error("the jammed noun refers at bit {position} to bit {target}, where no noun begins")]
    Reference {
        /// Where the reference stands.
        position: u64,
        /// Where it points.
        target: u64,
    },
    /// The noun is larger than [`CueLimits`] allows.
    #[error("the jammed noun exceeds the limit of {nodes} nodes")]
    TooManyNodes {
        /// The limit.
        nodes: u32,
    },
    /// The noun is deeper than [`CueLimits`] allows.
    #[error("the jammed noun is nested deeper than {depth} heads")]
    TooDeep {
        /// The limit.
        depth: u32,
    },
}

/// Deserialises a noun within the default limits. Bits after the noun are ignored, as vere does.
pub fn cue(bytes: &[u8]) -> Result<Noun, CueError> {
    cue_with(bytes, CueLimits::default())
}

/// Deserialises a noun within the given limits.
pub fn cue_with(bytes: &[u8], limits: CueLimits) -> Result<Noun, CueError> {
    Decoder {
        input: BitReader::new(bytes),
        limits,
        known: HashMap::new(),
    }
    .decode()
}

struct Decoder<'a> {
    input: BitReader<'a>,
    limits: CueLimits,
    /// Nouns by the position of their first bit: what a reference can name.
    known: HashMap<u64, Noun>,
}

/// What waits for the noun being read.
enum Pending {
    Head { position: u64 },
    Tail { position: u64, head: Noun },
}

impl Decoder<'_> {
    fn decode(mut self) -> Result<Noun, CueError> {
        let mut pending = Vec::new();
        let mut heads = 0;
        for _ in 0..self.limits.nodes {
            let position = self.input.position();
            let mut noun = match self.leaf(position)? {
                Some(noun) => noun,
                None => {
                    heads += 1;
                    if heads > self.limits.head_depth {
                        return Err(CueError::TooDeep {
                            depth: self.limits.head_depth,
                        });
                    }
                    pending.push(Pending::Head { position });
                    continue;
                }
            };
            loop {
                match pending.pop() {
                    None => return Ok(noun),
                    Some(Pending::Head { position }) => {
                        heads -= 1;
                        pending.push(Pending::Tail {
                            position,
                            head: noun,
                        });
                        break;
                    }
                    Some(Pending::Tail { position, head }) => {
                        noun = Noun::cell(head, noun);
                        self.known.insert(position, noun.clone());
                    }
                }
            }
        }
        Err(CueError::TooManyNodes {
            nodes: self.limits.nodes,
        })
    }

    /// An atom or the target of a reference; `None` when a cell begins here.
    fn leaf(&mut self, position: u64) -> Result<Option<Noun>, CueError> {
        if !self.bit()? {
            let atom = self.mat()?;
            let noun = Noun::Atom(atom);
            self.known.insert(position, noun.clone());
            return Ok(Some(noun));
        }
        if !self.bit()? {
            return Ok(None);
        }
        let target = self.mat()?.as_u64().ok_or(CueError::Length { position })?;
        let noun = self
            .known
            .get(&target)
            .ok_or(CueError::Reference { position, target })?;
        Ok(Some(noun.clone()))
    }

    /// `++rub`: a number behind its own length.
    fn mat(&mut self) -> Result<Atom, CueError> {
        let start = self.input.position();
        let mut length_bits = 0_u32;
        while !self.bit()? {
            length_bits += 1;
            if length_bits > 64 {
                return Err(CueError::Length { position: start });
            }
        }
        let Some(low_bits) = length_bits.checked_sub(1) else {
            return Ok(Atom::from(0_u64));
        };
        let low = self
            .input
            .number(low_bits)
            .ok_or_else(|| self.truncated())?;
        let bytes = self
            .input
            .take(1 << low_bits | low)
            .ok_or_else(|| self.truncated())?;
        Ok(Atom::from_bytes(&bytes))
    }

    fn bit(&mut self) -> Result<bool, CueError> {
        self.input.bit().ok_or_else(|| self.truncated())
    }

    fn truncated(&self) -> CueError {
        CueError::Truncated {
            position: self.input.position() + self.input.remaining(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jam;

    fn samples() -> Vec<Noun> {
        let cord = Noun::cord("a cord that is longer than sixty-four bits");
        let list = Noun::list((0..300_u64).map(|n| Noun::from(n * n * n)));
        let nested = (0..1000_u64).fold(cord.clone(), |noun, n| Noun::cell(noun, Noun::from(n)));
        let doubled = (0..64).fold(list.clone(), |noun, _| Noun::cell(noun.clone(), noun));
        let mut all: Vec<Noun> = (0..64).map(|bit| Noun::from(1_u64 << bit)).collect();
        all.extend([
            Noun::null(),
            Noun::from(u64::MAX),
            Noun::from(u128::MAX),
            cord,
            list,
            nested,
            doubled,
        ]);
        all
    }

    #[test]
    fn jam_and_cue_are_inverse() {
        for noun in samples() {
            assert_eq!(cue(&jam(&noun)).as_ref(), Ok(&noun));
        }
    }

    #[test]
    fn every_truncation_is_an_error_or_only_padding() {
        for noun in samples() {
            let bytes = jam(&noun);
            for length in (0..bytes.len().saturating_sub(1)).step_by(1 + bytes.len() / 50) {
                assert!(
                    matches!(cue(&bytes[..length]), Err(CueError::Truncated { .. })),
                    "{noun:?} at {length}"
                );
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_survived() {
        for noun in samples() {
            let bytes = jam(&noun);
            for bit in (0..bytes.len() * 8).step_by(1 + bytes.len() / 50) {
                let mut corrupt = bytes.clone();
                corrupt[bit / 8] ^= 1 << (bit % 8);
                let _survived = cue(&corrupt);
            }
        }
    }

    #[test]
    fn hostile_inputs_are_refused() {
        // Nothing but zeros is a length without end; a reference to itself has no target yet.
        assert_eq!(cue(&[0; 64]), Err(CueError::Length { position: 1 }));
        assert_eq!(cue(&[]), Err(CueError::Truncated { position: 0 }));
        assert_eq!(
            cue(&[0b0000_0111]),
            Err(CueError::Reference {
                position: 0,
                target: 0
            })
        );
        // 0b01 over and over: heads of heads.
        assert_eq!(cue(&[0x55; 4096]), Err(CueError::TooDeep { depth: 4096 }));
        // An atom that claims 2^62 bits.
        let mut claim = vec![0; 24];
        claim[7] = 0x80;
        assert!(matches!(cue(&claim), Err(CueError::Truncated { .. })));
    }

    #[test]
    fn nodes_are_counted() {
        let list = Noun::list((0..100_u64).map(Noun::from));
        let limits = CueLimits {
            nodes: 100,
            ..CueLimits::default()
        };
        assert_eq!(
            cue_with(&jam(&list), limits),
            Err(CueError::TooManyNodes { nodes: 100 })
        );
    }
}
