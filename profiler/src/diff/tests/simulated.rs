//! How often a comparison is wrong, and how often right, on ships that are made up: their times are
//! log-normal, and what else happens on the host comes and goes by itself.

use fastrand::Rng;

use super::super::sample::CAUSES;
use super::super::{Outcome, Sample, SampleEvent, compare};
use super::normal;
use crate::aggregate::events::EventKind;
use crate::model::NS_PER_S;

/// Length of a capture.
const SECONDS: f64 = 30.0;
/// Events a second.
const RATE_HZ: f64 = 40.0;
/// A change that must be found.
const SHIFT_RATIO: f64 = 0.2;
/// How many pairs there are of each host.
const PAIRS: u64 = 40;

/// What happens on a host beside the ship.
#[derive(Clone, Copy)]
enum Host {
    /// Nothing.
    Rests,
    /// Events come by ones and by twos, of which the second waits for the first: half of the times lie far
    /// from the other half, and the median between them.
    Pairs,
    /// A neighbour comes and goes, for seconds at a time; meanwhile two events of five wait for it.
    Neighbour,
    /// All events get slower and quicker by a few per cent, within a minute or so.
    Drifts,
}

/// How long all events take at a moment, against what they usually take.
fn level(host: Host, at_s: f64, phase: f64) -> f64 {
    let turn = std::f64::consts::TAU;
    match host {
        Host::Drifts => 1.0 + 0.04 * (turn * (at_s / 70.0 + phase)).sin(),
        Host::Rests | Host::Pairs | Host::Neighbour => 1.0,
    }
}

/// What an event waits for, in ms.
fn wait_ms(host: Host, random: &mut Rng, is_there: bool, own_ms: f64) -> f64 {
    match host {
        Host::Pairs if random.bool() => own_ms,
        Host::Neighbour if is_there && random.f64() < 0.4 => 8.0 * exponential(random),
        _ => 0.0,
    }
}

fn exponential(random: &mut Rng) -> f64 {
    -(1.0 - random.f64()).ln()
}

/// A capture of a ship.
fn capture(host: Host, seed: u64) -> Sample {
    let mut random = Rng::with_seed(seed);
    let phase = random.f64();
    let (mut at_s, mut turns_at_s, mut is_there) = (0.0, 0.0, random.bool());
    let mut events = Vec::new();
    loop {
        at_s += exponential(&mut random) / RATE_HZ;
        if at_s >= SECONDS {
            return Sample {
                window_ns: SECONDS as u64 * NS_PER_S,
                windows: 1,
                events,
            };
        }
        while at_s >= turns_at_s {
            turns_at_s += 3.0 * exponential(&mut random);
            is_there = !is_there;
        }
        let own_ms = 4.0 * (0.2 * normal(&mut random)).exp();
        let ms = level(host, at_s, phase) * own_ms + wait_ms(host, &mut random, is_there, own_ms);
        let duration_ns = (ms * 1e6) as u64;
        let mut causes_ns = [0; CAUSES];
        causes_ns[1] = duration_ns;
        events.push(SampleEvent {
            at_ns: (at_s * 1e9) as u64,
            kind: EventKind::Timer,
            duration_ns,
            causes_ns,
        });
    }
}

/// Of pairs of an unchanged ship those that are called otherwise, and of changed ones those that are called
/// what they are.
fn alarms_and_found(host: Host) -> (u64, u64) {
    let (mut alarms, mut found) = (0, 0);
    for pair in 0..PAIRS {
        let [before, after] = [1, 2].map(|side| capture(host, 2 * pair + side));
        alarms += u64::from(compare(&before, &after).outcome.is_change());
        let (ratio, is) = match pair % 2 {
            0 => (1.0 + SHIFT_RATIO, Outcome::Worse),
            _ => (1.0 - SHIFT_RATIO, Outcome::Helped),
        };
        found += u64::from(compare(&before, &after.stretched(ratio)).outcome == is);
    }
    (alarms, found)
}

fn assert_tells(host: Host) {
    let (alarms, found) = alarms_and_found(host);
    assert!(alarms * 20 <= PAIRS, "{alarms} of {PAIRS} are false alarms");
    assert!(found * 10 >= PAIRS * 9, "{found} of {PAIRS} are found");
}

#[test]
fn a_fifth_is_found_on_a_host_that_rests() {
    assert_tells(Host::Rests);
}

#[test]
fn a_fifth_is_found_where_the_median_lies_in_a_gap() {
    assert_tells(Host::Pairs);
}

#[test]
fn a_fifth_is_found_beside_a_neighbour_that_comes_and_goes() {
    assert_tells(Host::Neighbour);
}

#[test]
fn a_fifth_is_found_where_the_load_drifts() {
    assert_tells(Host::Drifts);
}
