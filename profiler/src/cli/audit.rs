//! `profile audit`: the checklist, without a capture. Loads no eBPF.

#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use super::readings::{loom_use, other_ships};
use super::{DONE, Format, INCOMPLETE, print};
use crate::audit::{self, Facts, Outcome, References};
use crate::baselines::{self, Baselines};
use crate::host::block::disk_counters;
use crate::host::cgroup::throttling;
use crate::host::counters::uptime_ns;
use crate::host::firewall::Ruleset;
use crate::host::kernel::scheduler_counters;
use crate::host::net::udp_sockets;
use crate::host::process::Process;
use crate::host::{Reading, Roots, firewall, host_facts};
use crate::mass::{self, Mass};
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
    /// What lies in its memory, as `profile mass --output FILE` keeps it: for the checks of packing and of
    /// apps.
    #[arg(long, value_name = "FILE")]
    mass: Option<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(arguments: &AuditArgs) -> anyhow::Result<u8> {
    let roots = Roots::default();
    let selector = Selector::of(arguments.ship.as_deref());
    let ship = discover(&roots, &selector)?;
    let mass = match &arguments.mass {
        Some(path) => Some(read_mass(path, &ship)?),
        None => None,
    };
    let rules = firewall::rules(&roots);
    let mut facts = facts(&roots, ship, &rules);
    facts.mass = mass;
    let audit = audit::audit(&facts);
    print(&match arguments.format {
        Format::Text => render::audit::text(&audit),
        Format::Json => render::audit::json(&audit)?,
    })?;
    Ok(match audit.count(Outcome::CannotTell) {
        0 => DONE,
        _ => INCOMPLETE,
    })
}

/// Most of an account that is read: as JSON a ship of a hundred agents has some hundred KiB.
const MAX_MASS_BYTES: u64 = 16 << 20;

/// What `profile mass` kept of this ship.
fn read_mass(path: &Path, ship: &Ship) -> anyhow::Result<Mass> {
    let name = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {name}"))?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_MASS_BYTES + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {name}"))?;
    ensure!(
        bytes.len() as u64 <= MAX_MASS_BYTES,
        "{name} is larger than any account of a ship's memory"
    );
    let mass: Mass = serde_json::from_slice(&bytes)
        .with_context(|| format!("{name} is not what `profile mass --output` writes"))?;
    if mass.schema_version != mass::SCHEMA_VERSION {
        bail!(
            "{name} is of version {}, only {} is known",
            mass.schema_version,
            mass::SCHEMA_VERSION
        );
    }
    ensure!(
        mass.ship == ship.label(),
        "{name} is of the ship {}, not of {}",
        mass.ship,
        ship.label()
    );
    Ok(mass)
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
        baselines: references(roots),
        mass: None,
        ship,
    }
}

/// Those of root, and where this is somebody else, theirs.
fn references(roots: &Roots) -> Reading<References> {
    let own = super::baseline::default_directory();
    let of_root = Path::new(baselines::DIRECTORY_OF_ROOT);
    let mut unread = None;
    for directory in own.as_deref().into_iter().chain([of_root]) {
        match Baselines::new(roots.host_path(directory)).names() {
            Ok(names) if names.is_empty() => {}
            Ok(names) => {
                let directory = directory.to_owned();
                return Reading::Known(References { directory, names });
            }
            Err(error) => unread = Some(error),
        }
    }
    match unread {
        Some(error) => Reading::unknown(error.to_string()),
        None => Reading::Known(References {
            directory: own.unwrap_or_else(|| of_root.to_owned()),
            names: Vec::new(),
        }),
    }
}
