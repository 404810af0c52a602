//! Room for datagrams that arrive while the king is busy.

use super::{Answer, Assessment, Entry, Gain, Restart, Risk, Situation};

/// What vere asks for since v3.2 (`pkg/vere/io/mesa.c:2644`).
const ASKED_BYTES: u64 = 2 << 20;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "rmem-max",
    title: "let the ship have the 2 MiB socket buffers it asks for",
    shrinks: &[],
    restart: Restart::Ship,
    risk: Risk::None,
    source: "vere v3.2 and later asks for 2 MiB (pkg/vere/io/mesa.c), and the kernel cuts that to \
             net.core.rmem_max; socket(7)",
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
    let set = |value: u64| format!("sysctl -w net.core.rmem_max={value} net.core.wmem_max={value}");
    let keep = format!(
        "printf 'net.core.rmem_max={ASKED_BYTES}\\nnet.core.wmem_max={ASKED_BYTES}\\n' \
         > /etc/sysctl.d/90-urbit.conf"
    );
    let wmem = sysctls
        .get("net.core.wmem_max")
        .and_then(|value| value.known()?.parse().ok());
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
            vec!["restart the ship".to_owned()]
        } else {
            vec![set(ASKED_BYTES), keep]
        },
        undo: if restart_only {
            Vec::new()
        } else {
            vec![
                format!(
                    "sysctl -w net.core.rmem_max={limit} net.core.wmem_max={}",
                    wmem.unwrap_or(limit)
                ),
                "rm /etc/sysctl.d/90-urbit.conf".to_owned(),
            ]
        },
    }
}
