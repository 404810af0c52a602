//! Newt frames: byte 0, the length as a little-endian `u32`, then that many bytes of a jammed noun (vere `newt.c`).
//! They run between king and mars, and on `conn.sock`.

use crate::{Noun, jam};

/// Bytes before the jammed noun.
pub const HEADER_BYTES: usize = 5;

/// What stands first in every frame; other values are reserved.
const VERSION: u8 = 0;

/// Why a stream is not one of frames. Nothing after it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NewtError {
    /// The first byte of a frame is not 0.
    #[error("a newt frame must start with byte 0, not with {found}")]
    Version {
        /// The byte that stood there.
        found: u8,
    },
    /// The frame is longer than the reader accepts.
    #[error("a newt frame of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLong {
        /// Length that the frame claims.
        bytes: usize,
        /// Length that is accepted.
        limit: usize,
    },
}

/// The header of a frame, or `None` when the body is longer than a frame can be (4 GiB).
pub fn header(body_bytes: usize) -> Option<[u8; HEADER_BYTES]> {
    let [a, b, c, d] = u32::try_from(body_bytes).ok()?.to_le_bytes();
    Some([VERSION, a, b, c, d])
}

/// A whole frame, or `None` when the noun is longer than a frame can be (4 GiB).
pub fn encode(noun: &Noun) -> Option<Vec<u8>> {
    let body = jam(noun);
    let mut frame = header(body.len())?.to_vec();
    frame.extend(body);
    Some(frame)
}

/// Cuts a stream into frames, however it was split on the way.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    limit_bytes: usize,
}

impl Decoder {
    /// A reader that accepts bodies of up to `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            limit_bytes,
        }
    }

    /// Takes in what was read from the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The body of the next frame, once it is complete.
    pub fn next_body(&mut self) -> Result<Option<Vec<u8>>, NewtError> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return match self.buffer.first() {
                Some(&found) if found != VERSION => Err(NewtError::Version { found }),
                _ => Ok(None),
            };
        };
        let [version, length @ ..] = *header;
        if version != VERSION {
            return Err(NewtError::Version { found: version });
        }
        let bytes = u32::from_le_bytes(length) as usize;
        if bytes > self.limit_bytes {
            return Err(NewtError::TooLong {
                bytes,
                limit: self.limit_bytes,
            });
        }
        let Some(body) = rest.get(..bytes).map(<[u8]>::to_vec) else {
            return Ok(None);
        };
        self.buffer.drain(..HEADER_BYTES + bytes);
        Ok(Some(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cue;

    #[test]
    fn frames_survive_any_split() {
        let nouns = [
            Noun::cord("live"),
            Noun::path(["port", "ames"]),
            Noun::null(),
        ];
        let stream: Vec<u8> = nouns.iter().filter_map(encode).flatten().collect();
        for size in 1..stream.len() {
            let mut decoder = Decoder::new(1 << 10);
            let mut seen = Vec::new();
            for part in stream.chunks(size) {
                decoder.push(part);
                while let Some(body) = decoder.next_body().expect("valid frames") {
                    seen.push(cue(&body).expect("a noun"));
                }
            }
            assert_eq!(seen, nouns);
        }
    }

    #[test]
    fn bad_frames_are_refused() {
        let mut decoder = Decoder::new(8);
        decoder.push(&[0, 9, 0, 0, 0]);
        assert_eq!(
            decoder.next_body(),
            Err(NewtError::TooLong { bytes: 9, limit: 8 })
        );
        let mut decoder = Decoder::new(8);
        decoder.push(&[1]);
        assert_eq!(decoder.next_body(), Err(NewtError::Version { found: 1 }));
    }
}
