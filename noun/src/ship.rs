//! Ship names (`@p`): numbers of up to 128 bits, and the words that people use for them.
//!
//! The words of a planet say nothing of its star: the number is scrambled first by a Feistel cipher (hoon.hoon `++ob`),
//! over the low 32 bits of planets and moons.

use std::fmt;
use std::str::FromStr;

use crate::murmur3;
use crate::syllables::{PREFIXES, SUFFIXES};

/// The number of a ship. `Display` and `FromStr` use its name, such as `~sampel-palnet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ship(pub u128);

/// The kinds of ships, by the size of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// 8 bits.
    Galaxy,
    /// 16 bits.
    Star,
    /// 32 bits.
    Planet,
    /// 64 bits.
    Moon,
    /// 128 bits.
    Comet,
}

/// A text that is no ship name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a ship name: it should look like ~zod, ~marzod or ~sampel-palnet")]
pub struct ParseShipError {
    /// What was given.
    pub name: String,
}

impl Ship {
    /// What kind of ship this is.
    pub fn rank(self) -> Rank {
        match self.0 {
            0..=0xff => Rank::Galaxy,
            0x100..=0xffff => Rank::Star,
            0x1_0000..=0xffff_ffff => Rank::Planet,
            0x1_0000_0000..=0xffff_ffff_ffff_ffff => Rank::Moon,
            _ => Rank::Comet,
        }
    }
}

