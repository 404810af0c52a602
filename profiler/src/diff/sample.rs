//! What of a capture is compared: its events in the order of their arrival, as far as they could be
//! followed, and for how long it was watched.

use crate::aggregate::events::{EventKind, LIMIT};
use crate::attribute::{Attribution, Cause};
use crate::model::Capture;

/// How many causes there are.
pub const CAUSES: usize = Cause::ALL.len();
/// A ship is at its limit if the king had as many events under way as it may for this share of the time:
/// then more came than it could do, and how many it did is its throughput.
const AT_LIMIT_RATIO: f64 = 0.5;
/// So much of a window is taken to show how many events were under way, however long they took.
const LEAST_SHOWN_RATIO: f64 = 0.25;

/// The events of a capture, or of a part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// How long it was watched.
    pub window_ns: u64,
    /// How many windows that was, one after the other.
    pub windows: u64,
    /// Its events, by arrival.
    pub events: Vec<SampleEvent>,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleEvent {
    /// Its arrival, since the window began.
    pub at_ns: u64,
    /// What brought it about.
    pub kind: EventKind,
    /// From its arrival to the release of its effects.
    pub duration_ns: u64,
    /// The same by cause, in the order of [`Cause::ALL`].
    pub causes_ns: [u64; CAUSES],
}

impl Sample {
    /// Of a capture; nothing if too few of its events could be followed.
    pub fn of(capture: &Capture, attribution: &Attribution) -> Option<Self> {
        let clocks = capture.meta.clocks;
        let times = attribution.events.as_ref()?;
        let mut events: Vec<SampleEvent> = times
            .each
            .iter()
            .map(|event| {
                let mut causes_ns = [0; CAUSES];
                for (leaf, ns) in &event.leaves {
                    causes_ns[leaf.cause() as usize] += ns;
                }
                SampleEvent {
                    at_ns: event.arrived_ktime_ns.saturating_sub(clocks.start_ktime_ns),
                    kind: event.kind,
                    duration_ns: event.duration_ns,
                    causes_ns,
                }
            })
            .collect();
        events.sort_by_key(|event| (event.at_ns, event.duration_ns));
        Some(Self {
            window_ns: clocks.duration_ns().max(1),
            windows: 1,
            events,
        })
    }

    /// The events that arrived in a part of its time.
    pub fn part(&self, start_ns: u64, window_ns: u64) -> Self {
        let end_ns = start_ns.saturating_add(window_ns);
        let inside = |event: &&SampleEvent| (start_ns..end_ns).contains(&event.at_ns);
        let events = self.events.iter().filter(inside);
        Self {
            window_ns: window_ns.max(1),
            windows: 1,
            events: events
                .map(|event| SampleEvent {
                    at_ns: event.at_ns - start_ns,
                    ..*event
                })
                .collect(),
        }
    }

    /// The same with events that took `ratio` times as long.
    pub fn stretched(&self, ratio: f64) -> Self {
        let stretch = |ns: u64| (ns as f64 * ratio) as u64;
        Self {
            window_ns: self.window_ns,
            windows: self.windows,
            events: self
                .events
                .iter()
                .map(|event| SampleEvent {
                    duration_ns: stretch(event.duration_ns),
                    causes_ns: event.causes_ns.map(stretch),
                    ..*event
                })
                .collect(),
        }
    }

    /// Events a second.
    pub fn rate_hz(&self) -> f64 {
        self.events.len() as f64 * 1e9 / self.window_ns as f64
    }

    /// Whether more came than the ship could do.
    pub fn is_at_limit(&self) -> bool {
        self.at_limit_ratio() >= AT_LIMIT_RATIO
    }

    /// Share of the time for which the king had as many events under way as it may, of the time that shows
    /// it.
    fn at_limit_ratio(&self) -> f64 {
        self.full_ns() as f64 / self.shown_ns()
    }

