//! Memory: the host's, and the ship's loom.

use super::{Declaration, Facts, Found, declare, failed, judged, known, not_applicable, passed};
use crate::attribute::ratio;
use crate::catalogue::loom_size;
use crate::report::units::{bytes, count};
use crate::report::{LOW_GAP_BYTES, MANY_MAPPINGS_RATIO};

/// Memory in use above this is a symptom (requirements of the field).
const FULL_RATIO: f64 = 0.8;
/// Swap in use above this is one.
const SWAPPED_RATIO: f64 = 0.5;
/// The swappiness that the field advises.
const WANTED_SWAPPINESS: u64 = 10;

pub(super) const CHECKS: &[Declaration] = &[
    declare("ram", "memory below 80 % in use", Some("ram"), ram),
    declare("memory-limit", "no memory limit near", Some("ram"), limit),
    declare("swap", "swap below half in use", Some("swap-off"), swap),
    declare("swappiness", "swappiness", Some("swappiness"), swappiness),
    declare("thp", "no huge pages in the loom", Some("thp"), huge_pages),
    declare("loom-size", "loom large enough", Some("loom-size"), loom),
    declare(
        "loom-mapped",
        "loom fits RAM and swap",
        Some("loom-size"),
        loom_fits,
    ),
    declare(
        "max-map-count",
        "mappings far from their limit",
        Some("max-map-count"),
        mappings,
    ),
];

fn ram(facts: &Facts) -> Result<Found, String> {
    let memory = known(&facts.host.kernel.memory)?;
    let available = memory
        .available_bytes
        .ok_or("the kernel does not say what is free")?;
    let used = 1.0 - ratio(available, memory.total_bytes);
    let text = format!(
        "{} of {} can be had",
        bytes(available),
        bytes(memory.total_bytes)
    );
    Ok(judged(used < FULL_RATIO, text))
}

fn limit(facts: &Facts) -> Result<Found, String> {
    known(&facts.host.cgroup.memory_limits)?;
    let Some(limit) = facts.host.cgroup.tightest_memory_limit() else {
        return Ok(not_applicable("the ship's control group has none"));
    };
    let used = *known(&limit.used_bytes)?;
    // Page cache is in it, which goes when something needs the room: only a full one says something.
    let share = ratio(used, limit.limit_bytes);
    let text = format!("{} of {} used", bytes(used), bytes(limit.limit_bytes));
    Ok(judged(share < 1.0 - f64::EPSILON, text))
}

fn swap(facts: &Facts) -> Result<Found, String> {
    let memory = known(&facts.host.kernel.memory)?;
    if memory.swap_total_bytes == 0 {
        return Ok(not_applicable("there is no swap"));
    }
    let used = memory
        .swap_total_bytes
        .saturating_sub(memory.swap_free_bytes);
    let share = ratio(used, memory.swap_total_bytes);
    let text = format!(
        "{} of {} in use",
        bytes(used),
        bytes(memory.swap_total_bytes)
    );
    Ok(judged(share <= SWAPPED_RATIO, text))
}

fn swappiness(facts: &Facts) -> Result<Found, String> {
    let memory = known(&facts.host.kernel.memory)?;
    if memory.swap_total_bytes == 0 {
        return Ok(not_applicable("there is no swap"));
    }
    let value = facts.sysctl("vm.swappiness")?;
    if value <= WANTED_SWAPPINESS {
        return Ok(passed(value.to_string()));
    }
    let mut swapped = 0_u64;
    for process in facts.host.processes.values() {
        swapped = swapped.saturating_add(*known(&known(process)?.swapped_bytes)?);
    }
    let text = format!(
        "{value}, and {} of the ship are swapped out",
        bytes(swapped)
    );
    Ok(judged(swapped == 0, text))
}

fn huge_pages(facts: &Facts) -> Result<Found, String> {
    let value = known(&facts.host.kernel.transparent_huge_pages)?;
    if value != "always" {
        return Ok(passed(format!("{value}: vere asks for none")));
    }
    let huge = known(&facts.loom_use)?.huge_bytes;
    Ok(judged(
        huge == 0,
        format!("always, and {} of the loom are", bytes(huge)),
    ))
}

fn loom(facts: &Facts) -> Result<Found, String> {
    let home = facts.home()?;
    let config = facts.ship.config.as_ref();
    let bex = config.and_then(|config| config.loom_bex);
    let text = format!(
        "--loom {}: {} of heap, {} free",
        bex.unwrap_or(loom_size::DEFAULT_BEX),
        bytes(home.heap_bytes),
        bytes(home.free_gap_bytes)
    );
    Ok(judged(home.free_gap_bytes >= LOW_GAP_BYTES, text))
}

fn loom_fits(facts: &Facts) -> Result<Found, String> {
    let config = facts
        .ship
        .config
        .as_ref()
        .ok_or("the ship has no Nock process")?;
    let bex = config.loom_bex.unwrap_or(loom_size::DEFAULT_BEX);
    let size = 1_u64
        .checked_shl(u32::from(bex))
        .ok_or("its --loom makes no sense")?;
    let memory = known(&facts.host.kernel.memory)?;
    let room = memory.total_bytes.saturating_add(memory.swap_total_bytes);
    let text = format!("{} in {} of RAM and swap", bytes(size), bytes(room));
    if size <= room {
        return Ok(passed(text));
    }
    // It runs, so it was let in: by overcommit, or before memory was taken away.
    Ok(match facts.sysctl("vm.overcommit_memory")? {
        1 => passed(format!("{text}; vm.overcommit_memory 1 lets it start")),
        _ => failed(format!("{text}: it may not start again")),
    })
}

fn mappings(facts: &Facts) -> Result<Found, String> {
    let mars = facts
        .ship
        .mars
        .as_ref()
        .ok_or("the ship has no Nock process")?;
    let process = facts
        .host
        .processes
        .get(&mars.tgid)
        .ok_or("mars was not read")?;
    let mappings = *known(&known(process)?.mappings_total)?;
    let limit = facts.sysctl("vm.max_map_count")?;
    let text = format!("mars has {} of {}", count(mappings), count(limit));
    Ok(judged(ratio(mappings, limit) < MANY_MAPPINGS_RATIO, text))
}
