//! Entries for memory.

use super::*;

pub fn rows() -> Vec<Row> {
    let swapped = |row: Row| row.leaf(Leaf::SwapIn, 5);
    let short = || {
        Replace(
            "proc/meminfo",
            "MemAvailable: 14000000",
            "MemAvailable: 1000",
        )
    };
    let always = || {
        Put(
            "sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never\n",
        )
    };
    let old = |capture: &mut Capture| capture.meta.ship.version = Some("3.2".to_owned());
    let small = || Replace("proc/meminfo", "MemTotal: 16000000", "MemTotal: 2000000");
    let count = |count| move |capture: &mut Capture| mappings(capture, count);
    let mut rows = vec![
        row("loom-size", AlreadySo).gap(100).edit(Replace(
            "proc/2386/cmdline",
            "\x0031\0",
            "\x0034\0",
        )),
        row("loom-size", WouldHelp).gap(100),
        row("loom-size", NoEvidence).gap(1500),
        row("loom-size", WouldHarm).gap(100).edit(small()),
        row("loom-size", CannotTell).no_loom(),
        row("max-map-count", AlreadySo).edit(Put("proc/sys/vm/max_map_count", "262144\n")),
        row("max-map-count", WouldHelp).capture(count(40_000)),
        row("max-map-count", NoEvidence).capture(count(100)),
        row("max-map-count", CannotTell).edit(Remove("proc/sys/vm/max_map_count")),
        row("meld", WouldHelp).gap(100).space(10, 90_000),
        row("meld", NoEvidence).gap(1500),
        row("meld", WouldHarm)
            .gap(100)
            .space(10, 90_000)
            .edit(short())
            .capture(old),
        row("meld", CannotTell).no_loom(),
        row("pack", WouldHelp).gap(100).space(10, 90_000),
        row("pack", NoEvidence).gap(1500),
        row("pack", WouldHarm).gap(100).space(10, 100),
        row("pack", CannotTell).no_loom(),
        swapped(row("ram", WouldHelp)).edit(short()),
        row("ram", NoEvidence),
        swapped(row("ram", CannotTell)).edit(Remove("proc/meminfo")),
        row("swap-off", AlreadySo),
        swapped(row("swap-off", WouldHelp)).edit(SWAP),
        row("swap-off", NoEvidence).edit(SWAP),
        swapped(row("swap-off", WouldHarm)).edit(SWAP).edit(short()),
        row("swap-off", CannotTell).edit(Remove("proc/meminfo")),
        row("swappiness", AlreadySo)
            .edit(SWAP)
            .edit(Put("proc/sys/vm/swappiness", "10\n")),
        swapped(row("swappiness", WouldHelp)).edit(SWAP),
        row("swappiness", NoEvidence).edit(SWAP),
        swapped(row("swappiness", WouldHarm))
            .edit(SWAP)
            .leaf(Leaf::PageInAfterEviction, 9),
        row("swappiness", CannotTell)
            .edit(SWAP)
            .edit(Remove("proc/sys/vm/swappiness")),
        row("thp", AlreadySo),
        row("thp", WouldHelp)
            .edit(always())
            .leaf(Leaf::Compaction, 5),
        row("thp", NoEvidence).edit(always()),
        row("thp", CannotTell).edit(Remove("sys/kernel/mm/transparent_hugepage/enabled")),
    ];
    for (id, kind) in [
        ("pack-schedule", SpanKind::Pack),
        ("meld-schedule", SpanKind::Meld),
    ] {
        rows.extend([
            row(id, AlreadySo).gap(1500).edit(CRON),
            row(id, WouldHelp).gap(100),
            row(id, NoEvidence).gap(1500),
            row(id, WouldHarm).gap(1500).edit(CRON).sums(stopped(kind)),
            row(id, CannotTell).no_loom(),
        ]);
    }
    rows
}
