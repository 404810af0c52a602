//! Every way in which there is no such ship, or more than one, with its sentence.

use super::tree::{Proc, Tree};
use crate::ship::{DiscoverError, Selector, WrittenPid, discover};

fn error(tree: &Tree, selector: &Selector) -> DiscoverError {
    discover(&tree.roots(), selector).unwrap_err()
}

/// Asserts the kind of the error and what its one sentence must name.
macro_rules! assert_error {
    ($tree:expr, $selector:expr, $kind:pat, $($names:expr),+) => {
        let error = error(&$tree, &$selector);
        assert!(matches!(error, $kind), "{error:?}");
        let sentence = error.to_string();
        assert!(!sentence.contains('\n'), "{sentence}");
        $(assert!(sentence.contains(&*$names), "{sentence}");)+
    };
}

#[test]
fn paths_that_are_no_pier() {
    let tree = Tree::new();
    tree.put("home/file", "");
    std::fs::create_dir_all(tree.path("/home/directory")).unwrap();
    let pier = |path: &str| Selector::Pier(tree.path(path));
    assert_error!(
        tree,
        pier("/home/none"),
        DiscoverError::NoSuchPath { .. },
        "/home/none",
        "give"
    );
    assert_error!(
        tree,
        pier("/home/file"),
        DiscoverError::NotADirectory { .. },
        "is a file"
    );
    assert_error!(
        tree,
        pier("/home/file/zod"),
        DiscoverError::NotADirectory { .. },
        "is a file"
    );
    assert_error!(
        tree,
        pier("/home/directory"),
        DiscoverError::NotAPier { .. },
        ".urb"
    );
}

#[test]
fn piers_without_a_ship() {
    let tree = Tree::new();
    let pier = tree.pier("/piers/zod");
    let selector = Selector::Pier(pier.clone());
    assert_error!(
        tree,
        selector,
        DiscoverError::NotRunning { .. },
        "no ship runs",
        "start it"
    );
    tree.lock(&pier, "4242\n", None);
    assert_error!(
        tree,
        selector,
        DiscoverError::StaleLock {
            written: WrittenPid::Pid(4242),
            ..
        },
        "4242",
        "did not end cleanly"
    );
    tree.lock(&pier, "", None);
    assert_error!(
        tree,
        selector,
        DiscoverError::StaleLock {
            written: WrittenPid::NoNumber,
            ..
        },
        "remove that file"
    );
    tree.process(Proc {
        tgid: 50,
        arguments: "/usr/bin/urbit pack /piers/zod",
        ..Proc::default()
    });
    tree.lock(&pier, "50\n", Some(50));
    assert_error!(
        tree,
        selector,
        DiscoverError::InUse { tgid: 50, .. },
        "`urbit pack`",
        "wait"
    );
}

#[test]
fn a_lock_that_is_no_file_is_not_waited_for_and_not_advised_to_be_removed() {
    let tree = Tree::new();
    let pier = tree.pier("/piers/zod");
    let lock = pier.join(".vere.lock");
    let assert_unread = |why: &str| {
        let error = error(&tree, &Selector::Pier(pier.clone()));
        let sentence = error.to_string();
        let unread = matches!(
            error,
            DiscoverError::StaleLock {
                written: WrittenPid::Unread(_),
                ..
            }
        );
        assert!(
            unread && sentence.contains("could not be read"),
            "{sentence}"
        );
        assert!(
            sentence.contains(why) && !sentence.contains("remove"),
            "{sentence}"
        );
    };
    rustix::fs::mkfifoat(rustix::fs::CWD, &lock, 0o644.into()).unwrap();
    assert_unread("not a regular file");
    std::fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &lock).unwrap();
    assert_unread("symbolic link");
}

#[test]
fn from_a_container_a_lock_that_nobody_seems_to_hold_is_not_stale() {
    let tree = Tree::new();
    let pier = tree.pier("/piers/zod");
    tree.lock(&pier, "17\n", None);
    let selector = Selector::Pier(pier.clone());
    assert_error!(tree, selector, DiscoverError::StaleLock { .. }, "pid 17");
    tree.read_from_a_container();
    let says = "a ship may run where this process cannot see it; run profile on the host, or with --pid=host";
    assert_error!(tree, selector, DiscoverError::OutOfSight { .. }, says);
    // Without a lock file no ship runs wherever one looks from, and one that is seen to hold it does.
    std::fs::remove_file(pier.join(".vere.lock")).unwrap();
    assert_error!(tree, selector, DiscoverError::NotRunning { .. }, "start it");
    tree.ship(60, "/piers/zod");
    tree.lock(&pier, "61\n", Some(61));
    assert_eq!(discover(&tree.roots(), &selector).unwrap().king.tgid, 60);
}

