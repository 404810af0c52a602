//! Entries for Ames and the network.

use super::*;

pub fn rows() -> Vec<Row> {
    let full = || {
        Replace(
            "proc/2386/limits",
            "Max open files            1048576",
            "Max open files            1",
        )
    };
    let speed = || Put("sys/class/net/eth0/speed", "100\n");
    let lost = |capture: &mut Capture| {
        for (_, totals) in &mut capture.totals.udp {
            totals.dropped = 9;
        }
    };
    let enough = || Put("proc/sys/net/core/rmem_max", "4194304\n");
    vec![
        row("ames-port", AlreadySo),
        row("ames-port", WouldHelp).rules(closed()),
        row("ames-port", CannotTell).rules(Reading::unknown("run as root")),
        row("bandwidth", WouldHelp)
            .edit(speed())
            .capture(carried(12_000_000))
            .leaf(Leaf::SendPath, 5),
        row("bandwidth", NoEvidence)
            .edit(speed())
            .capture(carried(1000)),
        row("bandwidth", CannotTell).capture(carried(1000)),
        row("bbr", NoEvidence),
        row("file-limits", AlreadySo),
        row("file-limits", WouldHelp).edit(full()),
        row("file-limits", CannotTell)
            .edit(Remove("proc/2385/limits"))
            .edit(Remove("proc/2386/limits")),
        row("geography", NoEvidence).sums(|summaries| {
            let Reading::Known(trips) = &mut summaries.ames.poke_round_trips else {
                panic!("the fixture measured them");
            };
            (trips.count, trips.p50_ns) = (7, Some(80_000_000));
        }),
        row("geography", CannotTell),
        row("rmem-max", AlreadySo).edit(enough()),
        row("rmem-max", WouldHelp).capture(lost),
        row("rmem-max", NoEvidence),
        row("rmem-max", CannotTell).edit(Remove("proc/sys/net/core/rmem_max")),
        row("tcp-buffers", NoEvidence),
    ]
}
