//! Room for datagrams that arrive while the king is busy.

use super::{
    Assessment, Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step, is_at_least,
    keep_sysctls, place, sysctl,
};
use crate::attribute::Cause;

/// What vere asks for since v3.2 (`pkg/vere/io/mesa.c:2644`).
pub const ASKED_BYTES: u64 = 2 << 20;

/// The first version that asks.
const ASKS_SINCE: (u32, u32) = (3, 2);
/// A file of our own: others may be there already.
const KEPT_IN: &str = "/etc/sysctl.d/90-profile-ship-buffers.conf";

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "rmem-max",
    title: "let the ship have the 2 MiB socket buffers it asks for",
    cause: Cause::Ames,
    shrinks: &[],
    why: "Datagrams that arrive while the king is busy wait in the socket's buffer; what does \
          not fit is lost.",
    gain: "At most all datagrams that were lost at the full buffer; at least none, because a \
           king that is always too slow fills any buffer. Larger limits are never lowered.",
    check: "net.core.rmem_max and wmem_max, the buffer of the ship's socket, datagrams lost at it",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::Ship,
    risk: Risk::None,
    source: "vere v3.2 and later asks for 2 MiB (pkg/vere/io/mesa.c), and the kernel cuts that to \
             net.core.rmem_max; socket(7)",
    apply: &[
        "sysctl -w net.core.rmem_max=2097152 net.core.wmem_max=2097152",
        "printf 'net.core.rmem_max=2097152\\nnet.core.wmem_max=2097152\\n' > \
         /etc/sysctl.d/90-profile-ship-buffers.conf",
        "restart the ship",
    ],
    undo: &[
        "sysctl -w net.core.rmem_max=OLD net.core.wmem_max=OLD",
        "rm /etc/sysctl.d/90-profile-ship-buffers.conf",
    ],
    assess,
};

fn assess(situation: &Situation<'_>) -> Assessment {
    let limit = number(situation, "net.core.rmem_max");
    let udp = situation.summaries.udp.as_ref();
    let buffer = udp.and_then(|udp| udp.receive_buffer_bytes);
    let current = limit.map(|limit| match buffer {
        Some(buffer) => format!("rmem_max {limit}, socket {buffer}"),
        None => format!("rmem_max {limit}"),
    });
    let setting = Setting::new(current, format!("rmem_max and wmem_max {ASKED_BYTES}"));
    let (Some(udp), Some(limit)) = (udp, limit) else {
        return setting.cannot_tell("the ship's socket or the limit is not known");
    };
    let Some(dropped) = udp.dropped else {
        return setting.cannot_tell("lost datagrams could not be counted");
    };
    if is_at_least(situation.meta().ship.version.as_deref(), ASKS_SINCE) != Some(true) {
        return setting.cannot_tell(
            "vere before 3.2 never asks for a larger buffer, and this ship's version is older or \
             unknown",
        );
    }
    let enough = buffer.is_none_or(|buffer| buffer >= ASKED_BYTES);
    if limit >= ASKED_BYTES && enough {
        let lost = match dropped {
            0 => "",
            _ => "; what is lost is lost for other reasons",
        };
        return setting.already_so(format!("the ship has what it asks for{lost}"));
    }
    if dropped == 0 {
        return setting.no_evidence("no datagram was lost at a full buffer");
    }
    // A longer queue takes a burst; it does not help a king that is always too slow.
    let gain = Gain::Datagrams {
        low: 0,
        high: dropped,
    };
    if limit >= ASKED_BYTES {
        let reason = format!(
            "{dropped} datagrams lost; the limit allows 2 MiB by now, but the ship's socket is older"
        );
        return setting.would_help(gain, reason, vec![place::restart(situation)], Vec::new());
    }
    let reason =
        format!("{dropped} datagrams lost at a buffer smaller than the 2 MiB that vere asks for");
    let (apply, undo) = raise(situation, limit);
    setting.would_help(gain, reason, apply, undo)
}

/// A kernel setting as a number.
fn number(situation: &Situation<'_>, name: &str) -> Option<u64> {
    sysctl(situation.meta(), name)?.parse().ok()
}

/// Raises both limits, and takes that back.
fn raise(situation: &Situation<'_>, limit: u64) -> (Vec<Step>, Vec<Step>) {
    let wmem = number(situation, "net.core.wmem_max");
    let set = |receive: u64, send: Option<u64>| {
        let receive = Step::sysctl("net.core.rmem_max", receive);
        let send = send.map(|send| Step::sysctl("net.core.wmem_max", send));
        std::iter::once(receive).chain(send)
    };
    // Never less than they are.
    let (receive, send) = (
        limit.max(ASKED_BYTES),
        wmem.map(|wmem| wmem.max(ASKED_BYTES)),
    );
    let keep = keep_sysctls(
        KEPT_IN,
        &[
            ("net.core.rmem_max", receive.to_string()),
            ("net.core.wmem_max", send.unwrap_or(ASKED_BYTES).to_string()),
        ],
    );
    let forget = Step::command(format!("rm {KEPT_IN}"));
    (
        set(receive, send)
            .chain([keep, place::restart(situation)])
            .collect(),
        set(limit, wmem).chain([forget]).collect(),
    )
}
