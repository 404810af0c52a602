//! Datagrams by peer ship, against what the peers themselves counted.

use harness::gate;
use harness::peer::PeerOptions;
use harness::process::poll_until;
use harness::profile::Profile;
use harness::ship::ShipOptions;
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

use crate::kernel::{is_capturing, wait_for_capture};
use crate::oracles::{drops, queued_bytes};
use crate::support::{Report, ShipInMemory, number};

/// Length of a capture that is ended when it has seen enough, s.
const LONG: u64 = 60;
/// How long the king may take for what is in its socket.
const QUIET_LIMIT: Duration = Duration::from_secs(60);

/// A capture of all that some peers do, and what they say of it.
fn capture(ship: &ShipInMemory, peers: &PeerOptions, answer_ms: u64) -> (Report, Value) {
    let port = ship.ship.udp_port();
    let profile = Profile::deep_dive(ship.ship.pier(), LONG).json();
    let profile = profile.start().unwrap();
    let footprint = wait_for_capture(&profile);
    let mut peers = peers.start_answering(port, answer_ms).unwrap();
    let truth = peers.wait().unwrap();
    poll_until("the king to empty its socket", QUIET_LIMIT, || {
        let queued = queued_bytes(port);
        Ok(if queued == 0 {
            Ok(())
        } else {
            Err(format!("{queued} bytes"))
        })
    })
    .unwrap();
    assert!(is_capturing(&profile, &footprint));
    profile.signal(Signal::INT).unwrap();
    (Report::of(&profile.finish().unwrap()), truth)
}

/// What the report says of a peer.
fn peer<'a>(report: &'a Report, ship: &Value) -> &'a Value {
    let peers = report.0["ames"]["peers"]["known"].as_array();
    let peers = peers.unwrap_or_else(|| panic!("peers are not measured: {report}"));
    let found = peers.iter().find(|peer| peer["ship"] == *ship);
    found.unwrap_or_else(|| panic!("{ship} is not among them: {report}"))
}

#[test]
fn datagrams_are_counted_by_ship() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    // No event of a timer comes between, so that none of the packets is dropped by the king.
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(0.0),
        peeks_per_second: Some(30.0),
        ..ShipOptions::default()
    });
    let peers = PeerOptions {
        packets_per_second: 100.0,
        bytes: 900,
        seconds: 4,
        bursts: None,
    };
    let (report, truth) = capture(&ship, &peers, 20);
    let ships = truth["ships"].as_array().unwrap();
    let (mut answered, mut held_ns) = (0, 0);
    for of_peer in ships {
        let of_report = peer(&report, &of_peer["ship"]);
        // What one end sends the other receives. Peeks that came after the peer had gone were still sent.
        assert_eq!(of_report["received"], of_peer["sent"], "{report}");
        let kinds = &of_report["kinds"];
        let peeks = number(&kinds["mesa_peek"]["sent"], "packets");
        let others = number(&of_report["sent"], "packets") - peeks;
        let questions = number(of_peer, "questions");
        assert_eq!(others, number(&of_peer["received"], "packets") - questions);
        assert!(peeks >= questions, "{report}");
        assert_eq!(number(of_report, "answers"), number(of_peer, "answered"));
        answered += number(of_peer, "answered");
        held_ns += number(of_peer, "held_ns");
    }
    let ames = &report.0["ames"];
    let peeks = &ames["peek_round_trips"]["known"];
    assert!(answered > 0);
    assert_eq!(number(peeks, "count"), answered);
    // The way there and back comes on top of what the peers held their answers for.
    assert!(number(peeks, "total_ns") >= held_ns, "{report}");
    for none in ["unnamed", "forwarded"] {
        assert_eq!(number(&ames[none]["known"]["received"], "packets"), 0);
        assert_eq!(number(&ames[none]["known"]["sent"], "packets"), 0);
    }
    let in_socket = &ames["in_socket"]["known"];
    assert_eq!(
        number(in_socket, "count"),
        number(&report.0["udp"], "received")
    );
    assert_eq!(number(in_socket, "unknown"), 0);
    // vere does not tell, and so it is not zero.
    assert!(!ames["ames_round_trips"]["unknown"]["reason"].is_null());
    assert!(!ames["mesa_queue_drops"]["unknown"]["reason"].is_null());
}

#[test]
fn what_the_buffer_loses_came_all_the_same() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    /// What the king does with each packet, so that those behind it wait.
    const KING_US: u64 = 2_000;
    let ship = ShipInMemory::start(&ShipOptions {
        events_per_second: Some(0.0),
        king_compute_us: Some(KING_US),
        rcvbuf_bytes: Some(64 << 10),
        ..ShipOptions::default()
    });
    let before = drops(ship.ship.udp_port());
    let peers = PeerOptions {
        packets_per_second: 200.0,
        bytes: 1000,
        seconds: 3,
        bursts: Some(200),
    };
    let (report, truth) = capture(&ship, &peers, 0);
    let (udp, ames) = (&report.0["udp"], &report.0["ames"]);
    let (received, dropped) = (number(udp, "received"), number(udp, "dropped"));
    assert_eq!(dropped, drops(ship.ship.udp_port()) - before);
    assert!(dropped > 100, "{report}");
    let mut arrived = 0;
    for of_peer in truth["ships"].as_array().unwrap() {
        let of_report = peer(&report, &of_peer["ship"]);
        assert_eq!(of_report["received"], of_peer["sent"], "{report}");
        arrived += number(&of_report["received"], "packets");
    }
    assert_eq!(arrived, received + dropped);
    let in_socket = &ames["in_socket"]["known"];
    assert_eq!(
        number(in_socket, "count") + number(in_socket, "unknown"),
        received
    );
    assert!(number(in_socket, "unknown") <= received / 100, "{report}");
    // Of n datagrams that come at once, each waits for those before it. Three bursts of equal length are the
    // least that they can have waited together; the first batch of six may have been taken while more came.
    // What one took of the king's CPU the kernel says: the ship's computing is as long as it was told to be only
    // as far as the CPU is as quick as at the start.
    let king = report.list("threads").iter();
    let king = king.filter(|thread| thread["role"] == "king");
    let king_ns: u64 = king.map(|one| number(&one["kernel"], "on_cpu_ns")).sum();
    let each_ns = (king_ns / received).min(KING_US * 1000);
    let in_burst = received / 3;
    let least_ns = 3 * (in_burst * in_burst / 2) * each_ns;
    let waited_ns = number(in_socket, "total_ns");
    println!("waited {waited_ns} ns, at least {least_ns} ns expected, {received} received");
    assert!(waited_ns > least_ns * 8 / 10, "{report}");
    // What the king drops from its queue, it tells itself.
    assert!(!ames["king"]["known"]["dropped"].is_null(), "{report}");
    assert_eq!(number(udp, "receive_buffer_bytes"), 64 << 10);
    assert_eq!(number(ames, "asked_buffer_bytes"), 2 << 20);
}
