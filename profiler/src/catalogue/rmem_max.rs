//! Room for datagrams that arrive while the king is busy.

use super::{
    Answer, Assessment, Entry, Gain, Kind, Restart, Risk, Situation, Step, is_at_least,
    keep_sysctls, place,
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
    let sysctls = &situation.meta().host.kernel.sysctls;
    let limit: Option<u64> = sysctls
        .get("net.core.rmem_max")
        .and_then(|value| value.known()?.parse().ok());
    let udp = situation.summaries.udp.as_ref();
    let buffer = udp.and_then(|udp| udp.receive_buffer_bytes);
    let current = limit.map(|limit| match buffer {
        Some(buffer) => format!("rmem_max {limit}, socket {buffer}"),
        None => format!("rmem_max {limit}"),
    });
    let proposed = format!("rmem_max and wmem_max {ASKED_BYTES}");
    let without =
        |answer, reason| Assessment::without_change(answer, current.clone(), &proposed, reason);
    let (Some(udp), Some(limit)) = (udp, limit) else {
        return without(
            Answer::CannotTell,
            "the ship's socket or the limit is not known".to_owned(),
        );
    };
    let Some(dropped) = udp.dropped else {
        return without(
            Answer::CannotTell,
            "lost datagrams could not be counted".to_owned(),
        );
    };
    if is_at_least(situation.meta().ship.version.as_deref(), ASKS_SINCE) != Some(true) {
        return without(
            Answer::CannotTell,
            "vere before 3.2 never asks for a larger buffer, and this ship's version is older or \
             unknown"
                .to_owned(),
        );
    }
    let enough = buffer.is_none_or(|buffer| buffer >= ASKED_BYTES);
    if limit >= ASKED_BYTES && enough {
        let lost = if dropped == 0 {
            ""
        } else {
            "; what is lost is lost for other reasons"
        };
        return without(
            Answer::AlreadySo,
            format!("the ship has what it asks for{lost}"),
        );
    }
    if dropped == 0 {
        return without(
            Answer::NoEvidence,
            "no datagram was lost at a full buffer".to_owned(),
        );
    }
    let restart_only = limit >= ASKED_BYTES;
    let reason = if restart_only {
        format!(
            "{dropped} datagrams lost; the limit allows 2 MiB by now, but the ship's socket is older"
        )
    } else {
        format!("{dropped} datagrams lost at a buffer smaller than the 2 MiB that vere asks for")
    };
    let wmem: Option<u64> = sysctls
        .get("net.core.wmem_max")
        .and_then(|value| value.known()?.parse().ok());
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
    let restart = || place::restart(situation);
    Assessment {
        // A longer queue takes a burst; it does not help a king that is always too slow.
        answer: Answer::WouldHelp(Gain::Datagrams {
            low: 0,
            high: dropped,
        }),
        current,
        proposed: proposed.clone(),
        reason,
        apply: if restart_only {
            vec![restart()]
        } else {
            set(receive, send).chain([keep, restart()]).collect()
        },
        undo: if restart_only {
            Vec::new()
        } else {
            let forget = Step::command(format!("rm {KEPT_IN}"));
            set(limit, wmem).chain([forget]).collect()
        },
        ..Assessment::default()
    }
}
