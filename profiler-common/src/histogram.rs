//! Log-linear histogram buckets: exact below 8, then eight buckets per power of two.
//!
//! A bucket is at most one eighth of its lower bound wide, so its middle is within 6.25 % of
//! every value in it.

/// log2 of the buckets per power of two.
const SUB_BITS: u32 = 3;
/// Buckets per power of two.
const SUB: u32 = 1 << SUB_BITS;
/// Highest power of two told apart: 2^42 ns is 73 minutes. Longer values share the last bucket.
const MAX_EXPONENT: u32 = 42;

/// Number of buckets.
pub const BUCKETS: usize = (SUB + (MAX_EXPONENT - SUB_BITS) * SUB) as usize;

/// Multiplier whose six-bit windows are all different (a de Bruijn sequence), so that the top six
/// bits of its product with a number of the form 2^n - 1 tell n. `log2_64`, Bit Twiddling Hacks.
const DE_BRUIJN: u64 = 0x03f6_eaf2_cd27_1461;

const LOG2: [u8; 64] = {
    let mut table = [0; 64];
    let mut exponent = 0;
    while exponent < 64 {
        let smeared = u64::MAX >> (63 - exponent);
        table[(smeared.wrapping_mul(DE_BRUIJN) >> 58) as usize] = exponent as u8;
        exponent += 1;
    }
    table
};

/// Position of the highest set bit of a value that is not zero. Without a branch: the BPF
/// instruction set has no count of leading zeros, and the verifier walks every path that
/// comparisons would make, once for each turn of a loop around them.
#[inline(always)]
const fn log2(value: u64) -> u32 {
    let mut smeared = value;
    smeared |= smeared >> 1;
    smeared |= smeared >> 2;
    smeared |= smeared >> 4;
    smeared |= smeared >> 8;
    smeared |= smeared >> 16;
    smeared |= smeared >> 32;
    LOG2[(smeared.wrapping_mul(DE_BRUIJN) >> 58) as usize] as u32
}

/// Index of the bucket that holds `value`; always less than [`BUCKETS`].
#[inline(always)]
pub const fn index(value: u64) -> usize {
    if value < SUB as u64 {
        return value as usize;
    }
    let exponent = log2(value);
    if exponent >= MAX_EXPONENT {
        return BUCKETS - 1;
    }
    let sub = (value >> (exponent - SUB_BITS)) as u32 & (SUB - 1);
    (SUB + (exponent - SUB_BITS) * SUB + sub) as usize
}

/// Smallest value in the bucket.
pub const fn lower_bound(index: usize) -> u64 {
    let index = index as u32;
    if index < SUB {
        return index as u64;
    }
    let exponent = (index - SUB) / SUB + SUB_BITS;
    let sub = (index - SUB) % SUB;
    ((SUB + sub) as u64) << (exponent - SUB_BITS)
}

/// Value that stands for the bucket: its middle.
pub const fn representative(index: usize) -> u64 {
    let low = lower_bound(index);
    if index as u32 >= BUCKETS as u32 - 1 {
        return low;
    }
    let width = lower_bound(index + 1) - low;
    low + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_its_bucket_and_within_the_promised_error() {
        let mut value = 0_u64;
        while value < 1 << MAX_EXPONENT {
            let i = index(value);
            assert!(lower_bound(i) <= value, "{value}");
            assert!(i + 1 == BUCKETS || value < lower_bound(i + 1), "{value}");
            if i + 1 < BUCKETS {
                let error = representative(i).abs_diff(value) as f64;
                assert!(error <= value as f64 * 0.0625 + 0.5, "{value}: {error}");
            }
            value = value + value / 97 + 1;
        }
    }

    #[test]
    fn logarithms_are_those_of_the_standard_library() {
        for exponent in 0..64 {
            assert_eq!(log2(1 << exponent), exponent);
            assert_eq!(log2(u64::MAX >> (63 - exponent)), exponent);
        }
    }

    #[test]
    fn buckets_are_contiguous_and_the_last_takes_all_that_is_longer() {
        for i in 1..BUCKETS {
            assert_eq!(index(lower_bound(i)), i);
            assert_eq!(index(lower_bound(i) - 1), i - 1);
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }
}
