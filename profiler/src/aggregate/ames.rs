//! Datagrams by peer ship, as far as their headers tell, and the times around them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use noun::Ship;
use profiler_common::ames::{
    HAS_RECEIVER, HAS_SENDER, PacketKey, PacketTotals, RELAYED, SENT, TIME_IN_SOCKET, TIME_OF_PEEK,
    TIME_OF_POKE, Times,
};
use profiler_common::packet;
use serde::Serialize;

use crate::host::Reading;
use crate::model::{Capture, Histogram, Meta};
use crate::ship::NameSource;

/// What vere asks of the kernel for its socket since v3.2, in bytes (`pkg/vere/io/mesa.c:2644`).
pub const ASKED_BUFFER_BYTES: u64 = 2 << 20;

/// Counters of the king that only grow (`pkg/vere/io/ames.c`, `_ames_io_info`); the others are states.
const KING_COUNTERS: [&str; 6] = [
    "dropped",
    "forwarded",
    "forwards-dropped",
    "crashed",
    "evil",
    "lane-scry-fails",
];
/// What else it counts: datagrams that it filtered out, by reason.
const FILTERED: &str = "filtered-";

/// Datagrams and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Datagrams.
    pub packets: u64,
    /// Bytes of their UDP payload.
    pub bytes: u64,
}

/// Both ways. What came in includes what was lost at a full receive buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BothWays {
    /// To the ship.
    pub received: Traffic,
    /// From the ship.
    pub sent: Traffic,
}

/// All datagrams of one ship with this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its name, such as `~sampel-palnet`.
    pub ship: String,
    /// All of its datagrams.
    #[serde(flatten)]
    pub traffic: BothWays,
    /// The same by kind.
    pub kinds: BTreeMap<&'static str, BothWays>,
    /// Of these, what came or went through another ship.
    pub relayed: BothWays,
    /// Of these, datagrams that name nobody, but whose address is this ship's alone.
    pub by_address: BothWays,
    /// Mesa questions to it that it answered, each asked once.
    pub answers: u64,
    /// Mean time to the answer; nothing if there was none.
    pub answer_mean_ns: Option<u64>,
}

/// Some times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimesSummary {
    /// How many.
    pub count: u64,
    /// In all.
    pub total_ns: u64,
    /// Median.
    pub p50_ns: Option<u64>,
    /// 95th percentile.
    pub p95_ns: Option<u64>,
    /// The longest.
    pub max_ns: u64,
    /// How many could not be measured.
    pub unknown: u64,
}

/// Traffic with other ships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AmesSummary {
    /// By peer, most bytes first.
    pub peers: Reading<Vec<Peer>>,
    /// Everything, by kind.
    pub kinds: Reading<BTreeMap<&'static str, BothWays>>,
    /// What names no ship and whose address is not one ship's alone.
    pub unnamed: Reading<BothWays>,
    /// What came for other ships, and what went out in the name of others.
    pub forwarded: Reading<BothWays>,
    /// How long datagrams stood in the socket before the king took them.
    pub in_socket: Reading<TimesSummary>,
    /// From a Mesa peek to its page.
    pub peek_round_trips: Reading<TimesSummary>,
    /// From a Mesa poke to its acknowledgement, with the time that the peer took for the event.
    pub poke_round_trips: Reading<TimesSummary>,
    /// The same of the older protocol.
    pub ames_round_trips: Reading<TimesSummary>,
    /// What the king counted itself, by vere's names: `dropped` is its own queue of 30.
    pub king: Reading<BTreeMap<String, u64>>,
    /// What Mesa drops from its queues.
    pub mesa_queue_drops: Reading<u64>,
    /// What vere asks for as receive buffer, in bytes.
    pub asked_buffer_bytes: u64,
}

