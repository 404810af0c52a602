//! Checks of the disk.

use super::*;

pub fn rows() -> Vec<Row> {
    let rotational = "sys/devices/pci0/ata1/block/sda/queue/rotational";
    vec![
        Row("storage-class", Passed, vec![], same),
        Row("storage-class", Failed, vec![Put(rotational, "1\n")], same),
        Row("storage-class", NotApplicable, vec![], |facts| {
            facts.host.storage.backing = Backing::Memory;
        }),
        Row("storage-class", CannotTell, vec![], |facts| {
            facts.host.storage.backing = Backing::Network;
        }),
        Row("iowait", Passed, vec![], same),
        Row(
            "iowait",
            Failed,
            vec![Replace("proc/stat", "390000 100", "390000 90000")],
            same,
        ),
        Row("iowait", CannotTell, vec![Remove("proc/stat")], same),
        Row("io-scheduler", Passed, vec![], same),
        Row(
            "io-scheduler",
            Failed,
            vec![Put(
                "sys/devices/pci0/ata1/block/sda/queue/scheduler",
                "[bfq] none\n",
            )],
            same,
        ),
        Row("io-scheduler", NotApplicable, vec![], |facts| {
            facts.host.storage.backing = Backing::Memory;
        }),
        Row(
            "io-scheduler",
            CannotTell,
            vec![Remove("sys/devices/pci0/ata1/block/sda/queue/scheduler")],
            same,
        ),
        Row("mount-options", Passed, vec![], same),
        Row(
            "mount-options",
            Failed,
            vec![Replace("proc/2386/mountinfo", "rw,relatime", "rw")],
            same,
        ),
        Row(
            "mount-options",
            CannotTell,
            vec![Remove("proc/2386/mountinfo")],
            same,
        ),
        Row("disk-space", Passed, vec![], same),
        Row("disk-space", Failed, vec![], |facts| {
            facts.host.storage.space = Reading::Known(room(90));
        }),
        Row("disk-space", CannotTell, vec![], |facts| {
            facts.host.storage.space = Reading::unknown("no");
        }),
        Row("pier-size", Passed, vec![], same),
        Row("pier-size", Failed, vec![], |facts| {
            facts.pier_bytes = Reading::Known(60 << 30)
        }),
        Row("pier-size", CannotTell, vec![], |facts| {
            facts.pier_bytes = Reading::unknown("no")
        }),
        Row("epochs", Passed, vec![], same),
        Row(
            "epochs",
            Failed,
            vec![
                Put("piers/zod/.urb/log/0i1000/data.mdb", "x"),
                Put("piers/zod/.urb/log/0i2000/data.mdb", "x"),
            ],
            |facts| facts.host.storage.space = Reading::Known(room(90)),
        ),
        Row(
            "epochs",
            NotApplicable,
            vec![Remove("piers/zod/.urb/log/0i0")],
            same,
        ),
        Row(
            "epochs",
            CannotTell,
            vec![Remove("piers/zod/.urb/log")],
            same,
        ),
    ]
}
