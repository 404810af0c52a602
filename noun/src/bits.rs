//! Bits in the order of `jam`: the least significant bit of the first byte comes first.

/// A growing string of bits.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    bits: u64,
}

impl BitWriter {
    /// Bits written so far, which is the position of the next one.
    pub(crate) fn position(&self) -> u64 {
        self.bits
    }

    /// Appends the low `count` bits of `bytes`, read in little-endian order.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8], count: u64) {
        let mut left = count;
        for &byte in bytes {
            if left == 0 {
                break;
            }
            let take = left.min(8) as u32;
            self.push_byte(byte, take);
            left -= u64::from(take);
        }
    }

    /// Appends the low `count` bits of `value`; `count` is at most 64.
    pub(crate) fn push(&mut self, value: u64, count: u32) {
        self.push_bytes(&value.to_le_bytes(), u64::from(count));
    }

    fn push_byte(&mut self, byte: u8, count: u32) {
        let byte = if count < 8 {
            byte & ((1 << count) - 1)
        } else {
            byte
        };
        let offset = (self.bits % 8) as u32;
        match self.bytes.last_mut() {
            Some(last) if offset != 0 => {
                *last |= byte << offset;
                if offset + count > 8 {
                    self.bytes.push(byte >> (8 - offset));
                }
            }
            _ => self.bytes.push(byte),
        }
        self.bits += u64::from(count);
    }

    /// The bytes, the last one filled up with zero bits.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A string of bits that is read once, from front to back. A read past the end is `None`.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    bits: u64,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, bits: 0 }
    }

    /// Position of the next bit.
    pub(crate) fn position(&self) -> u64 {
        self.bits
    }

    /// Bits that are left.
    pub(crate) fn remaining(&self) -> u64 {
        self.bytes.len() as u64 * 8 - self.bits
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get((self.bits / 8) as usize)?;
        let bit = byte >> (self.bits % 8) & 1;
        self.bits += 1;
        Some(bit == 1)
    }

    /// The next `count` bits (at most 64) as a number.
    pub(crate) fn number(&mut self, count: u32) -> Option<u64> {
        let bytes = self.take(u64::from(count))?;
        let mut word = [0; 8];
        word.get_mut(..bytes.len())?.copy_from_slice(&bytes);
        Some(u64::from_le_bytes(word))
    }

    /// The next `count` bits as little-endian bytes.
    pub(crate) fn take(&mut self, count: u64) -> Option<Vec<u8>> {
        if count > self.remaining() {
            return None;
        }
        let length = count.div_ceil(8) as usize;
        let first = (self.bits / 8) as usize;
        let offset = (self.bits % 8) as u32;
        let source = &self.bytes[first..];
        let mut taken: Vec<u8> = (0..length)
            .map(|index| {
                let low = source.get(index).copied().unwrap_or(0);
                let high = source.get(index + 1).copied().unwrap_or(0);
                ((u16::from(high) << 8 | u16::from(low)) >> offset) as u8
            })
            .collect();
        let spare = (count % 8) as u32;
        if let Some(last) = taken.last_mut().filter(|_| spare != 0) {
            *last &= (1 << spare) - 1;
        }
        self.bits += count;
        Some(taken)
    }
}
