//! What can go wrong with a sampler: each with one sentence and its exit status, nothing lost but the
//! window in hand, and nothing left in the kernel.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::faults::FullDisk;
use harness::gate;
use harness::peer::PeerOptions;
use harness::process::{poll_until, wait_until_ended};
use harness::profile::{Outcome, Profile};
use harness::scratch::Scratch;
use harness::ship::ShipOptions;
use rustix::process::Signal;
use serde_json::Value;

use crate::errors::fill_to_the_last_block;
use crate::kernel::wait_for_capture;
use crate::sampler::{history, history_of, sampler, wait_for_windows};
use crate::support::{
    DONE, FAILED, NOBODY, ShipInMemory, Unprivileged, assert_fails, assert_one_line, names_in,
    number,
};

const MIB: u64 = 1 << 20;
/// How long a sampler may take to notice something.
const LIMIT: Duration = Duration::from_secs(30);

/// A store with two windows of a ship, and that ship.
struct Sampled {
    ship: ShipInMemory,
    home: Scratch,
}

impl Sampled {
    fn new() -> Self {
        let ship = ShipInMemory::start(&ShipOptions::default());
        let home = Scratch::in_memory("store").unwrap();
        let sampled = Self { ship, home };
        for _ in 0..2 {
            let outcome = sampled.once(&sampled.store());
            assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
        }
        sampled
    }

    fn store(&self) -> PathBuf {
        self.home.path().join("ships.db")
    }

    /// One window of one second.
    fn once(&self, store: &Path) -> Outcome {
        let sampler = sampler(self.ship.ship.pier(), store).arg("--once");
        sampler.run().unwrap()
    }
}

#[test]
fn a_signal_ends_it_and_the_window_in_hand_is_kept() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    for signal in [Signal::TERM, Signal::INT] {
        let home = Scratch::in_memory("store").unwrap();
        let store = home.path().join("ships.db");
        let hour = Profile::new(["sampler", "--interval", "3600", "--ship"])
            .arg(ship.ship.pier())
            .arg("--store")
            .arg(&store);
        let running = hour.start().unwrap();
        let footprint = wait_for_capture(&running);
        running.signal(signal).unwrap();
        let outcome = running.finish().unwrap();
        assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains("profile: "), "{}", outcome.stderr);
        footprint.assert_gone();
        let kept = history(&store).unwrap();
        assert_eq!(number(&kept, "windows"), 1);
        assert_eq!(kept["cut_short"]["the sampler was ended"], 1, "{kept:#}");
        assert!(number(&kept, "duration_ns") > 0);
    }
}

#[test]
fn a_disk_that_fills_up_ends_it_and_costs_the_window_in_hand() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    let disk = FullDisk::new(32 * MIB).unwrap();
    let store = disk.disk().path().join("ships.db");
    let running = sampler(ship.ship.pier(), &store).start().unwrap();
    let footprint = wait_for_capture(&running);
    wait_for_windows(&store, 2);
    disk.fill(64 << 10).unwrap();
    fill_to_the_last_block(disk.disk().path());
    wait_until_ended(running.pid(), LIMIT).unwrap();
    let outcome = running.finish().unwrap();
    assert_eq!(outcome.code(), Some(FAILED), "{}", outcome.stderr);
    let path = store.to_str().unwrap();
    let words = ["no room to write to the store", path, "free some space"];
    assert_one_line(&outcome, &words);
    footprint.assert_gone();
    // Windows that were stored are whole, also on the full disk, and the next sampler goes on.
    let kept = number(&history(&store).unwrap(), "windows");
    assert!(kept >= 2);
    disk.empty().unwrap();
    let running = sampler(ship.ship.pier(), &store).start().unwrap();
    wait_for_windows(&store, kept + 1);
    running.signal(Signal::TERM).unwrap();
    assert_eq!(running.finish().unwrap().code(), Some(DONE));
}

#[test]
fn a_store_of_a_newer_schema_is_left_as_it_is() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let sampled = Sampled::new();
    let mut bytes = fs::read(sampled.store()).unwrap();
    // The user version (https://www.sqlite.org/fileformat.html, 1.3): there the schema's is.
    bytes[60..64].copy_from_slice(&7_u32.to_be_bytes());
    fs::write(sampled.store(), &bytes).unwrap();
    let outcome = sampled.once(&sampled.store());
    assert_fails(
        &outcome,
        &[
            "schema version 7",
            "this profile knows version",
            "newer profile",
        ],
    );
    assert_eq!(fs::read(sampled.store()).unwrap(), bytes);
}

