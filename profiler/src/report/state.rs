//! What state the ship was in when the capture ended: what holds of all of it is said first.

use super::units::duration;
use crate::aggregate::Summaries;
use crate::aggregate::events::SpanKind;
use crate::attribute::LONG_WAIT_NS;
use crate::model::Meta;

/// A ship's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is no Nock process.
    NoMars,
    /// It is built for the first time.
    Booting,
    /// It computes the events behind its snapshot again.
    Replaying {
        /// How many it computed in the window.
        events: u64,
    },
    /// It stood still for a snapshot, for so long.
    Frozen { since_ns: u64 },
    /// It stood still for upkeep of its loom, for so long.
    Upkeep { kind: SpanKind, since_ns: u64 },
    /// It took events.
    Up,
}

impl State {
    /// Of a capture.
    pub fn of(meta: &Meta, summaries: &Summaries) -> Self {
        if meta.ship.mars.is_none() && meta.followed_tgids.is_empty() {
            return Self::NoMars;
        }
        if meta.ship.booting {
            return Self::Booting;
        }
        let spans = summaries.events.iter().flat_map(|one| &one.mars_spans);
        let mut open = spans.filter(|span| span.is_open);
        let replay = open.clone().find(|span| span.kind == SpanKind::Replay);
        if let Some(replay) = replay {
            let events = replay.events.unwrap_or(0);
            return Self::Replaying { events };
        }
        let snapshots = summaries.snapshots.as_ref();
        if let Some(since_ns) = snapshots.and_then(|snapshots| snapshots.open_ns) {
            return Self::Frozen { since_ns };
        }
        match open.find(|span| span.kind.is_upkeep()) {
            Some(span) => Self::Upkeep {
                kind: span.kind,
                since_ns: span.duration_ns(),
            },
            None => Self::Up,
        }
    }

    /// Whether it took events at all.
    pub fn is_up(self) -> bool {
        match self {
            Self::NoMars | Self::Booting | Self::Replaying { .. } => false,
            Self::Frozen { .. } | Self::Upkeep { .. } | Self::Up => true,
        }
    }

    /// In the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoMars => "no Nock process",
            Self::Booting => "booting",
            Self::Replaying { .. } => "replaying",
            Self::Frozen { .. } => "writing a snapshot",
            Self::Upkeep {
                kind: SpanKind::Pack | SpanKind::Meld,
                ..
            } => "packing",
            Self::Upkeep { .. } => "collecting",
            Self::Up => "up",
        }
    }

    /// What is to be said before anything else of a ship that takes events: that it stood still at the end.
    pub fn sentence(self) -> Option<String> {
        let (Self::Frozen { since_ns } | Self::Upkeep { since_ns, .. }) = self else {
            return None;
        };
        (since_ns >= LONG_WAIT_NS).then(|| {
            format!(
                "When the capture ended the ship stood still, {} for {}.",
                self.name(),
                duration(since_ns)
            )
        })
    }
}
