//! Another congestion control of TCP, which is advised everywhere and does nothing for Ames.

use super::{Answer, Assessment, Entry, Kind, Restart, Risk, Situation, Step, sysctl};
use crate::attribute::Cause;

/// The setting.
const SETTING: &str = "net.ipv4.tcp_congestion_control";

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "bbr",
    title: "leave TCP's congestion control (BBR) as it is",
    cause: Cause::Ames,
    shrinks: &[],
    why: "It is advised for ships again and again. Congestion control in the kernel is TCP's; Ames \
          is UDP and has its own, inside Arvo. Only the ship's HTTP uses TCP.",
    gain: "None: no stall of a ship is TCP's.",
    check: "the congestion control of TCP (net.ipv4.tcp_congestion_control)",
    answers: &[Kind::NoEvidence],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::None,
    source: "vere sends Ames in datagrams (pkg/vere/io/mesa.c, ames.c); Linux \
             Documentation/networking/ip-sysctl.rst: tcp_congestion_control is for TCP connections",
    apply: &[],
    undo: &[],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let current = sysctl(situation.meta(), SETTING);
    let answer = Assessment::without_change(
        Answer::NoEvidence,
        current.map(str::to_owned),
        "as it is",
        "no effect on Ames, which is UDP".to_owned(),
    );
    match current {
        Some(old) if old != "bbr" => {
            answer.or_try(Step::sysctl(SETTING, "bbr"), Step::sysctl(SETTING, old))
        }
        _ => answer,
    }
}
