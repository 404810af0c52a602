//! Changes made and taken back on trees of files, with a kernel that writes into them.

mod fake;
mod journals;
mod plans;

use fake::{FakeHost, KING, MARS};

use super::change::newcomers;
use super::*;

fn file(path: &str, before: &str, applied: &str) -> Change {
    Change {
        place: Place::File {
            path: path.to_owned(),
        },
        before: before.to_owned(),
        applied: applied.to_owned(),
    }
}

const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
const QUOTA: &str = "/sys/fs/cgroup/a b/cpu.max";

#[test]
fn a_value_is_set_and_is_back_as_it_was() {
    let fake = FakeHost::new();
    for (path, shown, before, applied) in [
        (SWAPPINESS, "60\n", "60", "10"),
        (QUOTA, "20000 100000\n", "20000 100000", "max 100000"),
        ("/proc/sys/net/ipv4/tcp_rmem", "1\t2\t3\n", "1 2 3", "4 5 6"),
    ] {
        fake.put(path, shown);
        let change = file(path, before, applied);
        assert_eq!(change.now(&fake.host).unwrap().as_deref(), Some(before));
        change.apply(&fake.host).unwrap();
        assert_eq!(fake.text(path), format!("{applied}\n"));
        // Once more changes nothing.
        change.apply(&fake.host).unwrap();
        assert_eq!(change.undo(&fake.host).unwrap(), Undone::Restored);
        assert_eq!(fake.text(path), format!("{before}\n"));
        assert_eq!(change.undo(&fake.host).unwrap(), Undone::AsBefore);
    }
}

#[test]
fn what_somebody_else_put_there_is_left_alone() {
    let fake = FakeHost::new();
    let change = file(SWAPPINESS, "60", "10");
    fake.put(SWAPPINESS, "30\n");
    let error = change.apply(&fake.host).unwrap_err().to_string();
    assert!(error.contains("vm.swappiness is 30 by now"), "{error}");
    assert_eq!(
        change.undo(&fake.host).unwrap(),
        Undone::Foreign("30".to_owned())
    );
    assert_eq!(fake.text(SWAPPINESS), "30\n");
}

#[test]
fn a_group_that_is_gone_needs_no_undo() {
    let fake = FakeHost::new();
    let change = file(QUOTA, "20000 100000", "max 100000");
    assert_eq!(change.undo(&fake.host).unwrap(), Undone::Gone);
    assert!(matches!(change.apply(&fake.host), Err(TrialError::Gone(_))));
}

#[test]
fn no_link_is_followed_and_no_other_file_written() {
    let fake = FakeHost::new();
    fake.put("/etc/secret", "60\n");
    let link = fake.path(SWAPPINESS);
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(fake.path("/etc/secret"), &link).unwrap();
    assert!(file(SWAPPINESS, "60", "10").apply(&fake.host).is_err());
    for path in ["/etc/secret", "/sys/../etc/secret"] {
        assert!(matches!(
            file(path, "60", "10").apply(&fake.host),
            Err(TrialError::NoSetting(_))
        ));
    }
    assert_eq!(fake.text("/etc/secret"), "60\n");
}

fn nice(fake: &FakeHost) -> Vec<Change> {
    let step = crate::catalogue::Step::SetNice {
        tgids: vec![KING, MARS],
        nice: -10,
    };
    plan::changes_of(&fake.host, &step).unwrap()
}

#[test]
fn every_thread_gets_its_own_nice_value_back() {
    let fake = FakeHost::new();
    fake.thread(MARS, MARS + 100, 7);
    fake.thread(KING, KING + 100, -10);
    let changes = nice(&fake);
    // One of the king's has it already.
    assert_eq!(changes.len(), 3);
    for change in &changes {
        change.apply(&fake.host).unwrap();
    }
    let all = [KING, KING + 100, MARS, MARS + 100];
    assert!(all.iter().all(|tid| fake.nice(*tid) == -10));
    for change in changes.iter().rev() {
        assert_eq!(change.undo(&fake.host).unwrap(), Undone::Restored);
    }
    assert_eq!(all.map(|tid| fake.nice(tid)), [-5, -10, -5, 7]);
}

