//! Records as they came from the kernel.

use super::decode::{decode, order};
use crate::model::Event;

/// The bytes end within a record.
struct CutShort;

/// Records, kept until they are written or decoded.
#[derive(Debug, Default)]
pub struct Recording {
    bytes: Vec<u8>,
    records: u64,
}

impl Recording {
    /// Adds one record.
    pub fn push(&mut self, record: &[u8]) {
        // A record is far below 4 GiB: the ring buffer itself is.
        let length = record.len() as u32;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(record);
        self.records += 1;
    }

    /// What was kept before.
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        let mut recording = Self { bytes, records: 0 };
        recording.records = recording.iter().count() as u64;
        recording
    }

    /// All records, each behind its length.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Every record; an error where one is cut short.
    fn iter(&self) -> impl Iterator<Item = Result<&[u8], CutShort>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*length) as usize;
            let Some((record, next)) = after.split_at_checked(length) else {
                rest = &[];
                return Some(Err(CutShort));
            };
            rest = next;
            Some(Ok(record))
        })
    }

    /// Puts what `change` makes of a record in its place.
    pub fn replace(&mut self, mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
        let mut replaced = Self::default();
        for record in self.iter().flatten() {
            match change(record) {
                Some(changed) => replaced.push(&changed),
                None => replaced.push(record),
            }
        }
        *self = replaced;
    }

    /// Bytes kept.
    pub fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Records kept.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Decodes all of them, in order. The second is how many made no sense.
    pub fn decode(&self) -> (Vec<Event>, u64) {
        let (mut events, mut malformed) = (Vec::new(), 0);
        for record in self.iter() {
            match record.map(decode) {
                Ok(Ok(event)) => events.push(event),
                _ => malformed += 1,
            }
        }
        order(&mut events);
        (events, malformed)
    }
}
