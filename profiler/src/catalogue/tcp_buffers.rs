//! Buffers of TCP, which are advised with those of UDP and do nothing for Ames.

use super::{Assessment, Entry, Kind, Restart, Risk, Setting, Situation, sysctl};
use crate::attribute::Cause;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "tcp-buffers",
    title: "leave TCP's buffers as they are",
    cause: Cause::Ames,
    shrinks: &[],
    why: "\"TCP tuning\" is advised for a slow Ames. Ames is UDP; only the ship's HTTP uses TCP, whose \
          buffers the kernel sizes by itself. The buffer that Ames has is net.core.rmem_max: \
          profile catalogue rmem-max.",
    gain: "None: no stall of a ship is TCP's.",
    check: "net.ipv4.tcp_rmem and tcp_wmem",
    answers: &[Kind::NoEvidence],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::None,
    source: "Linux Documentation/networking/ip-sysctl.rst (tcp_moderate_rcvbuf); vere sends Ames in \
             datagrams (pkg/vere/io/mesa.c)",
    apply: &[],
    undo: &[],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let of = |name| sysctl(situation.meta(), name).map(|value| value.replace('\t', " "));
    let current = of("net.ipv4.tcp_rmem").map(|receive| match of("net.ipv4.tcp_wmem") {
        Some(send) => format!("tcp_rmem {receive}, tcp_wmem {send}"),
        None => format!("tcp_rmem {receive}"),
    });
    Setting::new(current, "as they are").no_evidence("no effect on Ames, which is UDP")
}
