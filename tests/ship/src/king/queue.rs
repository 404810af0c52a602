//! What waits to go to mars: events of timers, packets and `conn.sock`, and reads (vere `auto.c`, `pier.c`).

use std::collections::VecDeque;

use noun::Noun;

use super::conn::Reply;
use super::lord::Kind;
use crate::options::KingOptions;
use crate::ovum::{Ovum, Workload};

/// Events of a driver that wait at most (vere `io/ames.c:29`).
const LIMIT: usize = 30;

/// The queues, one per driver.
pub struct Queues {
    peeks: VecDeque<(Noun, Reply)>,
    wakes: VecDeque<Waiting>,
    packets: VecDeque<Waiting>,
    injected: VecDeque<(Waiting, Reply)>,
    work: Workload,
    bail_share: f64,
    /// Share of an event that is to fail, collected from those before.
    bail_credit: f64,
    wake_interval_ns: Option<u64>,
    next_wake_ns: Option<u64>,
    dropped: u64,
    skipped: u64,
}

/// An event, and when it came.
struct Waiting {
    ovum: Ovum,
    arrival_ktime_ns: u64,
}

/// What goes to mars next.
pub enum Work {
    /// A read.
    Peek {
        /// What to read.
        each: Noun,
        /// Who wants it.
        reply: Reply,
    },
    /// An event.
    Poke {
        /// The event.
        ovum: Ovum,
        /// Its driver.
        kind: Kind,
        /// When the king's turn began that took it.
        arrival_ktime_ns: u64,
        /// Who waits for it.
        reply: Option<Reply>,
    },
}

impl Queues {
    /// Empty queues, for the workload asked for.
    pub fn new(options: &KingOptions) -> Self {
        let rate = options.events_per_second;
        Self {
            peeks: VecDeque::new(),
            wakes: VecDeque::new(),
            packets: VecDeque::new(),
            injected: VecDeque::new(),
            work: Workload {
                compute_us: options.compute_us,
                dirty_pages: options.dirty_pages,
                bails: false,
            },
            bail_share: options.bail_share,
            bail_credit: 0.0,
            wake_interval_ns: (rate > 0.0).then(|| (1e9 / rate) as u64),
            next_wake_ns: None,
            dropped: 0,
            skipped: 0,
        }
    }

    /// Starts the timer.
    pub fn start(&mut self, now_ns: u64) {
        self.next_wake_ns = self.wake_interval_ns.map(|interval| now_ns + interval);
    }

    /// When the timer is due.
    pub fn next_wake_ns(&self) -> Option<u64> {
        self.next_wake_ns
    }

    /// Packets dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Timer events left out because too many waited.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Makes the events of timers that are due, in a turn that began at `arrival_ktime_ns`. With too many
    /// waiting it leaves them out: a real timer is set again only by an event, and so cannot pile up either.
    pub fn wake(&mut self, now_ns: u64, arrival_ktime_ns: u64) {
        while let (Some(due), Some(interval)) = (self.next_wake_ns, self.wake_interval_ns)
            && due <= now_ns
        {
            self.next_wake_ns = Some(due + interval.max(1));
            if self.wakes.len() == LIMIT {
                self.skipped += 1;
                continue;
            }
            let ovum = Ovum::wake(self.next_work());
            self.wakes.push_back(Waiting {
                ovum,
                arrival_ktime_ns,
            });
        }
    }

    /// Makes the event of a packet. With too many waiting, the oldest is dropped.
    pub fn hear(&mut self, lane: Noun, packet: &[u8], arrival_ktime_ns: u64) {
        if self.packets.len() == LIMIT {
            self.packets.pop_front();
            self.dropped += 1;
        }
        let ovum = Ovum::hear(lane, packet, self.next_work());
        self.packets.push_back(Waiting {
            ovum,
            arrival_ktime_ns,
        });
    }

    /// Takes an event from `conn.sock`.
    pub fn inject(&mut self, ovum: Ovum, reply: Reply, arrival_ktime_ns: u64) {
        self.injected.push_back((
            Waiting {
                ovum,
                arrival_ktime_ns,
            },
            reply,
        ));
    }

    /// Takes a read from `conn.sock`.
    pub fn peek(&mut self, each: Noun, reply: Reply) {
        self.peeks.push_back((each, reply));
    }

    /// What goes next: reads, then the drivers in their order.
    pub fn next(&mut self) -> Option<Work> {
        let poke = |waiting: Waiting, kind, reply| Work::Poke {
            ovum: waiting.ovum,
            kind,
            arrival_ktime_ns: waiting.arrival_ktime_ns,
            reply,
        };
        if let Some((each, reply)) = self.peeks.pop_front() {
            return Some(Work::Peek { each, reply });
        }
        if let Some(waiting) = self.wakes.pop_front() {
            return Some(poke(waiting, Kind::Wake, None));
        }
        if let Some(waiting) = self.packets.pop_front() {
            return Some(poke(waiting, Kind::Hear, None));
        }
        self.injected
            .pop_front()
            .map(|(waiting, reply)| poke(waiting, Kind::Injected, Some(reply)))
    }

    /// The work of the next event: as asked for, and failing as often as asked for.
    fn next_work(&mut self) -> Workload {
        self.bail_credit += self.bail_share;
        let bails = self.bail_credit >= 1.0;
        if bails {
            self.bail_credit -= 1.0;
        }
        Workload { bails, ..self.work }
    }
}
