//! Comparisons of made samples: how often they are wrong, how often right, and what they refuse to say.

use fastrand::Rng;

use super::sample::CAUSES;
use super::*;
use crate::aggregate::events::EventKind;
use crate::model::NS_PER_S;

mod simulated;

const SECONDS: u64 = 30;

/// What a made ship does.
#[derive(Clone, Copy)]
struct Made {
    seed: u64,
    rate_hz: f64,
    /// Share of packets; the rest are timers, which take half as long.
    packets: f64,
    /// How long a packet takes in the middle, ms.
    packet_ms: f64,
    /// How far what lasts for some 200 ms moves the times, as a share.
    drift: f64,
}

const SHIP: Made = Made {
    seed: 1,
    rate_hz: 40.0,
    packets: 0.5,
    packet_ms: 20.0,
    drift: 0.1,
};

impl Made {
    /// Events at random moments, whose times depend on each other where they are near in time.
    fn sample(self) -> Sample {
        let mut random = Rng::with_seed(self.seed);
        let window_ns = SECONDS * NS_PER_S;
        let (mut at, mut drift, mut events) = (0.0, 0.0, Vec::new());
        loop {
            at += -(1.0 - random.f64()).ln() / self.rate_hz * 1e9;
            if at >= window_ns as f64 {
                return Sample {
                    window_ns,
                    windows: 1,
                    events,
                };
            }
            drift = 0.9 * drift + 0.44 * self.drift * normal(&mut random);
            let is_packet = random.f64() < self.packets;
            let middle_ms = self.packet_ms / if is_packet { 1.0 } else { 2.0 };
            let ms = middle_ms * (0.25 * normal(&mut random) + drift).exp();
            let duration_ns = (ms * 1e6) as u64;
            let mut causes_ns = [0; CAUSES];
            causes_ns[0] = duration_ns / 2;
            causes_ns[1] = duration_ns - duration_ns / 2;
            events.push(SampleEvent {
                at_ns: at as u64,
                kind: match is_packet {
                    true => EventKind::Ames,
                    false => EventKind::Timer,
                },
                duration_ns,
                causes_ns,
            });
        }
    }
}

/// Close enough to a normal distribution: the sum of twelve uniform ones (variance 1/12 each).
fn normal(random: &mut Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}

fn seeded(seed: u64) -> Sample {
    Made { seed, ..SHIP }.sample()
}

fn line(comparison: &Comparison, metric: Metric) -> &Line {
    let line = comparison.lines.iter().find(|line| line.metric == metric);
    line.unwrap()
}

#[test]
fn an_unchanged_ship_is_called_so_and_a_fifth_is_found() {
    const PAIRS: u64 = 20;
    let (mut alarms, mut found) = (0, 0);
    for pair in 0..PAIRS {
        let busy = |seed| {
            Made {
                seed,
                rate_hz: 80.0,
                ..SHIP
            }
            .sample()
        };
        let (before, after) = (busy(2 * pair + 1), busy(2 * pair + 2));
        let same = compare(&before, &after);
        let changed = same.lines.iter().filter(|line| line.outcome.is_change());
        alarms += u64::from(changed.count() > 0);
        let (ratio, is) = match pair % 2 {
            0 => (1.2, Outcome::Worse),
            _ => (0.8, Outcome::Helped),
        };
        let shifted = compare(&before, &after.stretched(ratio));
        found += u64::from(shifted.outcome == is);
    }
    assert!(alarms * 20 <= PAIRS, "{alarms} of {PAIRS} are false alarms");
    assert!(found * 10 >= PAIRS * 9, "{found} of {PAIRS} are found");
}

#[test]
fn the_same_samples_give_the_same() {
    let (before, after) = (seeded(1), seeded(2));
    assert_eq!(compare(&before, &after), compare(&before, &after));
}

