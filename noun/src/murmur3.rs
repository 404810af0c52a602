//! MurmurHash3 for 32-bit machines (Appleby's reference `MurmurHash3_x86_32`), which vere uses for checksums of
//! snapshot pages, for `mug`, and in the scrambling of ship names.

/// The hash of `bytes` with a seed.
pub fn x86_32(bytes: &[u8], seed: u32) -> u32 {
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = blocks.iter().fold(seed, |hash, block| {
        (hash ^ mix(u32::from_le_bytes(*block)))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64)
    });
    if !tail.is_empty() {
        let mut block = [0; 4];
        block[..tail.len()].copy_from_slice(tail);
        hash ^= mix(u32::from_le_bytes(block));
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

fn mix(block: u32) -> u32 {
    block
        .wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593)
}

/// Hoon's `mug` of the atom with these little-endian bytes: 31 bits, never 0 (hoon.hoon `++mug`, vere `u3r_mug_bytes`).
/// Its low 20 bits are the checksum of Ames packets.
pub fn mug(bytes: &[u8]) -> u32 {
    fold_to_31_bits(bytes, 0xcafe_babe, 0x7fff)
}

/// Hoon's `mug` of a cell, by those of its head and tail (hoon.hoon `++mug`, vere `u3r_mug_both`).
pub fn mug_of_cell(head: u32, tail: u32) -> u32 {
    let bytes = (u64::from(tail) << 32 | u64::from(head)).to_le_bytes();
    let tail_bytes = (32 - tail.leading_zeros()).div_ceil(8) as usize;
    fold_to_31_bits(&bytes[..4 + tail_bytes], 0xdead_beef, 0xfffe)
}

/// 31 bits of the first hash that is not 0, or `otherwise`.
fn fold_to_31_bits(bytes: &[u8], seed: u32, otherwise: u32) -> u32 {
    (0..8)
        .map(|attempt| x86_32(bytes, seed + attempt))
        .map(|hash| hash >> 31 ^ hash & 0x7fff_ffff)
        .find(|&hash| hash != 0)
        .unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_values() {
        assert_eq!(x86_32(b"", 0), 0);
        assert_eq!(x86_32(b"", 1), 0x514e_28b7);
        assert_eq!(x86_32(b"", 0xffff_ffff), 0x81f1_6f39);
        assert_eq!(x86_32(b"\0\0\0\0", 0), 0x2362_f9de);
        assert_eq!(x86_32(b"\0", 0), 0x514e_28b7);
        assert_eq!(x86_32(b"aaaa", 0x9747_b28c), 0x5a97_808a);
        assert_eq!(x86_32(b"Hello, world!", 0x9747_b28c), 0x2488_4cba);
    }

    /// From vere's own tests of `u3r_mug`.
    #[test]
    fn mugs_of_vere() {
        assert_eq!(mug(b""), 0x79ff_04e8);
        assert_eq!(mug(b"Hello, world!"), 0x4d44_1035);
        assert_eq!(mug(&[b'x'; 28]), 0x64df_da5c);
        // As a 4.6 ship keeps them in the heads of its cells: `['hoon' ~]` and `['dojo' 'hoon' ~]`.
        let hoon = mug_of_cell(mug(b"hoon"), mug(b""));
        assert_eq!(hoon, 0x506e_9d69);
        assert_eq!(mug_of_cell(mug(b"dojo"), hoon), 0x46ec_32f8);
    }
}