#[test]
fn a_thread_that_was_started_meanwhile_gets_what_its_process_had() {
    let fake = FakeHost::new();
    let changes = nice(&fake);
    for change in &changes {
        change.apply(&fake.host).unwrap();
    }
    fake.thread(MARS, MARS + 100, -10);
    // Somebody gave this one a value of its own.
    fake.thread(MARS, MARS + 101, 3);
    let new = newcomers(&fake.host, &changes).unwrap();
    assert_eq!(new.len(), 1);
    assert_eq!(new[0].undo(&fake.host).unwrap(), Undone::Restored);
    assert_eq!(fake.nice(MARS + 100), -5);
    assert_eq!(fake.nice(MARS + 101), 3);
}

#[test]
fn an_id_that_is_anothers_by_now_is_never_touched() {
    let fake = FakeHost::new();
    fake.thread(MARS, MARS + 100, 0);
    let changes = nice(&fake);
    for change in &changes {
        change.apply(&fake.host).unwrap();
    }
    // The process ended, and another has its id; of the other process a thread.
    fake.restart(MARS);
    fake.thread(MARS, MARS + 100, -10);
    fake.set_nice(MARS, -10);
    for change in &changes {
        let expected = match &change.place {
            Place::Thread { tgid: KING, .. } => Undone::Restored,
            _ => Undone::Gone,
        };
        assert_eq!(change.undo(&fake.host).unwrap(), expected);
    }
    assert!(newcomers(&fake.host, &changes).unwrap().is_empty());
    assert_eq!([fake.nice(MARS), fake.nice(MARS + 100)], [-10, -10]);
}

#[test]
fn cpus_are_given_back() {
    let fake = FakeHost::new();
    let step = crate::catalogue::Step::SetAffinity {
        tgids: vec![MARS],
        cpus: "0-3,5-5".to_owned(),
    };
    let changes = plan::changes_of(&fake.host, &step).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (changes[0].before.as_str(), changes[0].applied.as_str()),
        ("0-7", "0-3,5")
    );
    changes[0].apply(&fake.host).unwrap();
    assert_eq!(
        changes[0].now(&fake.host).unwrap().as_deref(),
        Some("0-3,5")
    );
    assert_eq!(changes[0].undo(&fake.host).unwrap(), Undone::Restored);
    assert_eq!(changes[0].now(&fake.host).unwrap().as_deref(), Some("0-7"));
}

#[test]
fn a_mount_gets_its_option_back_unless_another_is_mounted_there() {
    let fake = FakeHost::new();
    fake.mount("8:1", "rw,relatime");
    let step = crate::catalogue::Step::Remount {
        mount_point: "/piers".to_owned(),
        option: "noatime".to_owned(),
    };
    let changes = plan::changes_of(&fake.host, &step).unwrap();
    let [change] = &changes[..] else {
        panic!("{changes:?}")
    };
    change.apply(&fake.host).unwrap();
    assert!(fake.text("/proc/self/mountinfo").contains("rw,noatime"));
    assert_eq!(change.undo(&fake.host).unwrap(), Undone::Restored);
    assert!(fake.text("/proc/self/mountinfo").contains("rw,relatime"));
    fake.mount("8:2", "rw,noatime");
    assert_eq!(change.undo(&fake.host).unwrap(), Undone::Gone);
}

#[test]
fn what_the_kernel_makes_something_else_of_is_taken_back_at_once() {
    let fake = FakeHost::new();
    // A list of which only what it offers can be chosen: this fake takes nothing.
    fake.put("/sys/kernel/x", "always [madvise] never\n");
    let change = file("/sys/kernel/x", "madvise", "[other] never");
    let error = change.apply(&fake.host).unwrap_err();
    assert!(matches!(error, TrialError::NotTaken { .. }), "{error}");
    assert_eq!(fake.text("/sys/kernel/x"), "madvise\n");
}
