//! Histograms as short byte strings: LEB128 pairs of the buckets skipped and the count.

use super::error::Fault;
use crate::model::Histogram;

/// The bytes of a histogram.
pub(super) fn encode(histogram: &Histogram) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = 0;
    for (bucket, count) in histogram.sparse() {
        put(&mut bytes, (bucket - next) as u64);
        put(&mut bytes, count);
        next = bucket + 1;
    }
    bytes
}

/// The histogram of such bytes.
pub(super) fn decode(mut bytes: &[u8]) -> Result<Histogram, Fault> {
    let broken = || Fault::Value("a histogram cannot be read".to_owned());
    let mut pairs = Vec::new();
    let mut next = 0_usize;
    while !bytes.is_empty() {
        let skipped = take(&mut bytes)
            .and_then(|skipped| usize::try_from(skipped).ok())
            .ok_or_else(broken)?;
        let count = take(&mut bytes).ok_or_else(broken)?;
        let bucket = next.checked_add(skipped).ok_or_else(broken)?;
        pairs.push((bucket, count));
        next = bucket.checked_add(1).ok_or_else(broken)?;
    }
    Histogram::from_sparse(pairs).ok_or_else(broken)
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            return None;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_come_back() {
        let mut histogram = Histogram::default();
        assert_eq!(decode(&encode(&histogram)).ok(), Some(histogram.clone()));
        for value in [0, 1, 7, 1_000, 1_001, 50_000_000, u64::MAX] {
            histogram.add_value(value);
        }
        histogram.add(&Histogram::from_sparse([(100, u64::MAX)]).expect("a bucket"));
        assert_eq!(decode(&encode(&histogram)).ok(), Some(histogram));
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        for bytes in [&[1][..], &[0x80], &[0, 0xff], &[0xff; 24], &[0xff, 0x7f, 1]] {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
