//! Upkeep: snapshots, packing, other ships, and whether there is something to compare with.

use super::{
    Declaration, Facts, Found, Outcome, References, declare, failed, judged, known, not_applicable,
    passed,
};
use crate::attribute::ratio;
use crate::catalogue::suspend_apps;
use crate::host::schedules::Schedule;
use crate::mass::{MUCH_IDLE_RATIO, Mass};
use crate::model::NS_PER_S;
use crate::report::LOW_GAP_BYTES;
use crate::report::units::{bytes, duration, percent};
use crate::ship::Generation;

/// More ships than this want another host (requirements of the field).
const MANY_SHIPS: usize = 10;
/// An agent with less of the memory is not worth naming, and no more than so many are.
const LARGE_AGENT_RATIO: f64 = 0.05;
const MOST_AGENTS: usize = 3;
/// vere's default (`pkg/vere/main.c`).
const DEFAULT_SNAP_S: u64 = 120;

pub(super) const CHECKS: &[Declaration] = &[
    declare(
        "snap-time",
        "snapshot interval",
        Some("snap-time"),
        snapshots,
    ),
    declare(
        "pack-schedule",
        "packed when needed",
        Some("pack-schedule"),
        pack,
    ),
    declare(
        "meld-schedule",
        "melded when needed",
        Some("meld-schedule"),
        meld,
    ),
    declare("apps", "unused apps suspended", Some("suspend-apps"), apps),
    declare(
        "dirty-ratio",
        "writes not held back",
        Some("dirty-ratio"),
        write_back,
    ),
    declare(
        "other-ships",
        "fewer than 10 ships",
        Some("fewer-ships"),
        ships,
    ),
    Declaration {
        command: Some("sudo profile -o DIR --seconds 60; sudo profile baseline save NAME DIR"),
        ..declare("baseline", "a baseline exists", None, baseline)
    },
];

fn snapshots(facts: &Facts) -> Result<Found, String> {
    if facts.ship.generation != Generation::Mars {
        return Err("up to vere 3.5 the king keeps the interval to itself".to_owned());
    }
    let config = facts
        .ship
        .config
        .as_ref()
        .ok_or("the ship has no Nock process")?;
    let seconds = config.snap_time_s.unwrap_or(DEFAULT_SNAP_S);
    // Whether the ship suffers by it only a capture tells.
    Ok(not_applicable(format!(
        "every {}; what that costs, a capture says",
        duration(seconds.saturating_mul(NS_PER_S))
    )))
}

/// A heap without holes has nothing to pack, which only the ship's account tells.
fn pack(facts: &Facts) -> Result<Found, String> {
    let (outcome, text) = by_need(facts, |schedule| schedule.packs)?;
    let Some(idle) = facts.mass.as_ref().and_then(Mass::idle_ratio) else {
        return Ok((outcome, text));
    };
    let text = format!("{text}; {} of the heap are holes", percent(idle));
    Ok(match (outcome, idle < MUCH_IDLE_RATIO) {
        (Outcome::Failed, true) => passed(format!("{text}, so packing brings little")),
        (outcome, _) => (outcome, text),
    })
}

fn meld(facts: &Facts) -> Result<Found, String> {
    by_need(facts, |schedule| schedule.melds)
}

/// A schedule is missed only where the loom is nearly full.
fn by_need(facts: &Facts, wanted: fn(&Schedule) -> bool) -> Result<Found, String> {
    let mut schedules = facts.setup.schedules.found.iter();
    if let Some(schedule) = schedules.find(|one| wanted(one)) {
        return Ok(passed(format!("scheduled in {}", schedule.file.display())));
    }
    let gap = facts.home()?.free_gap_bytes;
    let text = format!("no schedule; {} of loom free", bytes(gap));
    match (gap >= LOW_GAP_BYTES, facts.setup.schedules.unread.first()) {
        (true, _) => Ok(passed(text)),
        (false, None) => Ok(failed(text)),
        (false, Some(unread)) => Err(format!("{text}, but {unread} may not be read")),
    }
}

/// An agent that takes much of a loom that is nearly full; what it computes only a capture tells.
fn apps(facts: &Facts) -> Result<Found, String> {
    const COMPUTE: &str = "which agents compute, a capture says";
    let Some(mass) = &facts.mass else {
        return Ok(not_applicable(COMPUTE));
    };
    let whole = mass.whole_bytes();
    let large = mass.agents().into_iter().filter(|agent| {
        suspend_apps::can_be_suspended(&agent.name)
            && ratio(agent.bytes, whole) >= LARGE_AGENT_RATIO
    });
    let named: Vec<String> = large
        .take(MOST_AGENTS)
        .map(|agent| format!("%{} {}", agent.name, bytes(agent.bytes)))
        .collect();
    if named.is_empty() {
        return Ok(not_applicable(format!(
            "no agent that can be suspended has 5 % of the memory; {COMPUTE}"
        )));
    }
    let text = format!("large in memory: {}", named.join(", "));
    match facts.home()?.free_gap_bytes >= LOW_GAP_BYTES {
        true => Ok(not_applicable(format!("{text}; {COMPUTE}"))),
        false => Ok(failed(format!("{text}, and the loom is nearly full"))),
    }
}

fn write_back(facts: &Facts) -> Result<Found, String> {
    let background = facts.sysctl("vm.dirty_background_ratio")?;
    let limit = facts.sysctl("vm.dirty_ratio")?;
    Ok(not_applicable(format!(
        "ratios {background} and {limit}; a capture says whether they wait"
    )))
}

fn ships(facts: &Facts) -> Result<Found, String> {
    let others = known(&facts.others)?;
    let text = match others.len() {
        0 => return Ok(passed("no other ship")),
        1 => "1 other ship".to_owned(),
        many => format!("{many} other ships"),
    };
    Ok(judged(
        others.len() + 1 < MANY_SHIPS,
        format!("{text}; what that costs, a capture says"),
    ))
}

fn baseline(facts: &Facts) -> Result<Found, String> {
    let References { directory, names } = known(&facts.baselines)?;
    let directory = directory.display();
    Ok(match names.first() {
        Some(first) => passed(format!("{} in {directory}, as {first}", names.len())),
        None => failed(format!("none in {directory}")),
    })
}
