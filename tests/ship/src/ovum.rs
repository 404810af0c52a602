//! Events: where they come from, what they say, and the work that they are.
//!
//! The amount of work that an event shall be rides in its ovum, so that it is also in the event log for a replay.

use std::time::{SystemTime, UNIX_EPOCH};

use noun::Noun;

/// The work that one event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Workload {
    /// CPU time of the computation, in microseconds.
    pub compute_us: u64,
    /// Clean loom pages to write to.
    pub dirty_pages: u64,
    /// Whether the computation fails at its end.
    pub bails: bool,
}

impl Workload {
    /// `[%work compute-us dirty-pages bails]`, the tail of a card.
    pub fn to_noun(self) -> Noun {
        Noun::tuple([
            Noun::cord("work"),
            Noun::from(self.compute_us),
            Noun::from(self.dirty_pages),
            Noun::loobean(self.bails),
        ])
    }

    /// Finds the work at the end of a card, whatever stands before it. A card of anyone else is no work.
    pub fn of_card(card: &Noun) -> Self {
        let mut rest = card;
        while let Some((head, tail)) = rest.as_cell() {
            if head.is_cord("work")
                && let Some(numbers) = tail.as_tuple::<3>()
                && let [Some(compute_us), Some(dirty_pages), Some(bails)] =
                    numbers.map(Noun::as_u64)
            {
                return Self {
                    compute_us,
                    dirty_pages,
                    bails: bails == 0,
                };
            }
            rest = tail;
        }
        Self::default()
    }

    /// The work of noting that this event failed: a tenth of it, and it does not fail.
    pub fn of_crud(self) -> Self {
        Self {
            compute_us: self.compute_us / 10,
            dirty_pages: self.dirty_pages.min(1),
            bails: false,
        }
    }
}

/// Where a datagram came from, as vere writes it: the IPv4 address, and the port above it.
pub fn lane(address: std::net::SocketAddrV4) -> Noun {
    Noun::from(u64::from(address.port()) << 32 | u64::from(u32::from(*address.ip())))
}

/// The reverse of [`lane`].
pub fn lane_address(lane: &Noun) -> Option<std::net::SocketAddrV4> {
    let lane = lane.as_u64()?;
    Some(std::net::SocketAddrV4::new(
        (lane as u32).into(),
        (lane >> 32) as u16,
    ))
}

/// An event to come: where its effects go, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ovum {
    /// Path of the driver.
    pub wire: Noun,
    /// `[tag data]`.
    pub card: Noun,
}

impl Ovum {
    /// A timer went off.
    pub fn wake(work: Workload) -> Self {
        Self {
            wire: Noun::path(["", "behn"]),
            card: Noun::tuple([Noun::cord("wake"), Noun::null(), work.to_noun()]),
        }
    }

    /// A packet came.
    pub fn hear(lane: Noun, packet: &[u8], work: Workload) -> Self {
        let blob = Noun::Atom(noun::Atom::from_bytes(packet));
        Self {
            wire: Noun::path(["", "ames"]),
            card: Noun::tuple([Noun::cord("hear"), lane, blob, work.to_noun()]),
        }
    }

    /// An event failed.
    pub fn crud(failed: &Ovum) -> Self {
        let goof = Noun::cell(Noun::cord("exit"), Noun::null());
        let original = Noun::cell(failed.wire.clone(), failed.card.clone());
        Self {
            wire: Noun::path(["", "arvo"]),
            card: Noun::tuple([
                Noun::cord("crud"),
                goof,
                original,
                Workload::of_card(&failed.card).of_crud().to_noun(),
            ]),
        }
    }

    /// `[wire card]`.
    pub fn to_noun(&self) -> Noun {
        Noun::cell(self.wire.clone(), self.card.clone())
    }

    /// The reverse of [`Ovum::to_noun`].
    pub fn from_noun(noun: &Noun) -> Option<Self> {
        let (wire, card) = noun.as_cell()?;
        Some(Self {
            wire: wire.clone(),
            card: card.clone(),
        })
    }
}

/// Urbit's time: 2^64 per second, since an epoch long before Unix (hoon.hoon `++yore`; 0x8000000cce9e0d80 is 1970).
pub fn urbit_time() -> u128 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = 0x8000_000c_ce9e_0d80_u128 + u128::from(now.as_secs());
    let fraction = (u128::from(now.subsec_nanos()) << 64) / 1_000_000_000;
    (seconds << 64) | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_found_in_any_card() {
        let work = Workload {
            compute_us: 2000,
            dirty_pages: 4,
            bails: true,
        };
        assert_eq!(Workload::of_card(&Ovum::wake(work).card), work);
        let hear = Ovum::hear(Noun::null(), b"work", work);
        assert_eq!(Workload::of_card(&hear.card), work);
        assert_eq!(Workload::of_card(&Ovum::crud(&hear).card), work.of_crud());
        assert_eq!(
            Workload::of_card(&Noun::path(["belt", "txt"])),
            Workload::default()
        );
    }

    #[test]
    fn lanes_survive() {
        let address = std::net::SocketAddrV4::new([127, 0, 0, 1].into(), 34543);
        assert_eq!(lane_address(&lane(address)), Some(address));
    }
}
