//! How a ship is set up on its host, beside what every capture needs: who runs it, what is scheduled,
//! what may reach it, and what it takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Ship;
use super::log::{LogUse, log_use};
use crate::host::firewall::{PortFilter, Ruleset, judge};
use crate::host::interfaces::speeds;
use crate::host::process::Process;
use crate::host::runner::{Runner, runner};
use crate::host::schedules::{Schedules, schedules};
use crate::host::{ReadError, Reading, Roots};

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// What runs the ship.
    pub runner: Reading<Runner>,
    /// What packs or melds by the calendar.
    pub schedules: Schedules,
    /// What becomes of unasked datagrams to each of the ship's ports.
    pub ports: Reading<Vec<PortFilter>>,
    /// The port that the king was started with (`-p`); nothing if it takes any.
    pub chosen_port: Reading<Option<u16>>,
    /// Event log and snapshot.
    pub log: Reading<LogUse>,
    /// Open files of each of the ship's processes.
    pub open_files: BTreeMap<u32, Reading<FileUse>>,
    /// Bits a second of the interfaces that say so.
    pub interface_speeds: BTreeMap<String, u64>,
}

/// Open files of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileUse {
    /// How many it has.
    pub open: u64,
    /// How many it may have (the soft limit); nothing if there is no limit.
    pub limit: Option<u64>,
}

impl Setup {
    /// Of captures that do not hold it.
    pub fn not_kept() -> Reading<Self> {
        Reading::unknown("this capture does not hold how the ship is set up")
    }
}

/// Reads it. `rules` are those of the packet filter.
pub fn setup(roots: &Roots, ship: &Ship, rules: &Reading<Ruleset>) -> Setup {
    let king = Process::new(roots, ship.king.tgid);
    let member = Process::new(roots, ship.targets().cgroup_member_tgid);
    Setup {
        runner: run_by(roots, ship, &member).into(),
        schedules: schedules(roots),
        ports: ports(roots, ship, &king, rules),
        chosen_port: king.arguments().map(|all| chosen_port(&all)).into(),
        log: log_use(&ship.pier.reachable).into(),
        open_files: ship
            .tgids()
            .into_iter()
            .map(|tgid| (tgid, file_use(&Process::new(roots, tgid)).into()))
            .collect(),
        interface_speeds: speeds(roots),
    }
}

/// What runs the ship. One in namespaces of its own whose group tells nothing is in some container.
fn run_by(roots: &Roots, ship: &Ship, member: &Process) -> Result<Runner, ReadError> {
    let name = ship.name.as_ref().map(|name| name.text.as_str());
    let found = runner(roots, member, name)?;
    let hidden = found == Runner::Bare && ship.in_container.known() == Some(&true);
    Ok(match hidden {
        true => Runner::Container {
            what: "of a kind that its control group does not tell".to_owned(),
        },
        false => found,
    })
}

fn ports(
    roots: &Roots,
    ship: &Ship,
    king: &Process,
    rules: &Reading<Ruleset>,
) -> Reading<Vec<PortFilter>> {
    let own = Process::own(roots).namespace("net");
    match (own, king.namespace("net")) {
        (Ok(own), Ok(kings)) if own != kings => {
            return Reading::unknown(
                "the ship has a network of its own: what reaches it is decided by who made that",
            );
        }
        (Ok(_), Ok(_)) => {}
        (Err(error), _) | (_, Err(error)) => return Reading::unknown(error.to_string()),
    }
    match (rules, &ship.udp_ports) {
        (Reading::Known(rules), Reading::Known(ports)) => Reading::Known(
            ports
                .iter()
                .map(|&port| PortFilter {
                    port,
                    answer: judge(rules, port),
                })
                .collect(),
        ),
        (Reading::Unknown { reason }, _) | (_, Reading::Unknown { reason }) => {
            Reading::unknown(reason.clone())
        }
    }
}

/// The value of `-p` or `--port` (vere `pkg/vere/main.c`).
fn chosen_port(arguments: &[String]) -> Option<u16> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let value = match argument.as_str() {
            "-p" | "--port" => arguments.next().map(String::as_str),
            other => other
                .strip_prefix("--port=")
                .or_else(|| other.strip_prefix("-p")),
        };
        if let Some(port) = value.and_then(|value| value.parse().ok()) {
            return Some(port);
        }
    }
    None
}

fn file_use(process: &Process) -> Result<FileUse, ReadError> {
    use procfs_core::process::LimitValue;
    let limit = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Unlimited => None,
        LimitValue::Value(limit) => Some(limit),
    };
    Ok(FileUse {
        open: process.open_files()?.len() as u64,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_what_the_king_was_started_with() {
        for (arguments, port) in [
            ("urbit -p 34343 zod", Some(34343)),
            ("urbit -p34543 zod", Some(34543)),
            ("urbit --port=13337 zod", Some(13337)),
            ("urbit -c zod", None),
            ("urbit -p", None),
        ] {
            let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
            assert_eq!(chosen_port(&arguments), port, "{arguments:?}");
        }
    }
}
