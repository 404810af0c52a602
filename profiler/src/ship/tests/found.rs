//! Ships that are found, in each way that they can be given.

use std::path::Path;

use super::tree::{Proc, Tree};
use crate::host::Reading;
use crate::ship::loom::{self, LoomAnswer, LoomHome};
use crate::ship::{Generation, NameSource, Role, Selector, Ship, discover, ships};

fn find(tree: &Tree, selector: &Selector) -> Ship {
    discover(&tree.roots(), selector).unwrap()
}

#[test]
fn a_v4_ship_is_found_by_pier_name_pid_and_alone() {
    let tree = Tree::new();
    let pier = tree.ship(100, "/piers/sampel-palnet");
    tree.lock(&pier, "101\n", Some(101));
    for selector in [
        Selector::Pier(tree.path("/piers/../piers/sampel-palnet")),
        Selector::Name("~sampel-palnet".to_owned()),
        Selector::Pid(100),
        Selector::Pid(101),
        Selector::Only,
    ] {
        let ship = find(&tree, &selector);
        assert_eq!(ship.tgids(), [100, 101], "{selector:?}");
        assert_eq!(ship.generation, Generation::Mars);
        assert_eq!(ship.pier.inside, Path::new("/piers/sampel-palnet"));
        assert_eq!(ship.pier.reachable.canonicalize().unwrap(), pier);
        assert_eq!(ship.in_container, Reading::Known(false));
        let config = ship.config.as_ref().unwrap();
        assert_eq!((config.loom_bex, config.snap_time_s), (Some(31), Some(120)));
        assert_eq!(ship.name.as_ref().unwrap().source, NameSource::Directory);
        assert_eq!(ship.king.start_time_ticks, 1000);
        assert!(ship.king.still_runs(&tree.roots()));
    }
}

#[test]
fn a_v3_serf_and_its_relative_pier_are_found() {
    let tree = Tree::new();
    let pier = tree.pier("/home/zod");
    tree.process(Proc {
        tgid: 200,
        arguments: "urbit zod",
        ..Proc::default()
    });
    tree.process(Proc {
        tgid: 201,
        parent: 200,
        arguments: "urbit serf zod 0:0 128 50000 31 0 0 0",
        ..Proc::default()
    });
    tree.thread(200, 210, "urbit");
    tree.lock(&pier, "200\n", Some(200));
    let ship = find(&tree, &Selector::Pier(pier));
    assert_eq!(ship.generation, Generation::Serf);
    assert_eq!(ship.pier.inside, Path::new("/home/zod"));
    assert_eq!(ship.log_owner_tgid(), Some(200));
    // v3.0's pool threads carry the name of the process.
    assert_eq!(ship.role_of(200, 210, "urbit"), Role::CommitWorker);
}

#[test]
fn a_container_is_seen_through_by_root_namespace_and_lock() {
    let tree = Tree::new();
    let pier = tree.volume();
    tree.ship_in(300, "/containers/1", "/urbit/zod", [&[300, 1], &[301, 17]]);
    // Pids of the container, from two unclean deaths and from now.
    tree.lock(&pier, "9\n12\n17\n", Some(301));
    let ship = find(&tree, &Selector::Pier(pier.clone()));
    assert_eq!(ship.tgids(), [300, 301]);
    assert_eq!(ship.in_container, Reading::Known(true));
    assert_eq!(ship.king.namespace_tgids, Reading::Known(vec![300, 1]));
    assert_eq!(ship.pier.inside, Path::new("/urbit/zod"));
    assert_eq!(ship.pier.reachable, pier);
    // By pid the pier is reached through the process, as no mount of the host is known.
    let by_pid = find(&tree, &Selector::Pid(300));
    assert!(by_pid.pier.reachable.ends_with("proc/300/root/urbit/zod"));
}

#[test]
fn a_volume_is_reached_by_its_path_on_the_host() {
    let tree = Tree::new();
    let pier = tree.volume();
    tree.ship_in(300, "/containers/1", "/urbit/zod", [&[300, 1], &[301, 17]]);
    tree.put(
        "proc/300/mountinfo",
        "1 0 0:50 / / rw - overlay overlay rw\n\
         2 1 8:1 /var/volumes/zod/_data /urbit rw - ext4 /dev/sda1 rw\n",
    );
    tree.put(
        "proc/self/mountinfo",
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n",
    );
    let ship = find(&tree, &Selector::Only);
    assert_eq!(ship.pier.reachable.canonicalize().unwrap(), pier);
    assert!(!ship.pier.reachable.starts_with(tree.path("/proc")));
}

