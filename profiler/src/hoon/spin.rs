//! The spin stack: labels that Nock leaves in a page of shared memory of what it does, from v4.0 on
//! and only where the ship's kernel has `%spin` hints (vere `pkg/noun/trace.c`, `u3t_sstack_push`).
//!
//! Coarser than the stack of hints and cheaper: one read tells which vane and agent runs.

use thiserror::Error;

/// Size of the page (`pkg/noun/trace.h`): the head, then what is pushed.
pub const SPIN_PAGE_BYTES: usize = 16384;
/// Offset of the top, and how many labels found no room.
pub const SPIN_HEAD_BYTES: usize = 8;
/// The label that is always there.
const ROOT: &str = "root";
/// Most labels of a stack: of one letter each, they fill the page.
const MAX_LABELS: usize = (SPIN_PAGE_BYTES - SPIN_HEAD_BYTES) / 5;

/// The labels on the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpinStack {
    /// Outermost first, the root's left out.
    pub labels: Vec<String>,
    /// Labels further in that found no room.
    pub overflowed: u32,
}

/// Why a page is not such a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SpinError {
    /// It is shorter than what it says it holds.
    #[error("the spin page ends before its stack does")]
    Short,
    /// Its lengths lead out of it: it was written to meanwhile, or is of another format.
    #[error("the spin page holds no stack of labels")]
    Malformed,
}

impl SpinStack {
    /// Reads a page, or as much of its beginning as its offset says.
    ///
    /// # Errors
    /// If it holds no stack; while it is written to that may happen now and then.
    pub fn parse(page: &[u8]) -> Result<Self, SpinError> {
        let head: &[u8; SPIN_HEAD_BYTES] = page.first_chunk().ok_or(SpinError::Short)?;
        let used = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let overflowed = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if used > SPIN_PAGE_BYTES - SPIN_HEAD_BYTES {
            return Err(SpinError::Malformed);
        }
        let mut rest = page
            .get(SPIN_HEAD_BYTES..SPIN_HEAD_BYTES + used)
            .ok_or(SpinError::Short)?;
        let mut labels = Vec::new();
        while !rest.is_empty() {
            let (before, length) = rest.split_last_chunk::<4>().ok_or(SpinError::Malformed)?;
            let length = u32::from_le_bytes(*length) as usize;
            let start = before
                .len()
                .checked_sub(length)
                .filter(|_| length > 0 && labels.len() < MAX_LABELS)
                .ok_or(SpinError::Malformed)?;
            let label = std::str::from_utf8(&before[start..]).ok();
            let label = label.filter(|label| !label.chars().any(char::is_control));
            labels.push(label.ok_or(SpinError::Malformed)?.to_owned());
            rest = &before[..start];
        }
        labels.reverse();
        if labels.first().is_some_and(|label| label == ROOT) {
            labels.remove(0);
        }
        Ok(Self { labels, overflowed })
    }

    /// Whose code runs by the labels of Gall and the vanes: `/app/dojo` for `on-poke/dojo`, `gall` for
    /// `call/gall`. The innermost that says so.
    pub fn owner(&self) -> Option<String> {
        self.labels.iter().rev().find_map(|label| {
            let (what, who) = label.split_once('/')?;
            match what {
                "call" | "take" | "scry" => Some(who.to_owned()),
                _ if what.starts_with("on-") => Some(format!("/app/{who}")),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(labels: &[&str], overflowed: u32) -> Vec<u8> {
        let mut data = Vec::new();
        for label in labels {
            data.extend_from_slice(label.as_bytes());
            data.extend_from_slice(&(label.len() as u32).to_le_bytes());
        }
        let mut page = (data.len() as u32).to_le_bytes().to_vec();
        page.extend_from_slice(&overflowed.to_le_bytes());
        page.extend_from_slice(&data);
        page.resize(SPIN_PAGE_BYTES, 0xee);
        page
    }

    #[test]
    fn labels_come_outermost_first_and_tell_the_owner() {
        let stack = SpinStack::parse(&page(&["root", "call/gall", "on-poke/dojo", "cell"], 2));
        let stack = stack.unwrap();
        assert_eq!(stack.labels, ["call/gall", "on-poke/dojo", "cell"]);
        assert_eq!(stack.overflowed, 2);
        assert_eq!(stack.owner().as_deref(), Some("/app/dojo"));
        let vane = SpinStack::parse(&page(&["root", "take/gall"], 0)).unwrap();
        assert_eq!(vane.owner().as_deref(), Some("gall"));
        let none = SpinStack::parse(&page(&["root"], 0)).unwrap();
        assert_eq!((none.labels.len(), none.owner()), (0, None));
    }

    #[test]
    fn damaged_pages_are_errors() {
        let whole = page(&["root", "call/gall"], 0);
        assert_eq!(SpinStack::parse(&whole[..7]), Err(SpinError::Short));
        assert_eq!(SpinStack::parse(&whole[..12]), Err(SpinError::Short));
        for used in [1_u32, 3, 7, 9, 16_377, u32::MAX] {
            let mut damaged = whole.clone();
            damaged[..4].copy_from_slice(&used.to_le_bytes());
            assert!(SpinStack::parse(&damaged).is_err(), "{used}");
        }
        for at in 0..40 {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let _ = SpinStack::parse(&flipped);
            }
        }
    }
}