#[test]
fn another_mix_of_events_is_no_change() {
    // Packets take twice as long as timers; there are three times as many of them now.
    let few = Made {
        packets: 0.2,
        ..SHIP
    }
    .sample();
    let many = Made {
        packets: 0.6,
        seed: 2,
        ..SHIP
    }
    .sample();
    let found = compare(&few, &many);
    assert!(found.load.reweighted);
    assert_eq!(found.outcome, Outcome::NoEffect, "{found:#?}");
    // Without weights it would be half as long again.
    let mean = |sample: &Sample| {
        let all: u64 = sample.events.iter().map(|event| event.duration_ns).sum();
        all as f64 / sample.events.len() as f64
    };
    assert!(mean(&many) > 1.2 * mean(&few));
}

#[test]
fn loads_that_differ_too_much_are_not_compared() {
    let slow = Made {
        rate_hz: 15.0,
        ..SHIP
    }
    .sample();
    let found = compare(&slow, &seeded(2));
    assert_eq!(found.outcome, Outcome::NotEnoughData);
    let reason = found.unknown.unwrap();
    assert!(reason.starts_with("AFTER had 2."), "{reason}");
    let timers = Made {
        packets: 0.0,
        ..SHIP
    }
    .sample();
    let packets = Made {
        packets: 0.9,
        ..SHIP
    }
    .sample();
    let reason = compare(&timers, &packets).unknown.unwrap();
    assert!(reason.contains("kinds that the other lacks"), "{reason}");
    let few = Made {
        rate_hz: 0.5,
        ..SHIP
    }
    .sample();
    let reason = compare(&few, &few).unknown.unwrap();
    assert!(reason.contains("20 are needed"), "{reason}");
}

#[test]
fn a_ship_that_could_not_do_all_that_came_may_do_more_of_it() {
    // 15 a second, each a second long: ten are under way at any time.
    let mut slow = Made {
        rate_hz: 15.0,
        ..SHIP
    }
    .sample();
    for event in &mut slow.events {
        event.duration_ns += NS_PER_S;
        event.causes_ns[0] += NS_PER_S;
    }
    let found = compare(&slow, &seeded(2));
    assert!(found.load.before_at_limit && found.unknown.is_none());
    assert_eq!(found.outcome, Outcome::Helped);
    assert_eq!(line(&found, Metric::Throughput).outcome, Outcome::Helped);
    let back = compare(&seeded(2), &slow);
    assert_eq!(back.outcome, Outcome::Worse);
    assert_eq!(line(&back, Metric::Throughput).outcome, Outcome::Worse);
}

#[test]
fn the_cause_that_changed_is_named_and_the_others_are_not() {
    let before = seeded(1);
    let mut after = seeded(2);
    for event in &mut after.events {
        event.duration_ns -= event.causes_ns[0] / 2;
        event.causes_ns[0] -= event.causes_ns[0] / 2;
    }
    let found = compare(&before, &after);
    assert_eq!(found.outcome, Outcome::Helped);
    use crate::attribute::Cause::{Ames, Cpu, Disk, Memory};
    for (cause, outcome) in [
        (Disk, Outcome::Helped),
        (Cpu, Outcome::NoEffect),
        (Memory, Outcome::NoEffect),
        (Ames, Outcome::NoEffect),
    ] {
        let line = line(&found, Metric::Cause(cause));
        assert_eq!(line.outcome, outcome, "{line:?}");
    }
    let sentence = sentence::sentence(&found);
    assert!(
        sentence.starts_with("Helped. Of the events' time, p95 fell from"),
        "{sentence}"
    );
    assert!(sentence.contains("most of it is disk"), "{sentence}");
}

#[test]
fn a_neighbour_that_comes_and_goes_is_noise() {
    // For a third of each capture everything takes three times as long, for two thirds of the other.
    let disturbed = |seed, from_s: u64, to_s: u64| {
        let mut sample = seeded(seed);
        for event in &mut sample.events {
            if (from_s * NS_PER_S..to_s * NS_PER_S).contains(&event.at_ns) {
                event.duration_ns *= 3;
                event.causes_ns = event.causes_ns.map(|ns| ns * 3);
            }
        }
        sample
    };
    let found = compare(&disturbed(1, 5, 15), &disturbed(2, 8, 28));
    assert_eq!(found.outcome, Outcome::NotEnoughData, "{found:#?}");
    let sentence = sentence::sentence(&found);
    assert!(sentence.contains("host is quieter"), "{sentence}");
}