#[test]
fn the_shell_above_a_king_stands_for_it() {
    let tree = Tree::new();
    tree.ship(400, "/piers/zod");
    for (tgid, parent) in [(390, 1), (391, 390)] {
        tree.process(Proc {
            tgid,
            parent,
            comm: "bash",
            arguments: "bash /start_urbit.sh",
            executable: "/bin/bash",
            ..Proc::default()
        });
    }
    tree.process(Proc {
        tgid: 400,
        parent: 391,
        arguments: "urbit /piers/zod",
        ..Proc::default()
    });
    assert_eq!(find(&tree, &Selector::Pid(391)).king.tgid, 400);
    assert_eq!(find(&tree, &Selector::Pid(390)).king.tgid, 400);
}

#[test]
fn a_pier_that_was_renamed_while_the_ship_runs_is_found_by_its_lock() {
    let tree = Tree::new();
    let pier = tree.ship(500, "/piers/zod");
    tree.lock(&pier, "501\n", Some(501));
    let renamed = tree.path("/piers/bus");
    std::fs::rename(&pier, &renamed).unwrap();
    tree.pier("/piers/zod");
    assert_eq!(find(&tree, &Selector::Pier(renamed)).king.tgid, 500);
}

#[test]
fn a_moved_pier_is_not_confused_with_what_replaced_it() {
    let tree = Tree::new();
    let pier = tree.pier("/piers/zod");
    tree.ship_in(500, "", pier.to_str().unwrap(), [&[], &[]]);
    tree.see_the_real_root(500);
    tree.see_the_real_root(501);
    let renamed = tree.path("/piers/bus");
    std::fs::rename(&pier, &renamed).unwrap();
    tree.put("piers/bus/.urb/log/0i0/data.mdb", "");
    tree.open_file(501, 7, renamed.join(".urb/log/0i0/data.mdb"));
    // Its file is gone, so its text says nothing.
    tree.open_file(501, 3, pier.join(".urb/log/0i9/data.mdb"));
    tree.pier("/piers/zod");
    assert_eq!(find(&tree, &Selector::Pid(500)).pier.inside, renamed);
    assert_eq!(find(&tree, &Selector::Pier(renamed)).king.tgid, 500);
    assert!(discover(&tree.roots(), &Selector::Pier(pier)).is_err());
}

#[test]
fn a_process_with_a_ships_arguments_neither_hides_the_ship_nor_is_one() {
    let tree = Tree::new();
    let pier = tree.ship(500, "/piers/zod");
    for (tgid, parent, arguments) in [
        (700, 1, "x"),
        (701, 700, "x work --snap-dir /piers/zod --loom 31"),
    ] {
        tree.process(Proc {
            tgid,
            parent,
            arguments,
            ..Proc::default()
        });
    }
    let selector = Selector::Pier(pier.clone());
    tree.lock(&pier, "501\n", Some(501));
    assert_eq!(find(&tree, &selector).king.tgid, 500);
    // Nobody holds the lock, and only a real mars has a file of the pier open.
    tree.lock(&pier, "501\n", None);
    tree.put("proc/locks", "");
    assert!(discover(&tree.roots(), &selector).is_err());
    tree.put("piers/zod/.urb/chk/image.bin", "");
    tree.open_file(501, 7, pier.join(".urb/chk/image.bin"));
    assert_eq!(find(&tree, &selector).king.tgid, 500);
    // Nor does one whose file has the same path in its own root.
    tree.put("containers/1/piers/zod/.urb/chk/image.bin", "");
    let other = tree.path("/containers/1/piers/zod/.urb/chk/image.bin");
    tree.open_file(701, 7, other);
    assert_eq!(find(&tree, &selector).king.tgid, 500);
}