#[test]
fn a_damaged_store_is_told_and_not_written_to() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let sampled = Sampled::new();
    let whole = fs::read(sampled.store()).unwrap();
    let cut = whole[..whole.len() / 2].to_vec();
    let mut scratched = whole.clone();
    // Every page but the first, in its head: whatever is read or written is among them.
    for page in scratched.chunks_mut(4096).skip(1) {
        page[..64].fill(0xff);
    }
    let foreign = vec![b'x'; 9000];
    for (what, bytes, words) in [
        ("cut off", cut, "is damaged ("),
        ("scratched", scratched, "is damaged ("),
        ("foreign", foreign, "is no store of profile"),
    ] {
        println!("{what}");
        fs::write(sampled.store(), &bytes).unwrap();
        let outcome = sampled.once(&sampled.store());
        assert_eq!(outcome.code(), Some(FAILED), "{what}: {outcome:?}");
        assert_one_line(&outcome, &[words, sampled.store().to_str().unwrap()]);
        assert_eq!(fs::read(sampled.store()).unwrap(), bytes, "{what}");
        let read = Profile::new(["history", "--store"]).arg(sampled.store());
        assert_fails(&read.run().unwrap(), &[words]);
    }
    // Moved away, as the sentence says, it begins anew.
    fs::rename(sampled.store(), sampled.home.path().join("damaged.db")).unwrap();
    assert_eq!(sampled.once(&sampled.store()).code(), Some(DONE));
}

#[test]
fn a_link_is_no_store_and_what_it_names_is_left_alone() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let sampled = Sampled::new();
    let bytes = fs::read(sampled.store()).unwrap();
    let link = sampled.home.path().join("link.db");
    symlink(sampled.store(), &link).unwrap();
    let outcome = sampled.once(&link);
    let words = [
        link.to_str().unwrap(),
        "is a symbolic link",
        "name another path",
    ];
    assert_fails(&outcome, &words);
    assert_eq!(fs::read(sampled.store()).unwrap(), bytes);
    assert!(!names_in(sampled.home.path()).contains(&"link.db.lock".to_owned()));
}

#[test]
fn a_folder_of_another_user_is_refused_at_once() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let ship = ShipInMemory::start(&ShipOptions::default());
    let home = Scratch::in_memory("store").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let theirs = home.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    let store = theirs.join("ships.db");
    let once = sampler(ship.ship.pier(), &store).arg("--once");
    // Root may write there, but not for long: the sampler gives that up with all it does not need.
    let words = [theirs.to_str().unwrap(), "privileges", "/var/lib/profile"];
    assert_fails(&once.run().unwrap(), &words);
    assert_eq!(names_in(&theirs), [""; 0]);
    // And the other way round: a user in root's folder.
    let ours = home.path().join("ships.db");
    let user = Unprivileged::new();
    let pier = ship.ship.pier().to_str().unwrap();
    let arguments = ["sampler", "--ship", pier, "--store", ours.to_str().unwrap()];
    assert_fails(&user.run(&arguments), &["may not be opened", "root"]);
    assert_eq!(names_in(home.path()), ["theirs"]);
}

#[test]
fn losses_are_told_to_every_ship() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let home = Scratch::in_memory("piers").unwrap();
    // They rest, so that what they wait for later is new.
    let ships = ["~zod", "~nec"].map(|name| {
        let options = ShipOptions {
            ship: Some(name.into()),
            events_per_second: Some(0.0),
            ..ShipOptions::default()
        };
        options.start_in(home.path()).unwrap()
    });
    let store = home.path().join("ships.db");
    let running = Profile::new(["sampler", "--all", "--interval", "1", "--store"])
        .arg(&store)
        .start()
        .unwrap();
    let footprint = wait_for_capture(&running);
    footprint.fill_waits();
    let peer = PeerOptions {
        packets_per_second: 50.0,
        bytes: 500,
        seconds: 2,
        bursts: None,
    };
    peer.start(ships[0].udp_port()).unwrap().wait().unwrap();
    let lost = |name: &str| {
        let history = history_of(&store, &["--ship", name]);
        let losses = history
            .as_ref()
            .and_then(|history| history["losses"].as_object());
        let counts = losses.into_iter().flat_map(|losses| losses.iter());
        counts
            .filter(|(what, _)| what.contains("waits without a reason"))
            .filter_map(|(_, count): (&String, &Value)| count.as_u64())
            .sum::<u64>()
    };
    poll_until("losses in both histories", LIMIT, || {
        let lost = ["~zod", "~nec"].map(&lost);
        Ok(if lost.iter().all(|lost| *lost > 0) {
            Ok(())
        } else {
            Err(format!("{lost:?}"))
        })
    })
    .unwrap();
    running.signal(Signal::TERM).unwrap();
    let outcome = running.finish().unwrap();
    assert_eq!(outcome.code(), Some(DONE), "{}", outcome.stderr);
    // Whose they were is not known: the same number of all.
    assert_eq!(lost("~zod"), lost("~nec"));
    footprint.assert_gone();
}
