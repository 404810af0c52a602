//! Questions to other ships: Mesa peeks at a steady rate, each asked once.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use noun::Ship;

use crate::packet;

/// Whom to ask, and when.
pub struct Peeks {
    interval_ns: Option<u64>,
    next_ns: Option<u64>,
    asked: u64,
    peers: BTreeMap<Ship, SocketAddrV4>,
}

impl Peeks {
    /// As many a second; none for 0.
    pub fn new(per_second: f64) -> Self {
        Self {
            interval_ns: (per_second > 0.0).then(|| ((1e9 / per_second) as u64).max(1)),
            next_ns: None,
            asked: 0,
            peers: BTreeMap::new(),
        }
    }

    /// Starts the timer.
    pub fn start(&mut self, now_ns: u64) {
        self.next_ns = self.interval_ns.map(|interval| now_ns + interval);
    }

    /// When the next one is due.
    pub fn next_ns(&self) -> Option<u64> {
        self.next_ns
    }

    /// Notes where a ship speaks from.
    pub fn hear(&mut self, ship: Ship, from: SocketAddrV4) {
        self.peers.insert(ship, from);
    }

    /// The questions that are due, to all known ships in turn.
    pub fn due(&mut self, now_ns: u64) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let mut due = Vec::new();
        while let (Some(next), Some(interval)) = (self.next_ns, self.interval_ns)
            && next <= now_ns
        {
            self.next_ns = Some(next + interval);
            let turn = self.asked as usize % self.peers.len().max(1);
            if let Some((ship, lane)) = self.peers.iter().nth(turn) {
                due.push((*lane, packet::mesa_peek(*ship, self.asked)));
                self.asked += 1;
            }
        }
        due
    }
}
