//! Which computation and which answer belong to a message: all three come in the same order, so it is
//! enough to know how many messages were under way when the capture began. Where nothing tells that for
//! sure, nothing is guessed.

mod limit;
mod offset;
mod rests;

use super::EventKind;
use super::commit::Commit;
use super::computation::{Computation, Work};
use super::message::Content;

/// A message from king to mars, or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When it was about to be sent.
    pub sent_ktime_ns: u64,
    /// When the king began to wait for what made it send this; nothing if it is not known, or mars sent it.
    pub turn_ktime_ns: Option<u64>,
    /// What it is.
    pub content: Content,
}

impl Message {
    /// Kind of the event, if it is one.
    pub fn kind(&self) -> Option<EventKind> {
        match self.content {
            Content::Poke(kind) => Some(kind),
            _ => None,
        }
    }

    fn is_computed(&self) -> bool {
        matches!(self.content, Content::Poke(_) | Content::Peek)
    }
}

/// Most messages that the king leaves unanswered (`pkg/vere/pier.c`).
pub const LIMIT: usize = 10;

/// For each message how it was computed, and when it was answered.
pub type Pairs = (Vec<Option<Work>>, Vec<Option<u64>>);

/// All that tells what belongs to a message.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What the king sent, in order.
    pub messages: &'a [Message],
    /// Computations of mars, in order.
    pub computations: &'a [Computation],
    /// What mars sent, in order.
    pub answers: &'a [Message],
    /// Commits, in order.
    pub commits: &'a [Commit],
    /// Moments at which all that had been sent was computed.
    pub rests: &'a [u64],
    /// Those of them at which all of it was answered, too.
    pub quiet: &'a [u64],
    /// How many messages were under way before the first, if the king said it.
    pub said: Option<usize>,
    /// Whether mars answers an event as soon as it is computed: up to v3.5. Then `commits` are the king's,
    /// and tell nothing here.
    pub at_once: bool,
    /// Whether messages, computations or answers are missing: what is known of others then tells nothing.
    pub has_gaps: bool,
}

/// What belongs to each message, and how that was found.
#[derive(Debug, Clone)]
pub struct Paired {
    /// For each message.
    pub pairs: Pairs,
    /// Messages sent later may still have been under way at the end.
    pub settled_ktime_ns: u64,
    /// Whether only the king's limit told it.
    pub by_limit: bool,
}

/// Finds it.
pub fn pair(evidence: &Evidence<'_>) -> Paired {
    let of_all = |pairs: Pairs, by_limit| {
        let last = pairs.1.iter().rposition(Option::is_some);
        Paired {
            settled_ktime_ns: last.map_or(0, |i| evidence.messages[i].sent_ktime_ns),
            pairs,
            by_limit,
        }
    };
    if !evidence.has_gaps
        && let Some(pairs) = offset::pairs(evidence)
    {
        return of_all(pairs, false);
    }
    let pairs = rests::pairs(evidence);
    if !evidence.has_gaps && matched(&pairs) < evidence.messages.len() / 2 {
        let pairs = |earlier: Option<usize>| limit::pairs(evidence, earlier?);
        if let Some(pairs) = pairs(evidence.said) {
            return of_all(pairs, false);
        }
        if let Some(pairs) = pairs(limit::earlier(evidence)) {
            return of_all(pairs, true);
        }
    }
    Paired {
        pairs,
        settled_ktime_ns: evidence.quiet.last().copied().unwrap_or(u64::MAX),
        by_limit: false,
    }
}

/// How many messages have both.
fn matched(pairs: &Pairs) -> usize {
    let both = pairs.0.iter().zip(&pairs.1);
    both.filter(|(work, answered)| work.is_some() && answered.is_some())
        .count()
}

#[cfg(test)]
mod tests;
