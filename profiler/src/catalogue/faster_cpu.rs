//! A CPU that is quicker for a single thread.

use super::{Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::{Cause, Leaf, ratio};
use crate::report::units::{percent, spent};

/// A CPU that runs one thread twice as fast: about what lies between a shared server of some years
/// ago and the fastest that can be had (SPECspeed and Geekbench single-core lists).
const FASTER_BY: u64 = 2;
/// Share of the stalls below which it does not matter.
const MIN_RATIO: f64 = 0.02;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "faster-cpu",
    title: "move the ship to a faster CPU",
    cause: Cause::Cpu,
    shrinks: &[Leaf::Computing],
    why: "Nock runs on one thread: more CPUs do not help an event that computes, only faster ones.",
    gain: "At most half of the computing that holds the ship up, by a CPU of twice the speed for one \
           thread; at least nothing, because how fast another one would be here is not measured.",
    check: "the share of computing in the events' time, without each event's own unless that is most of \
            it",
    answers: &[Kind::WouldHelp, Kind::NoEvidence],
    conflicts: &[],
    restart: Restart::Host,
    risk: Risk::Low,
    source: "measured here; mars computes on its main thread alone (vere pkg/vere/mars.c)",
    apply: &["move to a host of which one core is faster; compare single-thread figures"],
    undo: &["move back"],
    assess,
};

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let model = situation.meta().host.kernel.cpu_model.known();
    let model = model.map_or("this one", String::as_str).to_owned();
    let setting = Setting::new(Some(model), "twice the speed of one thread");
    let attribution = situation.attribution;
    let computing_ns = attribution.stalling_computing_ns();
    let share = ratio(computing_ns, attribution.stalled_ns());
    if share < MIN_RATIO {
        return setting.no_evidence(format!("computing is {} of the stalls", percent(share)));
    }
    setting.would_help(
        Gain::StalledTime {
            low_ns: 0,
            high_ns: computing_ns / FASTER_BY,
        },
        format!(
            "{} of the stalls is computing, {}",
            percent(share),
            spent(computing_ns, attribution)
        ),
        ENTRY.apply.iter().map(|line| Step::advice(*line)).collect(),
        ENTRY.undo.iter().map(|line| Step::advice(*line)).collect(),
    )
}
