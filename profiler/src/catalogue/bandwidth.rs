//! A faster line.

use super::{Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::{Cause, Leaf};
use crate::model::NS_PER_S;
use crate::report::units::{percent, spent};

/// Share of an interface's speed from which on its queue is felt.
const SATURATED_RATIO: f64 = 0.8;
const BITS: f64 = 8.0;
const MEGA: f64 = 1e6;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "bandwidth",
    title: "get a faster line",
    cause: Cause::Ames,
    shrinks: &[Leaf::SendPath],
    why: "A line that is full delays and drops datagrams.",
    gain: "At most the time in which sending held the king up; at least nothing. Only where an \
           interface carried 80 % of its own speed or more.",
    check: "bytes through each network interface during the capture (/proc/net/dev) against its speed \
            (/sys/class/net/IF/speed)",
    answers: &[Kind::WouldHelp, Kind::NoEvidence, Kind::CannotTell],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::None,
    source: "measured here; Linux Documentation/ABI/testing/sysfs-class-net (speed). What a provider's \
             plan allows is not visible from a host",
    apply: &["a plan with more bandwidth, or less traffic beside the ship's"],
    undo: &["go back to the plan before"],
    assess,
};

/// The busiest interface: name, bits a second of the fuller direction.
fn busiest(situation: &Situation<'_>) -> Option<(String, f64)> {
    let meta = situation.meta();
    let before = meta.counters_start.interfaces.known()?;
    let after = meta.counters_end.interfaces.known()?;
    let seconds = meta.clocks.duration_ns() as f64 / NS_PER_S as f64;
    let rates = after.iter().filter_map(|(name, after)| {
        let before = before.get(name)?;
        let received = after.received_bytes.saturating_sub(before.received_bytes);
        let sent = after.sent_bytes.saturating_sub(before.sent_bytes);
        Some((name.clone(), received.max(sent) as f64 * BITS / seconds))
    });
    rates
        .filter(|(_, rate)| rate.is_finite())
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
}

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let proposed = "more than is used";
    let Some((name, rate)) = busiest(situation) else {
        let reason = "what the network interfaces carried is not known";
        return Setting::new(None, proposed).cannot_tell(reason);
    };
    let carried = format!("{name} carried {:.1} Mbit/s", rate / MEGA);
    let speed = situation
        .setup()
        .ok()
        .and_then(|setup| setup.interface_speeds.get(&name).copied());
    let Some(speed) = speed else {
        return Setting::new(Some(carried.clone()), proposed).cannot_tell(format!(
            "{carried}, and does not say how fast it is; a plan's limit cannot be seen"
        ));
    };
    let setting = Setting::new(
        Some(format!("{carried} of {:.0}", speed as f64 / MEGA)),
        proposed,
    );
    let share = rate / speed as f64;
    let reason = format!("{carried}, {} of its speed", percent(share));
    if share < SATURATED_RATIO {
        return setting.no_evidence(reason);
    }
    let held_up_ns = situation.leaf_ns(Leaf::SendPath);
    setting.would_help(
        Gain::StalledTime {
            low_ns: 0,
            high_ns: held_up_ns,
        },
        format!(
            "{reason}; sending held the king up for {}",
            spent(held_up_ns, situation.attribution)
        ),
        ENTRY.apply.iter().map(|line| Step::advice(*line)).collect(),
        ENTRY.undo.iter().map(|line| Step::advice(*line)).collect(),
    )
}
