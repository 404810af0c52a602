//! Two captures beside each other: what a frame took before and after, and whether the difference is
//! more than chance.
//!
//! **Scale.** Where both captures know at least [`MIN_EVENTS`] events, times are per event: then a
//! longer capture, or one of a busier hour, is no difference. Else they are shares of the time of all
//! stacks, which tell how time divides and not how much there was.
//!
//! **Noise.** A frame's time is a sum of parts that came by chance: samples of one period each, or
//! waits of different lengths. If both captures were the same, the frame would have the same value in
//! both; that value, and the mean size of a part, are taken from both together. A sum of `n` such parts
//! varies by the sum of their squares (for samples: binomially, as `n (1 - p)`, when shares are
//! compared, since the number of all samples is given; as `n` otherwise). A difference within
//! [`DEVIATIONS`] standard deviations is noise: at three, one frame in 370 of an unchanged ship is not
//! grey. What changes from one run to the next without any chance in sampling (other events came) is no
//! noise by this rule.

use super::folded::{Sides, Weight};
use crate::attribute::MIN_EVENTS;
use crate::model::Capture;
use crate::ship::loom::LoomAnswer;

/// Standard deviations within which a difference counts as chance.
const DEVIATIONS: f64 = 3.0;

/// What values are per.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Per event, of the capture and of the one that it is compared with.
    PerEvent([u64; 2]),
    /// Per time of all stacks.
    Share([u64; 2]),
}

impl Scale {
    /// Of two captures whose stacks weigh `total`.
    pub fn of(captures: [&Capture; 2], total: Sides) -> Self {
        match captures.map(events) {
            [Some(one), Some(other)] if one >= MIN_EVENTS && other >= MIN_EVENTS => {
                Self::PerEvent([one, other])
            }
            _ => Self::Share(total.map(|side| side.total)),
        }
    }

    /// Value per weight of a side.
    fn factor(&self, side: usize) -> f64 {
        let (Self::PerEvent(by) | Self::Share(by)) = self;
        1.0 / by[side].max(1) as f64
    }
}

/// Events that were computed in a capture; nothing if their numbers are not known.
pub fn events(capture: &Capture) -> Option<u64> {
    match (&capture.meta.loom_start, &capture.meta.loom_end) {
        (LoomAnswer::Home(before), LoomAnswer::Home(after)) => {
            Some(after.event_number.saturating_sub(before.event_number))
        }
        _ => None,
    }
}

/// One frame in both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Its value in the capture that is compared with: time per event, or a share.
    pub before: f64,
    /// Its value in the capture.
    pub after: f64,
    /// Whether they differ by no more than chance allows.
    pub is_noise: bool,
}

impl Difference {
    /// Of a frame, in captures whose stacks weigh `total`.
    pub fn of(sides: &Sides, total: &Sides, scale: &Scale) -> Self {
        let value = |side: usize| sides[side].total as f64 * scale.factor(side);
        let (after, before) = (value(0), value(1));
        let deviation =
            (variance(0, sides, total, scale) + variance(1, sides, total, scale)).sqrt();
        Self {
            before,
            after,
            is_noise: (after - before).abs() <= DEVIATIONS * deviation,
        }
    }

    /// What it is drawn as wide as: the mean, so that what one side alone has is there too.
    pub fn width(&self) -> f64 {
        f64::midpoint(self.before, self.after)
    }

    /// The change as a part of both: from -1, gone, to 1, new.
    pub fn relative(&self) -> f64 {
        let sum = self.after + self.before;
        if sum > 0.0 {
            (self.after - self.before) / sum
        } else {
            0.0
        }
    }
}

/// By how much a side's value varies, if both sides are the same.
fn variance(side: usize, sides: &Sides, total: &Sides, scale: &Scale) -> f64 {
    let both = |of: fn(&Weight) -> f64| of(&sides[0]) + of(&sides[1]);
    let time = both(|weight| weight.total as f64);
    if time <= 0.0 {
        return 0.0;
    }
    let part = both(|weight| weight.squares as f64) / time;
    let value = time / (1.0 / scale.factor(0) + 1.0 / scale.factor(1));
    let factor = scale.factor(side);
    let rest = match scale {
        Scale::PerEvent(_) => 1.0,
        Scale::Share(_) => {
            let whole = total[side].total as f64 * factor;
            (1.0 - value / whole.max(f64::MIN_POSITIVE)).max(0.0)
        }
    };
    part * factor * value * rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of 10 ms.
    fn samples(counts: [u64; 2]) -> Sides {
        counts.map(|count| Weight::of(count * 10_000_000, count))
    }

    #[test]
    fn shares_are_noise_by_the_binomial_rule() {
        let total = samples([1000, 2000]);
        let scale = Scale::Share(total.map(|side| side.total));
        // Of 1000 and 2000 samples, p = 0.1 in both: the deviation is sqrt(p (1-p) (1/1000 + 1/2000)),
        // 0.0116; three are 0.035.
        for (counts, is_noise) in [
            ([100, 200], true),
            ([123, 177], true),
            ([130, 170], false),
            ([0, 9], true),
            ([30, 0], false),
            ([0, 0], true),
        ] {
            let found = Difference::of(&samples(counts), &total, &scale);
            assert_eq!(found.is_noise, is_noise, "{counts:?}: {found:?}");
        }
        let found = Difference::of(&samples([130, 170]), &total, &scale);
        assert!((found.after - 0.13).abs() < 1e-9 && (found.before - 0.085).abs() < 1e-9);
        // The whole is the whole in both.
        assert!(Difference::of(&total, &total, &scale).is_noise);
    }

    #[test]
    fn times_per_event_do_not_grow_with_the_capture() {
        let scale = Scale::PerEvent([100, 300]);
        let total = samples([200, 600]);
        let same = Difference::of(&samples([200, 600]), &total, &scale);
        assert!(same.is_noise && same.before == same.after);
        let twice = Difference::of(&samples([200, 300]), &total, &scale);
        assert!(!twice.is_noise && (twice.relative() - 1.0 / 3.0).abs() < 1e-9);
    }

    /// One long wait more is chance; a hundred short ones are not.
    #[test]
    fn single_long_waits_are_noise() {
        let scale = Scale::PerEvent([100, 100]);
        let long = [Weight::of(2_000_000_000, 2), Weight::of(1_000_000_000, 1)];
        assert!(Difference::of(&long, &long, &scale).is_noise);
        let many = [
            Weight::of(2_000_000_000, 200),
            Weight::of(1_000_000_000, 100),
        ];
        assert!(!Difference::of(&many, &many, &scale).is_noise);
    }
}
