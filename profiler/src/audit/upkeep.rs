//! Upkeep: snapshots, packing, other ships, and whether there is something to compare with.

use super::{
    BASELINES, Declaration, Facts, Found, declare, failed, judged, known, not_applicable, passed,
};
use crate::host::schedules::Schedule;
use crate::model::NS_PER_S;
use crate::report::LOW_GAP_BYTES;
use crate::report::units::{bytes, duration};
use crate::ship::Generation;

/// More ships than this want another host (requirements of the field).
const MANY_SHIPS: usize = 10;
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
        command: Some(
            "mkdir -p /var/lib/profile/baselines; sudo profile -o /var/lib/profile/baselines/NAME",
        ),
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

fn pack(facts: &Facts) -> Result<Found, String> {
    by_need(facts, |schedule| schedule.packs)
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

fn apps(_facts: &Facts) -> Result<Found, String> {
    Ok(not_applicable("which agents compute, a capture says"))
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
    let names = known(&facts.baselines)?;
    Ok(match names.first() {
        Some(first) => passed(format!("{} in {BASELINES}, as {first}", names.len())),
        None => failed(format!("none in {BASELINES}")),
    })
}
