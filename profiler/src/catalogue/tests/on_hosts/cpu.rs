//! Entries for CPUs.

use super::*;

pub fn rows() -> Vec<Row> {
    let quota = || Put("sys/fs/cgroup/ships/cpu.max", "20000 100000\n");
    let waited = |row: Row| row.leaf(Leaf::RunQueue, 10);
    let of_others = |ahead_s| move |capture: &mut Capture| with_ships(capture, &["~nec"], ahead_s);
    let not_nice = |path| Replace(path, " 20 -5 ", " 20 -10 ");
    vec![
        row("affinity", AlreadySo),
        waited(one_cpu(row("affinity", WouldHelp))),
        one_cpu(row("affinity", NoEvidence)).leaf(Leaf::RunQueue, 0),
        row("affinity", CannotTell).edit(Remove("sys/devices/system/cpu/online")),
        row("cpu-quota", AlreadySo),
        row("cpu-quota", WouldHelp)
            .edit(quota())
            .leaf(Leaf::Throttled, 9),
        row("cpu-quota", NoEvidence).edit(quota()),
        row("cpu-quota", CannotTell).edit(NO_GROUPS),
        row("faster-cpu", WouldHelp).leaf(Leaf::Computing, 10),
        row("faster-cpu", NoEvidence).leaf(Leaf::Computing, 0),
        row("fewer-ships", AlreadySo).capture(|capture| with_ships(capture, &[], 0)),
        waited(row("fewer-ships", WouldHelp)).capture(of_others(4)),
        waited(row("fewer-ships", NoEvidence)).capture(of_others(0)),
        row("fewer-ships", CannotTell).capture(|capture| {
            capture.meta.neighbours = NeighbourFacts::not_kept();
        }),
        row("nice", AlreadySo)
            .edit(not_nice("proc/2385/stat"))
            .edit(not_nice("proc/2386/stat")),
        waited(row("nice", WouldHelp)).capture(of_others(4)),
        row("nice", NoEvidence).leaf(Leaf::RunQueue, 0),
        waited(row("nice", CannotTell)).capture(|capture| {
            capture.meta.neighbours = NeighbourFacts::not_kept();
        }),
        row("steal", AlreadySo),
        row("steal", WouldHelp).leaf(Leaf::Stolen, 5),
        row("steal", CannotTell).capture(|capture| {
            capture.meta.counters_end.scheduler = Reading::unknown("no");
        }),
        row("suspend-apps", WouldHelp)
            .leaf(Leaf::Computing, 10)
            .sums(hoon("/app/groups")),
        row("suspend-apps", NoEvidence)
            .leaf(Leaf::Computing, 10)
            .sums(hoon("/app/dojo")),
        row("suspend-apps", CannotTell).sums(|summaries| summaries.hoon = None),
    ]
}
