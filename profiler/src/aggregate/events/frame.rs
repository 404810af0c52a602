//! The frames that a main thread wrote, of which messages are a part.

use std::collections::BTreeMap;

use super::message::{self, Content, Errand, Worked};
use crate::model::{Call, SyscallEvent};

/// A frame between king and mars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it was about to be sent.
    pub sent_ktime_ns: u64,
    /// Length of its noun.
    pub bytes: u64,
    /// What it is.
    pub content: Content,
    /// The upkeep that it asks for or answers.
    pub errand: Option<Errand>,
    /// How the event went that it answers; only a serf says.
    pub worked: Option<Worked>,
}

impl Frame {
    /// Number of the event that it answers, if it says so.
    pub fn number(&self) -> Option<u64> {
        match self.worked {
            Some(Worked::Done(number)) => Some(number),
            Some(Worked::Bail) | None => None,
        }
    }
}

/// The frames of a main thread to the other, lines to print left out. What could not be read is taken
/// for one if it went where the others go: the king writes frames to clients of `conn.sock` too.
pub fn frames(calls: &[&SyscallEvent]) -> Vec<Frame> {
    let written = calls.iter().filter_map(|call| match &call.call {
        Call::Frame {
            fd, bytes, head, ..
        } => Some((call.ktime_ns, *fd, *bytes, head)),
        _ => None,
    });
    let written: Vec<_> = written
        .map(|(at, fd, bytes, head)| {
            let content = match head.is_empty() {
                true => Some(Content::Unread),
                false => message::content(head),
            };
            let told = (message::errand(head), message::worked(head));
            (at, fd, bytes, content, told)
        })
        .collect();
    let is_read = |content: &Option<Content>| {
        content
            .as_ref()
            .is_some_and(|content| *content != Content::Unread)
    };
    let mut descriptors: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for (_, fd, _, content, _) in &written {
        let (read, unread) = descriptors.entry(*fd).or_default();
        *read += u64::from(is_read(content));
        *unread += u64::from(*content == Some(Content::Unread));
    }
    let other = descriptors.iter().max_by_key(|(_, counts)| **counts);
    let other = other.map(|(fd, _)| *fd);
    let frames =
        written
            .into_iter()
            .filter_map(|(sent_ktime_ns, fd, bytes, content, (errand, worked))| {
                Some(Frame {
                    sent_ktime_ns,
                    bytes,
                    content: content.filter(|content| {
                        *content != Content::Notice
                            && (*content != Content::Unread || Some(fd) == other)
                    })?,
                    errand,
                    worked,
                })
            });
    frames.collect()
}