#[test]
fn the_replaying_child_of_a_v3_king_holds_the_lock_for_it() {
    let tree = Tree::new();
    let pier = tree.pier("/piers/zod");
    for (tgid, parent, arguments) in [
        (500, 1, "urbit /piers/zod"),
        (501, 500, "urbit play /piers/zod"),
    ] {
        tree.process(Proc {
            tgid,
            parent,
            arguments,
            ..Proc::default()
        });
    }
    tree.lock(&pier, "501\n", Some(501));
    assert_eq!(find(&tree, &Selector::Pier(pier)).king.tgid, 500);
}

#[test]
fn without_locks_the_open_lock_file_is_the_proof() {
    let tree = Tree::new();
    let pier = tree.ship(500, "/piers/zod");
    tree.lock(&pier, "501\n", None);
    std::fs::remove_file(tree.path("/proc/locks")).unwrap();
    tree.open_file(501, 7, pier.join(".vere.lock"));
    let state = crate::ship::lock_state(&tree.roots(), &pier).unwrap();
    assert_eq!(state, crate::ship::LockState::Held { tgid: 501 });
}

#[test]
fn on_file_systems_with_made_up_devices_the_holder_must_have_the_file_open() {
    let tree = Tree::new();
    let pier = tree.ship(500, "/piers/zod");
    tree.lock(&pier, "501\n", None);
    let inode = crate::host::process::FileId::of(&pier.join(".vere.lock"))
        .unwrap()
        .inode;
    tree.put_lock(501, "00:99", inode);
    let state = || crate::ship::lock_state(&tree.roots(), &pier).unwrap();
    assert_eq!(
        state(),
        crate::ship::LockState::Stale {
            written: crate::ship::WrittenPid::Pid(501)
        }
    );
    tree.open_file(501, 7, pier.join(".vere.lock"));
    assert_eq!(state(), crate::ship::LockState::Held { tgid: 501 });
}

#[test]
fn a_king_without_mars_is_a_ship_too() {
    let tree = Tree::new();
    tree.pier("/piers/zod");
    tree.process(Proc {
        tgid: 600,
        comm: ".run",
        arguments: "/piers/zod/.run -t",
        executable: "/piers/zod/.run",
        ..Proc::default()
    });
    // An editor that was given the pier is not a king.
    tree.process(Proc {
        tgid: 601,
        comm: "vim",
        arguments: "vim /piers/zod",
        executable: "/usr/bin/vim",
        ..Proc::default()
    });
    let ship = find(&tree, &Selector::Only);
    assert_eq!((ship.king.tgid, &ship.mars), (600, &None));
    assert_eq!(ship.generation, Generation::Unknown);
}

#[test]
fn of_a_king_and_its_waiting_parent_the_child_is_the_ship() {
    let tree = Tree::new();
    let pier = tree.pier("/piers/zod");
    std::os::unix::fs::symlink("/piers/zod", tree.path("/link")).unwrap();
    // `-d` forks, so both have the same arguments; that the pier is reached by a link changes nothing.
    let king = |tgid, parent, arguments| {
        tree.process(Proc {
            tgid,
            parent,
            arguments,
            ..Proc::default()
        });
    };
    king(600, 1, "urbit -d /link");
    king(601, 600, "urbit -d /link");
    for selector in [
        Selector::Only,
        Selector::Pier(pier.clone()),
        Selector::Pid(600),
        Selector::Pid(601),
    ] {
        assert_eq!(find(&tree, &selector).king.tgid, 601, "{selector:?}");
    }
    tree.process(Proc {
        tgid: 602,
        parent: 601,
        arguments: "urbit work --snap-dir /piers/zod --loom 31",
        ..Proc::default()
    });
    assert_eq!(find(&tree, &Selector::Only).tgids(), [601, 602]);
    // A king on another pier is another ship.
    tree.pier("/piers/nec");
    king(610, 1, "urbit /piers/nec");
    assert_eq!(ships(&tree.roots()).unwrap().len(), 2);
}

#[test]
fn a_name_that_the_ship_itself_says_goes_before_that_of_a_directory() {
    let tree = Tree::new();
    tree.ship(100, "/piers/zod");
    let zod = Selector::Name("~zod".to_owned());
    assert_eq!(find(&tree, &zod).king.tgid, 100);
    tree.ship(200, "/piers/production");
    tree.spin_stack(201, "~zod");
    assert_eq!(find(&tree, &zod).king.tgid, 200);
    // And what it says is its only name.
    tree.ship(300, "/piers/nec");
    tree.spin_stack(301, "~bus");
    assert_eq!(
        find(&tree, &Selector::Name("~bus".to_owned())).king.tgid,
        300
    );
    assert!(discover(&tree.roots(), &Selector::Name("~nec".to_owned())).is_err());
}