/// Sums a capture's datagrams up.
pub fn summarise(capture: &Capture) -> AmesSummary {
    let (meta, packets) = (&capture.meta, &capture.totals.ames.packets);
    let own = own_ship(meta);
    let seen = Seen::of(packets);
    let both = missing(meta, &["ames_ingress", "ames_egress"]);
    let reading = |reason: &Option<String>| reason.clone().map_or(Ok(()), Err);
    let measured = reading(&both);
    AmesSummary {
        peers: known(measured.clone().map(|()| peers(packets, &seen, own))),
        kinds: known(measured.clone().map(|()| kinds(packets))),
        unnamed: known(measured.clone().map(|()| {
            let unnamed = |(key, _): &&(PacketKey, _)| seen.peer(key, own).is_none();
            all(packets.iter().filter(unnamed))
        })),
        forwarded: known(measured.clone().and_then(|()| {
            let own = own.ok_or("the ship's own name is not known for certain")?;
            let forwarded = |(key, _): &&(PacketKey, _)| is_of_others(key, own);
            Ok(all(packets.iter().filter(forwarded)))
        })),
        in_socket: times(
            capture,
            TIME_IN_SOCKET,
            missing(meta, &["ames_ingress", "sock_recv_length"]),
        ),
        peek_round_trips: times(capture, TIME_OF_PEEK, both.clone()),
        poke_round_trips: times(capture, TIME_OF_POKE, both),
        ames_round_trips: Reading::unknown(
            "an acknowledgement of Ames is encrypted, and its header does not tell it from a message",
        ),
        king: king(meta),
        mesa_queue_drops: Reading::unknown(
            "vere up to 4.6 neither counts nor logs what Mesa drops from its queues",
        ),
        asked_buffer_bytes: ASKED_BUFFER_BYTES,
    }
}

fn known<T>(result: Result<T, String>) -> Reading<T> {
    match result {
        Ok(value) => Reading::Known(value),
        Err(reason) => Reading::Unknown { reason },
    }
}

/// Why something is not measured, if one of these probes is not attached.
fn missing(meta: &Meta, probes: &[&str]) -> Option<String> {
    let absent = probes.iter().find(|probe| !meta.attached(probe))?;
    let status = meta.probes.iter().find(|status| status.name == *absent);
    let why = status.and_then(|status| status.error.as_deref());
    Some(format!("{absent}: {}", why.unwrap_or("not attached")))
}

/// The ship's own number, where vere itself wrote its name.
fn own_ship(meta: &Meta) -> Option<Ship> {
    let name = meta.ship.name.as_ref()?;
    (name.source == NameSource::SpinStack).then(|| name.text.parse().ok())?
}

fn ship(number: [u64; 2]) -> Ship {
    let [low, high] = number.map(u128::from);
    Ship(high << 64 | low)
}

fn sender(key: &PacketKey) -> Option<Ship> {
    (key.flags & HAS_SENDER != 0).then(|| ship(key.sender))
}

fn receiver(key: &PacketKey) -> Option<Ship> {
    (key.flags & HAS_RECEIVER != 0).then(|| ship(key.receiver))
}

fn is_sent(key: &PacketKey) -> bool {
    key.flags & SENT != 0
}

/// Whether a datagram only passes through this ship.
fn is_of_others(key: &PacketKey, own: Ship) -> bool {
    if is_sent(key) {
        sender(key).is_some_and(|sender| sender != own)
    } else {
        receiver(key).is_some_and(|receiver| receiver != own)
    }
}

/// The ship at the other end, if the header names it.
fn named_peer(key: &PacketKey) -> Option<Ship> {
    if is_sent(key) {
        receiver(key)
    } else {
        sender(key)
    }
}

/// Whose the addresses are: those from which, or to which, one ship alone speaks without a relay.
struct Seen(BTreeMap<(u32, u16), BTreeSet<Ship>>);

impl Seen {
    fn of(packets: &[(PacketKey, PacketTotals)]) -> Self {
        let mut seen: BTreeMap<_, BTreeSet<Ship>> = BTreeMap::new();
        for (key, _) in packets {
            let address = (key.remote_address, key.remote_port);
            seen.entry(address).or_default().extend(named_peer(key));
        }
        Self(seen)
    }

    /// The ship at the other end, by its header or else by its address. A page that is sent names the
    /// ship itself, and a question that came nobody else.
    fn peer(&self, key: &PacketKey, own: Option<Ship>) -> Option<(Ship, bool)> {
        if let Some(named) = named_peer(key) {
            return Some((named, false));
        }
        let at = self.0.get(&(key.remote_address, key.remote_port))?;
        let mut others = at.iter().filter(|ship| Some(**ship) != own);
        let (Some(one), None) = (others.next(), others.next()) else {
            return None;
        };
        Some((*one, true))
    }
}

fn peers(packets: &[(PacketKey, PacketTotals)], seen: &Seen, own: Option<Ship>) -> Vec<Peer> {
    let mut peers: BTreeMap<Ship, (Peer, u64)> = BTreeMap::new();
    for (key, totals) in packets {
        let Some((ship, by_address)) = seen.peer(key, own) else {
            continue;
        };
        let (peer, answer_ns) = peers.entry(ship).or_insert_with(|| (Peer::new(ship), 0));
        peer.traffic.add(key, totals);
        peer.kinds
            .entry(kind(key.kind))
            .or_default()
            .add(key, totals);
        if key.flags & RELAYED != 0 {
            peer.relayed.add(key, totals);
        }
        if by_address {
            peer.by_address.add(key, totals);
        }
        peer.answers = peer.answers.saturating_add(totals.answers);
        *answer_ns = answer_ns.saturating_add(totals.answer_ns);
    }
    let mut peers: Vec<Peer> = peers
        .into_values()
        .map(|(mut peer, answer_ns)| {
            peer.answer_mean_ns = answer_ns.checked_div(peer.answers);
            peer
        })
        .collect();
    // Their names were in the order of their numbers, which stays among equals.
    peers.sort_by_key(|peer| Reverse(peer.traffic.bytes()));
    peers
}