impl fmt::Display for Ship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scrambled = scramble(self.0);
        if let Rank::Galaxy = self.rank() {
            return write!(f, "~{}", syllable(SUFFIXES, scrambled as u8));
        }
        let words = (128 - scrambled.leading_zeros()).div_ceil(16);
        f.write_str("~")?;
        for index in (0..words).rev() {
            let word = (scrambled >> (16 * index)) as u16;
            let [high, low] = word.to_be_bytes();
            write!(f, "{}{}", syllable(PREFIXES, high), syllable(SUFFIXES, low))?;
            match index {
                0 => {}
                // Comets are written in two halves.
                4 => f.write_str("--")?,
                _ => f.write_str("-")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Ship {
    type Err = ParseShipError;

    /// Reads a name. Only the form that `Display` gives is a name.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        parse(name)
            .filter(|ship| ship.to_string() == name)
            .ok_or_else(|| ParseShipError {
                name: name.to_owned(),
            })
    }
}

fn parse(name: &str) -> Option<Ship> {
    let words = name.strip_prefix('~')?;
    if words.len() == 3 {
        return value(SUFFIXES, words).map(|value| Ship(value.into()));
    }
    let mut scrambled = 0_u128;
    for (index, word) in words.replace("--", "-").split('-').enumerate() {
        let (prefix, suffix) = word.split_at_checked(3)?;
        if index == 8 {
            return None;
        }
        let word = u16::from_be_bytes([value(PREFIXES, prefix)?, value(SUFFIXES, suffix)?]);
        scrambled = scrambled << 16 | u128::from(word);
    }
    Some(Ship(unscramble(scrambled)))
}

fn syllable(table: &'static str, value: u8) -> &'static str {
    let start = usize::from(value) * 3;
    table.get(start..start + 3).unwrap_or_default()
}

fn value(table: &str, syllable: &str) -> Option<u8> {
    let (chunks, _) = table.as_bytes().as_chunks::<3>();
    let index = chunks
        .iter()
        .position(|chunk| chunk == syllable.as_bytes())?;
    u8::try_from(index).ok()
}

/// `++fein:ob`.
fn scramble(ship: u128) -> u128 {
    map_planet_bits(ship, |planet| {
        let once = encrypt(planet);
        // The cipher's range is one number short of 2^32 - 2^16: walk the cycle back into it.
        if once < CIPHER_END {
            once
        } else {
            encrypt(once)
        }
    })
}

/// `++fend:ob`.
fn unscramble(name: u128) -> u128 {
    map_planet_bits(name, |planet| {
        let once = decrypt(planet);
        if once < CIPHER_END {
            once
        } else {
            decrypt(once)
        }
    })
}

/// Applies `cipher` to the low 32 bits of planets and moons, counted from the first planet. Others have no secret.
fn map_planet_bits(number: u128, cipher: impl Fn(u64) -> u64) -> u128 {
    const FIRST_PLANET: u128 = 0x1_0000;
    let low = number & 0xffff_ffff;
    if number > 0xffff_ffff_ffff_ffff || low < FIRST_PLANET {
        return number;
    }
    let mapped = u128::from(cipher((low - FIRST_PLANET) as u64)) + FIRST_PLANET;
    number & !0xffff_ffff | mapped
}

/// Numbers that the cipher may give: all planets, counted from 0.
const CIPHER_END: u64 = 0xffff_0000;

/// The halves' sizes, `a` and `b` of the generalised Feistel cipher (Black and Rogaway 2002).
const LEFT: u64 = 65535;
const RIGHT: u64 = 65536;

/// Seeds of the four rounds (hoon.hoon `++raku:ob`).
const ROUND_SEEDS: [u32; 4] = [0xb76d_5eed, 0xee28_1300, 0x85bc_ae01, 0x4b38_7af7];

fn round(seed: u32, half: u64) -> u64 {
    u64::from(murmur3::x86_32(&(half as u16).to_le_bytes(), seed))
}

/// `++fe:ob`.
fn encrypt(number: u64) -> u64 {
    let (left, right) = ROUND_SEEDS.iter().enumerate().fold(
        (number % LEFT, number / LEFT),
        |(left, right), (index, &seed)| {
            let modulus = if index % 2 == 0 { LEFT } else { RIGHT };
            (right, (left + round(seed, right)) % modulus)
        },
    );
    if right == LEFT {
        LEFT * right + left
    } else {
        LEFT * left + right
    }
}

/// `++fen:ob`.
fn decrypt(number: u64) -> u64 {
    let (quotient, remainder) = (number / LEFT, number % LEFT);
    let (left, right) = if quotient == LEFT {
        (remainder, quotient)
    } else {
        (quotient, remainder)
    };
    let (left, right) = ROUND_SEEDS.iter().enumerate().rev().fold(
        (left, right),
        |(left, right), (index, &seed)| {
            let modulus = if index % 2 == 0 { LEFT } else { RIGHT };
            (
                (right + modulus - round(seed, left) % modulus) % modulus,
                left,
            )
        },
    );
    LEFT * right + left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From urbit-ob 5.0.1, the reference implementation in JavaScript.
    const KNOWN: [(u128, &str); 13] = [
        (0, "~zod"),
        (1, "~nec"),
        (255, "~fes"),
        (256, "~marzod"),
        (4608, "~dopzod"),
        (65535, "~fipfes"),
        (0x1_0000, "~dapnep-ronmyl"),
        (0x2_0000, "~picpun-ponrul"),
        (14_287_616, "~rosmur-hobrem"),
        (1_624_961_343, "~sampel-palnet"),
        (0xffff_ffff, "~dostec-risfen"),
        (0x1_0000_0000, "~doznec-dozzod-dozzod"),
        (0xffff_ffff_ffff_ffff, "~fipfes-fipfes-dostec-risfen"),
    ];

    #[test]
    fn known_names() {
        for (number, name) in KNOWN {
            assert_eq!(Ship(number).to_string(), name);
            assert_eq!(name.parse(), Ok(Ship(number)));
        }
        let comet = Ship(1 << 64);
        assert_eq!(comet.to_string(), "~doznec--dozzod-dozzod-dozzod-dozzod");
        assert_eq!(comet.to_string().parse(), Ok(comet));
    }

    #[test]
    fn numbers_survive_the_round_trip() {
        let mut number = 1_u128;
        for step in 0..20_000_u32 {
            number = number
                .wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645)
                .wrapping_add(u128::from(step));
            for ship in [
                Ship(number),
                Ship(number >> 64),
                Ship(number >> 96),
                Ship(number >> 112),
                Ship(number >> 120),
            ] {
                assert_eq!(unscramble(scramble(ship.0)), ship.0);
            }
            if step % 10 == 0 {
                let ship = Ship(number >> (step % 128));
                assert_eq!(ship.to_string().parse(), Ok(ship));
            }
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for name in [
            "",
            "~",
            "zod",
            "~Zod",
            "~zodd",
            "~dozzod",
            "~sampal",
            "~dozzod-dozzod",
            "~sampel--palnet",
            "~ähm",
        ] {
            assert_eq!(
                name.parse::<Ship>(),
                Err(ParseShipError {
                    name: name.to_owned()
                })
            );
        }
        let eight = ["~", &"marzod-".repeat(8)].concat();
        assert!(format!("{eight}marzod").parse::<Ship>().is_err());
    }
}