    /// Time that shows how many events were under way. Only those are here that arrived and ended inside a
    /// window, so at its beginning and its end others are missing, each time for as long as an event takes:
    /// much of a short window of a ship that is slow.
    fn shown_ns(&self) -> f64 {
        let total_ns: f64 = (self.events.iter())
            .map(|event| event.duration_ns as f64)
            .sum();
        let mean_ns = total_ns / self.events.len().max(1) as f64;
        let window_ns = self.window_ns as f64;
        let hidden_ns = 2.0 * mean_ns * self.windows as f64;
        (window_ns - hidden_ns).max(LEAST_SHOWN_RATIO * window_ns)
    }

    /// Time for which the king had as many events under way as it may.
    fn full_ns(&self) -> u64 {
        let mut changes: Vec<(u64, i64)> = Vec::with_capacity(2 * self.events.len());
        for event in &self.events {
            changes.push((event.at_ns, 1));
            changes.push((event.at_ns.saturating_add(event.duration_ns), -1));
        }
        changes.sort_unstable();
        let (mut under_way, mut since_ns, mut full_ns) = (0, 0, 0);
        for (at_ns, change) in changes {
            let at_ns = at_ns.min(self.window_ns);
            if under_way >= LIMIT as i64 {
                full_ns += at_ns - since_ns;
            }
            (under_way, since_ns) = (under_way + change, at_ns);
        }
        full_ns
    }

    /// A number that only the same events give: what chance there is in a comparison begins with it.
    pub fn seed(&self) -> u64 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.window_ns.to_le_bytes());
        for event in &self.events {
            hasher.update(&event.at_ns.to_le_bytes());
            hasher.update(&event.duration_ns.to_le_bytes());
        }
        u64::from(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(events: &[(u64, u64)]) -> Sample {
        let event = |(at_ns, duration_ns): &(u64, u64)| SampleEvent {
            at_ns: *at_ns,
            kind: EventKind::Timer,
            duration_ns: *duration_ns,
            causes_ns: [0, *duration_ns, 0, 0, 0],
        };
        Sample {
            window_ns: 100,
            windows: 1,
            events: events.iter().map(event).collect(),
        }
    }

    #[test]
    fn a_part_begins_anew() {
        let part = sample(&[(10, 5), (30, 5), (49, 5), (50, 5)]).part(30, 20);
        let at: Vec<u64> = part.events.iter().map(|event| event.at_ns).collect();
        assert_eq!((at, part.window_ns), (vec![0, 19], 20));
    }

    #[test]
    fn at_its_limit_is_a_ship_with_ten_events_under_way() {
        let ten: Vec<(u64, u64)> = (0..10).map(|i| (i, 70)).collect();
        assert!(sample(&ten).is_at_limit());
        assert!(!sample(&ten[1..]).is_at_limit());
        let late: Vec<(u64, u64)> = (0..10).map(|i| (71 + i, 20)).collect();
        assert!(!sample(&late).is_at_limit());
    }

    #[test]
    fn a_slow_ship_is_at_its_limit_in_short_windows_too() {
        // One arrives whenever one of ten is done, each 30 long. Those are not followed that began before
        // the window or end after it.
        let followed: Vec<(u64, u64)> = (0..24).map(|i| (3 * i, 30)).collect();
        let slow = sample(&followed[..23]);
        assert!(slow.full_ns() < slow.window_ns / 2, "{}", slow.full_ns());
        assert!(slow.is_at_limit());
        let half: Vec<(u64, u64)> = (0..12).map(|i| (6 * i, 30)).collect();
        assert!(!sample(&half).is_at_limit());
    }

    #[test]
    fn other_events_give_another_seed() {
        assert_ne!(sample(&[(1, 2)]).seed(), sample(&[(1, 3)]).seed());
        assert_eq!(sample(&[(1, 2)]).seed(), sample(&[(1, 2)]).seed());
    }

    #[test]
    fn stretching_keeps_the_sums() {
        let event = sample(&[(1, 100)]).stretched(1.2).events[0];
        assert_eq!((event.duration_ns, event.causes_ns[1]), (120, 120));
    }
}