#[test]
fn a_ship_that_is_not_at_rest_must_change_by_more() {
    // What comes and goes for five seconds at a time takes the median up by a third at most.
    let restless = |seed, times: f64| {
        let mut sample = seeded(seed);
        for event in &mut sample.events {
            let level = if (event.at_ns / (5 * NS_PER_S)).is_multiple_of(2) {
                1.0
            } else {
                1.33
            };
            event.duration_ns = (event.duration_ns as f64 * level * times) as u64;
        }
        sample
    };
    let change = |times| compare(&restless(1, 1.0), &restless(2, times));
    let noise = |found: &Comparison| {
        let p50 = line(found, Metric::P50);
        p50.noise / p50.before
    };
    assert_eq!(change(1.0).outcome, Outcome::NotEnoughData);
    assert!(noise(&change(1.0)) > 0.3, "{:#?}", change(1.0));
    assert_eq!(change(1.3).outcome, Outcome::NotEnoughData);
    assert_eq!(change(3.0).outcome, Outcome::Worse);
    // At rest it is as before.
    let rest = compare(&seeded(1), &seeded(2));
    assert!(noise(&rest) < 0.3, "{rest:#?}");
}

#[test]
fn a_p95_of_few_events_is_not_judged() {
    let few = |seed, packet_ms| {
        Made {
            seed,
            packet_ms,
            rate_hz: 2.5,
            ..SHIP
        }
        .sample()
    };
    let found = compare(&few(1, 20.0), &few(2, 2.0));
    assert_eq!(line(&found, Metric::P95).outcome, Outcome::NotEnoughData);
    assert_eq!(found.outcome, Outcome::Helped);
}

#[test]
fn a_check_draws_pairs_that_do_not_overlap() {
    let recording = seeded(1);
    assert!(check(&recording, 11 * NS_PER_S, 2, 0.2).is_none());
    let checked = check(&recording, 10 * NS_PER_S, 4, 0.5).unwrap();
    assert_eq!((checked.same.pairs, checked.shifted.pairs), (4, 4));
    assert_eq!(checked.shifted.found, 4);
    assert!(checked.events[0] > 300 && checked.events[2] < 500);
}

mod journal {
    use super::super::{ENTRY_VERSION, Journal, Outcome};

    const GOOD: &str = r#"{"version":1,"at_unix_ns":1,"what":"w","fix":null,"ship":"~zod",
        "before":{"name":"b","start_unix_ns":1,"duration_ns":1,"events":null,"p95_ns":null},
        "after":{"name":"a","start_unix_ns":1,"duration_ns":1,"events":2,"p95_ns":3},
        "changes":[],"outcome":"no_effect","sentence":"s","expected":null}"#;

    #[test]
    fn what_cannot_be_read_is_told_and_the_rest_is_read() {
        let good = GOOD.replace('\n', "");
        let newer = format!("{{\"version\":{}}}", ENTRY_VERSION + 1);
        let text = format!(
            "{good}\nnonsense\n{newer}\n{{\"version\":1}}\n\n{good}\n{}",
            &good[..40]
        );
        let journal = Journal::parse(&text);
        let numbers: Vec<usize> = journal.entries.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 6]);
        assert_eq!(journal.entries[0].1.outcome, Outcome::NoEffect);
        let unread = journal.unread.join("\n");
        for words in [
            "line 2 is no entry",
            "line 3 is of version 2",
            "line 4 is no entry",
            "line 7 is cut short",
        ] {
            assert!(unread.contains(words), "{unread}");
        }
        assert_eq!(Journal::parse(""), Journal::default());
    }
}
