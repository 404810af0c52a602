//! The network: the ship's port and its buffers.

use super::{Declaration, Facts, Found, declare, failed, judged, known, not_applicable, passed};
use crate::attribute::ratio;
use crate::catalogue::{ames_port, file_limits, rmem_max};
use crate::host::firewall::PortAnswer;
use crate::report::MANY_FILES_RATIO;
use crate::report::units::{bytes, count};

pub(super) const CHECKS: &[Declaration] = &[
    declare("ames-port", "UDP port open", Some("ames-port"), port),
    declare(
        "ames-port-fixed",
        "UDP port stays the same",
        Some("ames-port"),
        fixed_port,
    ),
    declare(
        "rmem-max",
        "socket buffer of 2 MiB",
        Some("rmem-max"),
        buffers,
    ),
    declare("tcp", "TCP settings", Some("bbr"), tcp),
    declare(
        "file-limits",
        "open files far from the limit",
        Some("file-limits"),
        files,
    ),
];

fn port(facts: &Facts) -> Result<Found, String> {
    let filters = known(&facts.setup.ports)?;
    if filters.is_empty() {
        return Err("the ship has no UDP socket".to_owned());
    }
    for filter in filters {
        match &filter.answer {
            PortAnswer::Closed { chain } => {
                return Ok(failed(format!(
                    "{chain} drops what comes unasked to {}",
                    filter.port
                )));
            }
            PortAnswer::Unclear { chain } => {
                return Err(format!(
                    "{chain} decides by more than the port {}",
                    filter.port
                ));
            }
            PortAnswer::Open => {}
        }
    }
    Ok(passed(format!(
        "{}: no rule of this host drops it; a provider's filter cannot be seen",
        ames_port::ports(filters)
    )))
}

/// A port that changes at each start cannot be opened in a firewall for good.
fn fixed_port(facts: &Facts) -> Result<Found, String> {
    Ok(match known(&facts.setup.chosen_port)? {
        Some(port) => passed(format!("-p {port}")),
        None => failed("without -p the next start takes another"),
    })
}

fn buffers(facts: &Facts) -> Result<Found, String> {
    let limit = facts.sysctl("net.core.rmem_max")?;
    let sockets = known(&facts.host.udp_buffers)?;
    // The kernel counts twice what was granted (socket(7)).
    let smallest = sockets
        .iter()
        .map(|socket| socket.receive_buffer_bytes / 2)
        .min();
    let socket = smallest.ok_or("the ship has no UDP socket")?;
    let drops = facts_drops(facts);
    let text = format!("rmem_max {}, socket {}{drops}", bytes(limit), bytes(socket));
    Ok(judged(
        limit >= rmem_max::ASKED_BYTES && socket >= rmem_max::ASKED_BYTES,
        text,
    ))
}

fn facts_drops(facts: &Facts) -> String {
    match &facts.lost_datagrams {
        crate::host::Reading::Known(lost) => format!(", {} lost so far", count(*lost)),
        crate::host::Reading::Unknown { .. } => String::new(),
    }
}

fn tcp(facts: &Facts) -> Result<Found, String> {
    let control = facts
        .host
        .kernel
        .sysctls
        .get("net.ipv4.tcp_congestion_control");
    let control = control.and_then(|value| value.known());
    let control = control.map_or("unknown", String::as_str);
    Ok(not_applicable(format!(
        "{control}: Ames is UDP, and none of it concerns that"
    )))
}

fn files(facts: &Facts) -> Result<Found, String> {
    let mut uses = Vec::new();
    for files in facts.setup.open_files.values() {
        uses.push(*known(files)?);
    }
    let Some((open, limit)) = file_limits::fullest(uses.iter()) else {
        return Ok(passed("no limit"));
    };
    let text = format!("{} of {} open", count(open), count(limit));
    Ok(judged(ratio(open, limit) < MANY_FILES_RATIO, text))
}