#[test]
fn processes_that_vanish_or_die_do_not_spoil_the_others() {
    let tree = Tree::new();
    tree.ship(700, "/piers/zod");
    // Gone between the listing and the reading.
    std::fs::create_dir_all(tree.path("/proc/650")).unwrap();
    // A mars that is a zombie, and one whose king has gone.
    tree.pier("/piers/nec");
    let mars = |tgid, parent, state| Proc {
        tgid,
        parent,
        state,
        arguments: "urbit work --snap-dir /piers/nec --loom 31",
        ..Proc::default()
    };
    tree.process(mars(660, 700, 'Z'));
    tree.process(mars(661, 1, 'S'));
    // An offline command is no ship.
    tree.process(Proc {
        tgid: 662,
        arguments: "urbit pack /piers/nec",
        ..Proc::default()
    });
    let found = ships(&tree.roots()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].king.tgid, 700);
}

#[test]
fn a_mapped_file_of_any_name_spoils_nothing() {
    let tree = Tree::new();
    tree.ship(750, "/piers/zod");
    tree.put(
        "proc/751/maps",
        "7f00-7f01 rw-s 00000000 00:19 42 /SYSV\n7f02-7f03 rw-s 00000000 00:19 43 /SYSV0000000é\n",
    );
    assert_eq!(find(&tree, &Selector::Only).king.tgid, 750);
}

#[test]
fn name_version_ports_threads_and_memory_are_read() {
    let tree = Tree::new();
    let pier = tree.ship(800, "/piers/production");
    tree.spin_stack(801, "~marzod");
    // `.run` is a hard link to the versioned binary.
    let binary = pier.join(".bin/live/vere-v4.6-linux-x86_64");
    std::fs::create_dir_all(binary.parent().unwrap()).unwrap();
    std::fs::write(&binary, "binary").unwrap();
    std::fs::hard_link(&binary, pier.join(".run")).unwrap();
    let exe = tree.path("/proc/801/exe");
    std::fs::remove_file(&exe).unwrap();
    std::os::unix::fs::symlink(pier.join(".run"), exe).unwrap();
    tree.open_file(800, 9, "socket:[5555]");
    tree.put(
        "proc/800/net/udp",
        "header\n 1: 00000000:8627 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 5555 2 f 3\n \
         2: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 6666 2 f 0\n",
    );
    tree.thread(801, 802, "libuv-worker");
    tree.thread(800, 805, "libuv-worker");
    let home = LoomHome {
        event_number: 77,
        heap_bytes: 4096,
        free_gap_bytes: 8192,
        event_in_progress: false,
    };
    let memory = std::fs::File::create(tree.path("/proc/801/mem")).unwrap();
    let head = loom::encode(5, 0x54, &home);
    std::os::unix::fs::FileExt::write_all_at(&memory, &head, loom::LOOM_BASE).unwrap();

    let ship = find(&tree, &Selector::Name("~marzod".to_owned()));
    assert_eq!(ship.name.as_ref().unwrap().source, NameSource::SpinStack);
    assert_eq!(ship.version.as_deref(), Some("4.6"));
    assert_eq!(ship.udp_ports, Reading::Known(vec![34343]));
    let roles: Vec<(u32, Role)> = ship
        .threads
        .known()
        .unwrap()
        .iter()
        .map(|thread| (thread.tid, thread.role))
        .collect();
    let expected = [
        (800, Role::King),
        (805, Role::Other),
        (801, Role::Mars),
        (802, Role::CommitWorker),
    ];
    assert_eq!(roles, expected);
    assert_eq!(loom::answer(&tree.roots(), &ship), LoomAnswer::Home(home));
    // What a capture keeps survives the way through its file.
    let text = serde_json::to_string(&ship).unwrap();
    assert_eq!(serde_json::from_str::<Ship>(&text).unwrap(), ship);
}