impl Peer {
    fn new(ship: Ship) -> Self {
        Self {
            ship: ship.to_string(),
            traffic: BothWays::default(),
            kinds: BTreeMap::new(),
            relayed: BothWays::default(),
            by_address: BothWays::default(),
            answers: 0,
            answer_mean_ns: None,
        }
    }
}

impl BothWays {
    fn add(&mut self, key: &PacketKey, totals: &PacketTotals) {
        let way = if is_sent(key) {
            &mut self.sent
        } else {
            &mut self.received
        };
        way.packets = way.packets.saturating_add(totals.packets);
        way.bytes = way.bytes.saturating_add(totals.bytes);
    }

    /// Bytes of both ways.
    pub fn bytes(&self) -> u64 {
        self.received.bytes.saturating_add(self.sent.bytes)
    }
}

fn all<'a>(packets: impl Iterator<Item = &'a (PacketKey, PacketTotals)>) -> BothWays {
    let mut sum = BothWays::default();
    for (key, totals) in packets {
        sum.add(key, totals);
    }
    sum
}

fn kinds(packets: &[(PacketKey, PacketTotals)]) -> BTreeMap<&'static str, BothWays> {
    let mut kinds: BTreeMap<_, BothWays> = BTreeMap::new();
    for (key, totals) in packets {
        kinds.entry(kind(key.kind)).or_default().add(key, totals);
    }
    kinds
}

/// Stable name of a kind.
fn kind(kind: u8) -> &'static str {
    match kind {
        packet::KIND_AMES => "ames",
        packet::KIND_AMES_RESPONSE => "ames_response",
        packet::KIND_FINE_REQUEST => "fine_request",
        packet::KIND_FINE_RESPONSE => "fine_response",
        packet::KIND_MESA_PAGE => "mesa_page",
        packet::KIND_MESA_PEEK => "mesa_peek",
        packet::KIND_MESA_POKE => "mesa_poke",
        packet::KIND_STUN_REQUEST => "stun_request",
        packet::KIND_STUN_RESPONSE => "stun_response",
        _ => "other",
    }
}

fn times(capture: &Capture, index: u32, missing: Option<String>) -> Reading<TimesSummary> {
    if let Some(reason) = missing {
        return Reading::Unknown { reason };
    }
    let all = &capture.totals.ames.times;
    match all.iter().find(|(of, _)| *of == index) {
        Some((_, times)) => Reading::Known(summary(times)),
        None => Reading::unknown("the capture does not hold it"),
    }
}

fn summary(times: &Times) -> TimesSummary {
    let mut histogram = Histogram::default();
    histogram.add_buckets(&times.buckets);
    let quantile = |permille| Some(histogram.quantile(permille)?.min(times.max_ns));
    TimesSummary {
        count: times.count,
        total_ns: times.total_ns,
        p50_ns: quantile(500),
        p95_ns: quantile(950),
        max_ns: times.max_ns,
        unknown: times.unknown,
    }
}

/// How much the king's counters grew. It is asked just after the window opens and just before it closes.
fn king(meta: &Meta) -> Reading<BTreeMap<String, u64>> {
    let ends = (&meta.king_counters_start, &meta.king_counters_end);
    let (before, after) = match ends {
        (Reading::Known(before), Reading::Known(after)) => (before, after),
        (Reading::Unknown { reason }, _) | (_, Reading::Unknown { reason }) => {
            return Reading::unknown(reason.clone());
        }
    };
    let counts = |name: &str| KING_COUNTERS.contains(&name) || name.starts_with(FILTERED);
    let grown: BTreeMap<String, u64> = after
        .iter()
        .filter(|(name, _)| counts(name))
        // A king that began anew counts from zero.
        .filter_map(|(name, now)| Some((name.clone(), now.checked_sub(*before.get(name)?)?)))
        .collect();
    if grown.is_empty() {
        return Reading::unknown("this version of vere does not tell its counters");
    }
    Reading::Known(grown)
}

#[cfg(test)]
mod tests;
