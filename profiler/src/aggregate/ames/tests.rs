//! Peers, forwarding and addresses, from sums as the programs keep them.

use super::*;
use profiler_common::packet::{KIND_AMES, KIND_MESA_PAGE, KIND_MESA_PEEK, KIND_MESA_POKE};

const OWN: Ship = Ship(0);
const PLANET: Ship = Ship(1_624_961_343);
const COMET: Ship = Ship(1 << 64);

fn number(ship: Ship) -> [u64; 2] {
    [ship.0 as u64, (ship.0 >> 64) as u64]
}

/// `packets` datagrams of 100 bytes with the other end at port `port`.
fn entry(
    kind: u8,
    flags: u8,
    (sender, receiver): (Option<Ship>, Option<Ship>),
    port: u16,
    packets: u64,
) -> (PacketKey, PacketTotals) {
    let flag = |ship: Option<Ship>, flag| if ship.is_some() { flag } else { 0 };
    let key = PacketKey {
        sender: sender.map_or([0; 2], number),
        receiver: receiver.map_or([0; 2], number),
        remote_address: 1,
        remote_port: port,
        kind,
        flags: flags | flag(sender, HAS_SENDER) | flag(receiver, HAS_RECEIVER),
    };
    let totals = PacketTotals {
        packets,
        bytes: packets * 100,
        answers: 0,
        answer_ns: 0,
    };
    (key, totals)
}

#[test]
fn the_peer_is_who_sends_to_us_or_whom_we_send_to() {
    let packets = [
        entry(KIND_AMES, 0, (Some(PLANET), Some(OWN)), 1, 3),
        entry(KIND_AMES, SENT, (Some(OWN), Some(PLANET)), 1, 2),
        entry(KIND_MESA_POKE, 0, (Some(COMET), Some(OWN)), 2, 7),
    ];
    let peers = peers(&packets, &Seen::of(&packets), Some(OWN));
    assert_eq!(peers[0].ship, "~doznec--dozzod-dozzod-dozzod-dozzod");
    assert_eq!(peers[0].traffic.received.packets, 7);
    assert_eq!(peers[1].ship, "~sampel-palnet");
    assert_eq!(
        (
            peers[1].traffic.received.packets,
            peers[1].traffic.sent.bytes
        ),
        (3, 200)
    );
    assert_eq!(peers[1].kinds.keys().copied().collect::<Vec<_>>(), ["ames"]);
    assert_eq!(peers.len(), 2);
}

#[test]
fn what_names_nobody_goes_by_the_address_if_it_is_one_ships() {
    let peek = entry(KIND_MESA_PEEK, 0, (None, Some(OWN)), 1, 1);
    let page = entry(KIND_MESA_PAGE, SENT, (Some(OWN), None), 1, 4);
    let alone = [
        entry(KIND_MESA_POKE, 0, (Some(PLANET), Some(OWN)), 1, 4),
        peek,
        page,
    ];
    let found = peers(&alone, &Seen::of(&alone), Some(OWN));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].by_address.sent.packets, 4);
    assert_eq!(found[0].traffic.received.packets, 5);
    // A galaxy's address, by which several speak, is nobody's.
    let other = entry(KIND_AMES, RELAYED, (Some(COMET), Some(OWN)), 1, 1);
    let shared = [alone[0], other, peek, page];
    let seen = Seen::of(&shared);
    assert_eq!(seen.peer(&peek.0, Some(OWN)), None);
    let relayed = &peers(&shared, &seen, Some(OWN))[1];
    assert_eq!(relayed.relayed.received.packets, 1);
}

#[test]
fn every_datagram_is_a_peers_or_nobodys() {
    let packets = [
        entry(KIND_AMES, 0, (Some(PLANET), Some(OWN)), 1, 3),
        entry(KIND_MESA_PEEK, 0, (None, Some(OWN)), 9, 5),
        entry(packet::KIND_OTHER, 0, (None, None), 9, 2),
    ];
    let seen = Seen::of(&packets);
    let named: u64 = peers(&packets, &seen, Some(OWN))
        .iter()
        .map(|peer| peer.traffic.received.packets)
        .sum();
    let unnamed = packets
        .iter()
        .filter(|(key, _)| seen.peer(key, Some(OWN)).is_none());
    assert_eq!(
        named + all(unnamed).received.packets,
        all(packets.iter()).received.packets
    );
}

#[test]
fn forwarding_is_what_is_neither_from_nor_for_us() {
    let passes = |flags, from, to| is_of_others(&entry(KIND_AMES, flags, (from, to), 1, 1).0, OWN);
    assert!(passes(0, Some(PLANET), Some(COMET)));
    assert!(passes(SENT | RELAYED, Some(PLANET), Some(COMET)));
    assert!(!passes(0, Some(PLANET), Some(OWN)));
    assert!(!passes(SENT, Some(OWN), Some(PLANET)));
    // A page of ours names no receiver.
    assert!(!passes(SENT, Some(OWN), None));
}

#[test]
fn sums_beyond_all_measure_do_not_overflow() {
    let mut heavy = entry(KIND_AMES, 0, (Some(PLANET), None), 1, 1);
    heavy.1.packets = u64::MAX;
    heavy.1.bytes = u64::MAX;
    heavy.1.answers = u64::MAX;
    let packets = [heavy, heavy];
    let found = peers(&packets, &Seen::of(&packets), None);
    assert_eq!(found[0].traffic.bytes(), u64::MAX);
}
