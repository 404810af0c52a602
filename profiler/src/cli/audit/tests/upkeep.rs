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
        Row("apps", NotApplicable, vec![], |facts| {
            facts.mass = Some(account(1, 900))
        }),
        Row("apps", NotApplicable, vec![], |facts| {
            facts.loom = home(100);
            facts.mass = Some(account(1, 10));
        }),
        Row("apps", Failed, vec![], |facts| {
            facts.loom = home(100);
            facts.mass = Some(account(1, 900));
        }),
        Row("pack-schedule", Failed, vec![], |facts| {
            facts.loom = home(100);
            facts.mass = Some(account(500, 1));
        }),
        // Nearly full, but of holes there are few.
        Row("pack-schedule", Passed, vec![], |facts| {
            facts.loom = home(100);
            facts.mass = Some(account(5, 1));
        }),
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
            vec![Put("var/lib/profile/baselines/zod.capture", "x")],
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

/// An account of 1000 bytes that have an owner, with so many of holes and of one app.
fn account(idle: u64, app: u64) -> crate::mass::Mass {
    let parts = |parts| serde_json::from_value(parts).unwrap();
    let agents = serde_json::json!([{"name": "hood", "bytes": 90}, {"name": "chat", "bytes": app}]);
    let gall = serde_json::json!([{"name": "active", "bytes": 0, "parts": agents}]);
    crate::mass::Mass::new(
        "~zod".to_owned(),
        (0, 0),
        None,
        parts(serde_json::json!([
            {"name": "gall", "bytes": 1000, "parts": gall},
            {"name": "total marked", "bytes": 1000},
            {"name": "free lists", "bytes": idle},
        ])),
    )
}
