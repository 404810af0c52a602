//! What king and mars say to each other: tasks one way, gifts the other (vere `mars.c`), and the ova within.
//!
//! The amount of work that an event shall be rides in its ovum, so that it is also in the event log for a replay.

use noun::{Noun, Ship};

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

/// From king to mars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Compute an event.
    Poke(Ovum),
    /// Read from the namespace.
    Peek(Noun),
    /// Write a snapshot.
    Save,
    /// Write a snapshot and end.
    Exit,
    /// Pack the loom.
    Pack,
    /// Count what lies in the loom, for `|mass`.
    Mass,
}

impl Task {
    /// The noun that goes over the socket. Time limits are 0, which is none.
    pub fn to_noun(&self) -> Noun {
        match self {
            Self::Poke(ovum) => Noun::tuple([Noun::cord("poke"), Noun::null(), ovum.to_noun()]),
            Self::Peek(sample) => Noun::tuple([Noun::cord("peek"), Noun::null(), sample.clone()]),
            Self::Save => Noun::tuple([Noun::cord("sync"), Noun::cord("save"), Noun::null()]),
            Self::Exit => Noun::cell(Noun::cord("exit"), Noun::null()),
            Self::Pack => Noun::tuple([Noun::cord("live"), Noun::cord("pack"), Noun::null()]),
            Self::Mass => Noun::tuple([Noun::cord("quiz"), Noun::cord("quac"), Noun::null()]),
        }
    }

    /// The reverse of [`Task::to_noun`].
    pub fn from_noun(noun: &Noun) -> Option<Self> {
        let (tag, data) = noun.as_cell()?;
        if tag.is_cord("poke") {
            Ovum::from_noun(data.as_cell()?.1).map(Self::Poke)
        } else if tag.is_cord("peek") {
            Some(Self::Peek(data.as_cell()?.1.clone()))
        } else if tag.is_cord("sync") {
            data.as_cell()
                .filter(|(what, _)| what.is_cord("save"))
                .map(|_| Self::Save)
        } else if tag.is_cord("live") {
            let (what, _) = data.as_cell()?;
            what.is_cord("pack").then_some(Self::Pack)
        } else if tag.is_cord("quiz") {
            let (what, _) = data.as_cell()?;
            what.is_cord("quac").then_some(Self::Mass)
        } else {
            tag.is_cord("exit").then_some(Self::Exit)
        }
    }
}

/// From mars to king.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gift {
    /// Mars is ready.
    Ripe {
        /// Whose ship this is.
        who: Ship,
        /// The last event computed.
        event_number: u64,
    },
    /// Text for the operator.
    Slog(String),
    /// Effects of an event, as `[wire card]`s; `None` if the event was refused.
    Poke(Option<Vec<Noun>>),
    /// What was read.
    Peek(Noun),
    /// A snapshot was written.
    Sync {
        /// The last event in it.
        event_number: u64,
    },
    /// The loom was packed.
    Live,
    /// What lies in the loom: a list of `[name bytes parts]`.
    Quac(Noun),
}

/// Kernel version that a ship of mid-2026 runs.
const ZUSE: u64 = 409;

impl Gift {
    /// The noun that goes over the socket.
    pub fn to_noun(&self) -> Noun {
        let n = |number: u64| Noun::from(number);
        match self {
            Self::Ripe { who, event_number } => Noun::tuple([
                Noun::cord("ripe"),
                Noun::cell(n(2), Noun::cell(Noun::cord("zuse"), n(ZUSE))),
                Noun::cell(Noun::from(who.0), Noun::loobean(true)),
                n(*event_number),
                n(0),
            ]),
            Self::Slog(text) => {
                let tank = Noun::cell(
                    Noun::cord("leaf"),
                    Noun::list(text.bytes().map(|byte| n(byte.into()))),
                );
                Noun::tuple([Noun::cord("slog"), n(0), tank])
            }
            Self::Poke(Some(effects)) => Noun::tuple([
                Noun::cord("poke"),
                n(0),
                Noun::list(effects.iter().cloned()),
            ]),
            Self::Poke(None) => Noun::tuple([Noun::cord("poke"), n(1), Noun::null()]),
            Self::Peek(result) => Noun::tuple([Noun::cord("peek"), n(0), result.clone()]),
            Self::Sync { event_number } => {
                Noun::tuple([Noun::cord("sync"), n(*event_number), n(0)])
            }
            Self::Live => Noun::cell(Noun::cord("live"), Noun::null()),
            Self::Quac(list) => Noun::tuple([Noun::cord("quiz"), Noun::cord("quac"), list.clone()]),
        }
    }

    /// The reverse of [`Gift::to_noun`].
    pub fn from_noun(noun: &Noun) -> Option<Self> {
        let (tag, data) = noun.as_cell()?;
        if tag.is_cord("ripe") {
            let [_versions, identity, event_number, _mug] = data.as_tuple()?;
            let who = Ship(identity.as_cell()?.0.as_atom()?.as_u128()?);
            Some(Self::Ripe {
                who,
                event_number: event_number.as_u64()?,
            })
        } else if tag.is_cord("slog") {
            let [_priority, _leaf, text] = data.as_tuple()?;
            let bytes = text
                .as_list()?
                .into_iter()
                .filter_map(|byte| byte.as_u64())
                .map(|byte| byte as u8)
                .collect();
            Some(Self::Slog(String::from_utf8(bytes).ok()?))
        } else if tag.is_cord("poke") {
            let (is_done, result) = data.as_cell()?;
            let effects = result.as_list()?.into_iter().cloned().collect();
            Some(Self::Poke(is_done.is_null().then_some(effects)))
        } else if tag.is_cord("peek") {
            Some(Self::Peek(data.as_cell()?.1.clone()))
        } else if tag.is_cord("sync") {
            Some(Self::Sync {
                event_number: data.as_cell()?.0.as_u64()?,
            })
        } else if tag.is_cord("live") {
            Some(Self::Live)
        } else if tag.is_cord("quiz") {
            Some(Self::Quac(data.as_cell()?.1.clone()))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_wire() {
        let work = Workload {
            compute_us: 2000,
            dirty_pages: 4,
            bails: true,
        };
        let hear = Ovum::hear(
            lane(std::net::SocketAddrV4::new([127, 0, 0, 1].into(), 34543)),
            b"packet",
            work,
        );
        for task in [
            Task::Poke(hear.clone()),
            Task::Peek(Noun::path(["zen", "lag"])),
            Task::Save,
            Task::Exit,
            Task::Pack,
            Task::Mass,
        ] {
            assert_eq!(Task::from_noun(&task.to_noun()), Some(task));
        }
        let gifts = [
            Gift::Ripe {
                who: Ship(1_624_961_343),
                event_number: 7,
            },
            Gift::Slog("bail: exit".to_owned()),
            Gift::Poke(Some(vec![Noun::cord("effect")])),
            Gift::Poke(None),
            Gift::Peek(Noun::null()),
            Gift::Sync { event_number: 7 },
            Gift::Live,
            Gift::Quac(Noun::null()),
        ];
        for gift in gifts {
            assert_eq!(Gift::from_noun(&gift.to_noun()), Some(gift));
        }
    }

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