#[test]
fn without_the_list_of_locks_nobody_knows_that_one_is_stale() {
    let tree = Tree::new();
    let pier = tree.pier("/piers/zod");
    tree.lock(&pier, "17\n", None);
    std::fs::remove_file(tree.path("/proc/locks")).unwrap();
    let selector = Selector::Pier(pier);
    assert_error!(
        tree,
        selector,
        DiscoverError::OutOfSight { .. },
        "--pid=host"
    );
}

#[test]
fn a_pid_that_was_reused_does_not_make_a_stale_lock_live() {
    let tree = Tree::new();
    let pier = tree.pier("/piers/zod");
    tree.lock(&pier, "60\n", None);
    tree.process(Proc {
        tgid: 60,
        comm: "nginx",
        arguments: "nginx",
        executable: "/usr/sbin/nginx",
        ..Proc::default()
    });
    assert_error!(
        tree,
        Selector::Pier(pier),
        DiscoverError::StaleLock { .. },
        "pid 60"
    );
}

#[test]
fn processes_that_are_no_ship() {
    let tree = Tree::new();
    tree.pier("/piers/zod");
    let other = |tgid, comm, arguments, executable| Proc {
        tgid,
        comm,
        arguments,
        executable,
        ..Proc::default()
    };
    tree.process(other(70, "nginx", "nginx -g", "/usr/sbin/nginx"));
    tree.process(other(
        71,
        "urbit",
        "urbit meld /piers/zod",
        "/usr/bin/urbit",
    ));
    tree.process(other(72, "docker", "docker info", "/usr/bin/docker"));
    tree.process(other(
        73,
        "urbit",
        "urbit work --snap-dir /piers/zod --loom 31",
        "/usr/bin/urbit",
    ));
    assert_error!(
        tree,
        Selector::Pid(9999),
        DiscoverError::NoSuchProcess { pid: 9999 },
        "9999"
    );
    assert_error!(
        tree,
        Selector::Pid(70),
        DiscoverError::NotAShip { .. },
        "nginx"
    );
    assert_error!(
        tree,
        Selector::Pid(71),
        DiscoverError::Utility { .. },
        "`urbit meld`"
    );
    assert_error!(
        tree,
        Selector::Pid(72),
        DiscoverError::NotAShip { .. },
        "docker"
    );
    assert_error!(
        tree,
        Selector::Pid(73),
        DiscoverError::Orphan { tgid: 73 },
        "king has gone"
    );
}

#[test]
fn none_and_several() {
    let tree = Tree::new();
    assert_error!(
        tree,
        Selector::Only,
        DiscoverError::NoShip,
        "no ship runs on this host"
    );
    assert_error!(
        tree,
        Selector::Name("~zod".into()),
        DiscoverError::NoSuchName { .. },
        "none runs"
    );
    tree.ship(100, "/piers/zod");
    tree.ship(200, "/other/zod");
    tree.ship(300, "/piers/nec");
    assert_error!(
        tree,
        Selector::Only,
        DiscoverError::Several { .. },
        "3 ships",
        "~nec (pid 300",
        "/other/zod"
    );
    assert_error!(
        tree,
        Selector::Name("~zod".into()),
        DiscoverError::Several { .. },
        "2 ships",
        "pid 200"
    );
    assert_error!(
        tree,
        Selector::Name("~bus".into()),
        DiscoverError::NoSuchName { .. },
        "~bus",
        "~nec"
    );
    assert_eq!(
        discover(&tree.roots(), &Selector::Name("~nec".into()))
            .unwrap()
            .king
            .tgid,
        300
    );
}

#[test]
fn what_the_user_gives_is_told_apart() {
    assert_eq!(Selector::parse("1234"), Selector::Pid(1234));
    assert_eq!(Selector::parse("~zod"), Selector::Name("~zod".into()));
    assert_eq!(
        Selector::parse("~/piers/zod"),
        Selector::Pier("~/piers/zod".into())
    );
    assert_eq!(Selector::parse("./1234"), Selector::Pier("./1234".into()));
    assert_eq!(Selector::parse("zod"), Selector::Pier("zod".into()));
}
