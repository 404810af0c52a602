//! Checks of upkeep.

use super::*;

pub fn rows() -> Vec<Row> {
    use crate::host::neighbours::OtherShip;
    use crate::ship::Generation;
    let mut rows = vec![
        Row("snap-time", NotApplicable, vec![], same),
        Row("snap-time", CannotTell, vec![], |facts| {
            facts.ship.generation = Generation::Serf;
        }),
        Row("apps", NotApplicable, vec![], same),
        Row("dirty-ratio", NotApplicable, vec![], same),
        Row(
            "dirty-ratio",
            CannotTell,
            vec![Remove("proc/sys/vm/dirty_ratio")],
            same,
        ),
        Row("other-ships", Passed, vec![], same),
        Row("other-ships", Failed, vec![], |facts| {
            let ship = OtherShip {
                label: "~nec".to_owned(),
                tgids: Vec::new(),
            };
            facts.others = Reading::Known(vec![ship; 9]);
        }),
        Row("other-ships", CannotTell, vec![], |facts| {
            facts.others = Reading::unknown("no")
        }),
        Row("baseline", Failed, vec![], same),
        Row(
            "baseline",
            Passed,
            vec![Put("var/lib/profile/baselines/zod/capture", "x")],
            same,
        ),
        Row("baseline", CannotTell, vec![], |facts| {
            facts.baselines = Reading::unknown("no")
        }),
    ];
    for id in ["pack-schedule", "meld-schedule"] {
        rows.extend([
            Row(id, Passed, vec![], same),
            Row(id, Passed, vec![CRON], |facts| facts.loom = home(100)),
            Row(id, Failed, vec![], |facts| facts.loom = home(100)),
            Row(id, CannotTell, vec![], |facts| {
                facts.loom = LoomAnswer::Unreadable {
                    reason: "run as root".to_owned(),
                };
            }),
        ]);
    }
    rows
}
