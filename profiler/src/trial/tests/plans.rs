//! From a fix to a plan, or to the sentence why there is none.

use super::*;
use crate::catalogue::{Answer, Assessment, ENTRIES, Entry, Gain, Step, Trial};
use crate::recommend::Fix;

fn entry(id: &str) -> &'static Entry {
    ENTRIES.iter().find(|entry| entry.id == id).unwrap()
}

fn fix(id: &str, answer: Answer, apply: &[Step], undo: &[Step]) -> Fix {
    let entry = entry(id);
    Fix {
        id: entry.id,
        title: entry.title,
        assessment: Assessment {
            answer,
            reason: "for this reason".to_owned(),
            apply: apply.to_vec(),
            undo: undo.to_vec(),
            ..Assessment::default()
        },
        recommended: false,
        gain_ratio: None,
        p95: None,
        confidence: None,
        overlaps: Vec::new(),
        yields_to: None,
        trial: Trial::of(apply, undo),
        cause: entry.cause,
        restart: entry.restart,
        risk: entry.risk,
        source: entry.source,
    }
}

const HELPS: Answer = Answer::WouldHelp(Gain::StalledTime {
    low_ns: 1,
    high_ns: 2,
});

#[test]
fn a_plan_holds_the_values_that_are_there_now() {
    let fake = FakeHost::new();
    fake.put(SWAPPINESS, "45\n");
    let keep = Step::command("printf 'vm.swappiness=10' > /etc/sysctl.d/x");
    let apply = [Step::sysctl("vm.swappiness", 10), keep.clone()];
    let undo = [Step::sysctl("vm.swappiness", 60)];
    let plan = Plan::of(&fake.host, &fix("swappiness", HELPS, &apply, &undo)).unwrap();
    assert_eq!(plan.changes, [file(SWAPPINESS, "45", "10")]);
    assert_eq!(plan.lasting, [keep.text()]);
    assert_eq!(plan.steps.len(), 1);
    assert_eq!(plan.steps[0].what, "vm.swappiness");
}

#[test]
fn threads_of_a_process_are_one_line() {
    let fake = FakeHost::new();
    fake.thread(MARS, MARS + 1, 0);
    let renice = |nice| Step::SetNice {
        tgids: vec![KING, MARS],
        nice,
    };
    let plan = Plan::of(
        &fake.host,
        &fix("nice", HELPS, &[renice(-10)], &[renice(0)]),
    )
    .unwrap();
    let lines: Vec<(&str, &str)> = (plan.steps.iter())
        .map(|line| (line.what.as_str(), line.before.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            ("nice value of process 700, 1 thread", "-5"),
            ("nice value of process 1200, 2 threads", "-5 and 0")
        ]
    );
}

#[test]
fn of_two_files_the_one_that_holds_the_value_is_meant() {
    let fake = FakeHost::new();
    let path = |name: &str| format!("/sys/fs/cgroup/x/{name}");
    fake.put(&path("memory.max"), "max\n");
    fake.put(&path("memory.high"), "4096\n");
    let set = |from: &str, to: &str| {
        ["memory.max", "memory.high"].map(|name| Step::WriteFile {
            path: path(name),
            value: to.to_owned(),
            only_if: Some(from.to_owned()),
        })
    };
    let ram = fix("ram", HELPS, &set("4096", "8192"), &set("8192", "4096"));
    let plan = Plan::of(&fake.host, &ram).unwrap();
    assert_eq!(plan.changes, [file(&path("memory.high"), "4096", "8192")]);
}

#[test]
fn what_cannot_be_tried_out_says_why() {
    let fake = FakeHost::new();
    fake.put(SWAPPINESS, "10\n");
    let steps = [Step::sysctl("vm.swappiness", 10)];
    let advice = [Step::advice("do it")];
    let cases = [
        (fix("swappiness", Answer::AlreadySo, &[], &[]), "already"),
        (fix("swappiness", Answer::WouldHarm, &[], &[]), "would harm"),
        (fix("swappiness", HELPS, &steps, &steps), "already"),
        (
            fix("swappiness", Answer::NoEvidence, &[], &[]),
            "nothing here",
        ),
        (fix("ram", HELPS, &advice, &advice), "profile diff"),
        (
            fix(
                "max-map-count",
                Answer::WouldHelp(Gain::Finding { id: "x" }),
                &steps,
                &steps,
            ),
            "no time",
        ),
    ];
    for (fix, words) in cases {
        let error = Plan::of(&fake.host, &fix).unwrap_err().to_string();
        assert!(error.contains(words), "{}: {error}", fix.id);
        assert!(error.contains(fix.id), "{error}");
    }
    for id in [
        "snap-time",
        "loom-size",
        "chop",
        "rmem-max",
        "max-map-count",
    ] {
        let error = check_entry(entry(id)).unwrap_err().to_string();
        assert!(error.contains("profile diff"), "{error}");
    }
    for id in ["cpu-quota", "ram", "noatime", "bbr"] {
        check_entry(entry(id)).unwrap();
    }
}
