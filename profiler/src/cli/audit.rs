//! `profile audit`: the checklist, without a capture. Loads no eBPF.

#[cfg(test)]
mod tests;

use std::path::Path;

use clap::Args;

use super::session::{loom_use, other_ships};
use super::{DONE, Format, INCOMPLETE, print};
use crate::audit::{self, BASELINES, Facts, Outcome};
use crate::host::block::disk_counters;
use crate::host::cgroup::throttling;
use crate::host::counters::uptime_ns;
use crate::host::firewall::Ruleset;
use crate::host::kernel::scheduler_counters;
use crate::host::net::udp_sockets;
use crate::host::process::Process;
use crate::host::{Reading, Roots, entry_names, firewall, host_facts};
use crate::render;
use crate::ship::{self, Selector, Ship, discover, loom};

const EXAMPLES: &str = "\
Examples:
  sudo profile audit                        the one ship that runs
  sudo profile audit --ship ~/zod           by its pier
  profile audit --format json               without root: some cannot be told

Exit status: 0 done, whatever was found, 1 failed, 2 wrong usage, 3 done but
something could not be told.";

/// Which ship, and how to print.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AuditArgs {
    /// The ship: its pier, its name (~zod), or the id of one of its processes. Left out: the one
    /// that runs.
    #[arg(long, value_name = "SHIP")]
    ship: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(arguments: &AuditArgs) -> anyhow::Result<u8> {
    let roots = Roots::default();
    let selector = Selector::of(arguments.ship.as_deref());
    let ship = discover(&roots, &selector)?;
    let rules = firewall::rules(&roots);
    let audit = audit::audit(&facts(&roots, ship, &rules));
    print(&match arguments.format {
        Format::Text => render::audit::text(&audit),
        Format::Json => render::audit::json(&audit)?,
    })?;
    Ok(match audit.count(Outcome::CannotTell) {
        0 => DONE,
        _ => INCOMPLETE,
    })
}

/// Reads all that the checks look at.
fn facts(roots: &Roots, ship: Ship, rules: &Reading<Ruleset>) -> Facts {
    let targets = ship.targets();
    let nock = Process::new(roots, targets.cgroup_member_tgid);
    let king = Process::new(roots, ship.king.tgid);
    Facts {
        host: host_facts(roots, &targets),
        setup: ship::setup(roots, &ship, rules),
        loom: loom::answer(roots, &ship),
        loom_use: loom_use(roots, &ship),
        pier_bytes: ship::log::pier_bytes(&ship.pier.reachable).map_or_else(
            || Reading::unknown("the pier holds too many files to sum up"),
            Reading::Known,
        ),
        others: other_ships(ship::ships(roots), &ship),
        mars_times: nock
            .schedstat()
            .map(|times| (times.sum_exec_runtime, times.run_delay))
            .into(),
        disks: disk_counters(roots).into(),
        scheduler: scheduler_counters(roots).into(),
        up_ns: uptime_ns(roots).into(),
        throttled: throttling(roots, &nock).map(|levels| {
            let most = levels
                .iter()
                .max_by_key(|level| level.throttled_periods_total);
            most.map_or((0, 0), |level| {
                (level.throttled_periods_total, level.periods_total)
            })
        }),
        lost_datagrams: udp_sockets(&king)
            .map(|sockets| sockets.iter().map(|socket| socket.drops_total).sum())
            .into(),
        baselines: baselines(roots),
        ship,
    }
}

fn baselines(roots: &Roots) -> Reading<Vec<String>> {
    match entry_names(&roots.host_path(Path::new(BASELINES))) {
        Ok(names) => Reading::Known(
            names
                .iter()
                .map(|name| name.to_string_lossy().into_owned())
                .collect(),
        ),
        Err(error) if error.is_absent() => Reading::Known(Vec::new()),
        Err(error) => Reading::unknown(error.to_string()),
    }
}
