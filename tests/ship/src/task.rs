//! What king and mars say to each other: tasks one way, gifts the other (vere `mars.c`); up to 3.5 these were writs
//! and pleas (vere `lord.c`, `serf.c`).

use noun::{Noun, Ship};

use crate::ovum::Ovum;

/// From king to mars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Compute an event.
    Poke(Ovum),
    /// The same up to 3.5, where the king says when it happens.
    Work(u128, Ovum),
    /// Compute events of the log again, from one on; up to 3.5.
    Play(u64, Vec<Noun>),
    /// Read from the namespace.
    Peek(Noun),
    /// Write a snapshot.
    Save,
    /// The same up to 3.5, at an event.
    OldSave(u64),
    /// Write a snapshot and end.
    Exit,
    /// The same up to 3.5.
    OldExit,
    /// Pack the loom.
    Pack,
    /// Count what lies in the loom, for `|mass`.
    Mass,
    /// Add up what is free in the loom.
    Quic,
}

impl Task {
    /// The noun that goes over the socket. Time limits are 0, which is none.
    pub fn to_noun(&self) -> Noun {
        match self {
            Self::Poke(ovum) => Noun::tuple([Noun::cord("poke"), Noun::null(), ovum.to_noun()]),
            Self::Work(now, ovum) => Noun::tuple([
                Noun::cord("work"),
                Noun::null(),
                Noun::from(*now),
                ovum.to_noun(),
            ]),
            Self::Play(first, jobs) => Noun::tuple([
                Noun::cord("play"),
                Noun::from(*first),
                Noun::list(jobs.iter().cloned()),
            ]),
            Self::Peek(sample) => Noun::tuple([Noun::cord("peek"), Noun::null(), sample.clone()]),
            Self::OldSave(event) => {
                Noun::tuple([Noun::cord("live"), Noun::cord("save"), Noun::from(*event)])
            }
            Self::OldExit => {
                Noun::tuple([Noun::cord("live"), Noun::cord("exit"), Noun::from(0_u64)])
            }
            Self::Save => Noun::tuple([Noun::cord("sync"), Noun::cord("save"), Noun::null()]),
            Self::Exit => Noun::cell(Noun::cord("exit"), Noun::null()),
            Self::Pack => Noun::tuple([Noun::cord("live"), Noun::cord("pack"), Noun::null()]),
            Self::Mass => Noun::tuple([Noun::cord("quiz"), Noun::cord("quac"), Noun::null()]),
            Self::Quic => Noun::tuple([Noun::cord("quiz"), Noun::cord("quic"), Noun::null()]),
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
        } else if tag.is_cord("work") {
            let (now, ovum) = data.as_cell()?.1.as_cell()?;
            Some(Self::Work(
                now.as_atom()?.as_u128()?,
                Ovum::from_noun(ovum)?,
            ))
        } else if tag.is_cord("play") {
            let (first, jobs) = data.as_cell()?;
            let jobs = jobs.as_list()?.into_iter().cloned();
            Some(Self::Play(first.as_u64()?, jobs.collect()))
        } else if tag.is_cord("live") {
            let (what, data) = data.as_cell()?;
            if what.is_cord("save") {
                return Some(Self::OldSave(data.as_u64()?));
            }
            if what.is_cord("exit") {
                return Some(Self::OldExit);
            }
            what.is_cord("pack").then_some(Self::Pack)
        } else if tag.is_cord("quiz") {
            let (what, _) = data.as_cell()?;
            if what.is_cord("quic") {
                return Some(Self::Quic);
            }
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
        /// Whose ship this is; up to 3.5 the king knows that itself.
        who: Option<Ship>,
        /// The last event computed.
        event_number: u64,
    },
    /// Text for the operator.
    Slog(String),
    /// Effects of an event, as `[wire card]`s; `None` if the event was refused.
    Poke(Option<Vec<Noun>>),
    /// An event was computed; up to 3.5, where the king commits it.
    Work(Worked),
    /// Events of the log were computed again; up to 3.5.
    Play,
    /// What was read.
    Peek(Noun),
    /// The same up to 3.5.
    OldPeek(Noun),
    /// A snapshot was written.
    Sync {
        /// The last event in it.
        event_number: u64,
    },
    /// The loom was packed.
    Live,
    /// What lies in the loom: a list of `[name bytes parts]`.
    Quac(Noun),
    /// What is free in the loom: a list of `[name bytes]`.
    Quic(Noun),
}

/// An event as a serf gives it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worked {
    /// Its number.
    pub number: u64,
    /// Checksum of the state after it.
    pub mug: u32,
    /// When it happened, and what it became, if the one asked for failed.
    pub swapped: Option<(u128, Ovum)>,
    /// Effects of the event, as `[wire card]`s.
    pub effects: Vec<Noun>,
}

impl Worked {
    /// `[%done eve mug fec]` or `[%swap eve mug job fec]`.
    fn to_noun(&self) -> Noun {
        let (number, mug) = (Noun::from(self.number), Noun::from(u64::from(self.mug)));
        let effects = Noun::list(self.effects.iter().cloned());
        match &self.swapped {
            None => Noun::tuple([Noun::cord("done"), number, mug, effects]),
            Some((now, ovum)) => {
                let job = Noun::cell(Noun::from(*now), ovum.to_noun());
                Noun::tuple([Noun::cord("swap"), number, mug, job, effects])
            }
        }
    }

    /// The reverse of [`Worked::to_noun`].
    fn from_noun(noun: &Noun) -> Option<Self> {
        let (how, data) = noun.as_cell()?;
        let [number, mug, rest] = data.as_tuple()?;
        let (swapped, effects) = if how.is_cord("swap") {
            let (job, effects) = rest.as_cell()?;
            let (now, ovum) = job.as_cell()?;
            let job = (now.as_atom()?.as_u128()?, Ovum::from_noun(ovum)?);
            (Some(job), effects)
        } else {
            (None, rest)
        };
        Some(Self {
            number: number.as_u64()?,
            mug: u32::try_from(mug.as_u64()?).ok()?,
            swapped,
            effects: effects.as_list()?.into_iter().cloned().collect(),
        })
    }
}

/// Kernel version that a ship of mid-2026 runs.
const ZUSE: u64 = 409;
/// Version of Hoon that a serf names.
const OLD_HOON: u64 = 137;

impl Gift {
    /// The noun that goes over the socket.
    pub fn to_noun(&self) -> Noun {
        let n = |number: u64| Noun::from(number);
        match self {
            Self::Ripe { who, event_number } => {
                let tail = Noun::cell(n(*event_number), n(0));
                let tail = match who {
                    Some(who) => Noun::tuple([
                        Noun::cell(n(2), Noun::cell(Noun::cord("zuse"), n(ZUSE))),
                        Noun::cell(Noun::from(who.0), Noun::loobean(true)),
                        tail,
                    ]),
                    // Versions of the protocol, of Hoon and of Nock.
                    None => Noun::cell(Noun::tuple([n(1), n(OLD_HOON), n(4)]), tail),
                };
                Noun::cell(Noun::cord("ripe"), tail)
            }
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
            Self::Work(worked) => Noun::cell(Noun::cord("work"), worked.to_noun()),
            Self::Play => Noun::tuple([Noun::cord("play"), Noun::cord("done"), n(0)]),
            Self::Peek(result) => Noun::tuple([Noun::cord("peek"), n(0), result.clone()]),
            Self::OldPeek(result) => {
                Noun::tuple([Noun::cord("peek"), Noun::cord("done"), result.clone()])
            }
            Self::Sync { event_number } => {
                Noun::tuple([Noun::cord("sync"), n(*event_number), n(0)])
            }
            Self::Live => Noun::cell(Noun::cord("live"), Noun::null()),
            Self::Quac(list) => Noun::tuple([Noun::cord("quiz"), Noun::cord("quac"), list.clone()]),
            Self::Quic(list) => Noun::tuple([Noun::cord("quiz"), Noun::cord("quic"), list.clone()]),
        }
    }

    /// The reverse of [`Gift::to_noun`].
    pub fn from_noun(noun: &Noun) -> Option<Self> {
        let (tag, data) = noun.as_cell()?;
        if tag.is_cord("ripe") {
            if let Some([_versions, identity, event_number, _mug]) = data.as_tuple() {
                let who = Ship(identity.as_cell()?.0.as_atom()?.as_u128()?);
                return Some(Self::Ripe {
                    who: Some(who),
                    event_number: event_number.as_u64()?,
                });
            }
            let [_versions, event_number, _mug] = data.as_tuple()?;
            Some(Self::Ripe {
                who: None,
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
        } else if tag.is_cord("work") {
            Worked::from_noun(data).map(Self::Work)
        } else if tag.is_cord("play") {
            Some(Self::Play)
        } else if tag.is_cord("peek") {
            let (how, result) = data.as_cell()?;
            let gift = if how.is_cord("done") {
                Self::OldPeek
            } else {
                Self::Peek
            };
            Some(gift(result.clone()))
        } else if tag.is_cord("sync") {
            Some(Self::Sync {
                event_number: data.as_cell()?.0.as_u64()?,
            })
        } else if tag.is_cord("live") {
            Some(Self::Live)
        } else if tag.is_cord("quiz") {
            let (what, list) = data.as_cell()?;
            let gift = if what.is_cord("quic") {
                Self::Quic
            } else {
                Self::Quac
            };
            Some(gift(list.clone()))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ovum::{Workload, lane};

    fn worked(swapped: Option<(u128, Ovum)>) -> Worked {
        Worked {
            number: 7,
            mug: 8,
            swapped,
            effects: vec![Noun::cord("effect")],
        }
    }

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
            Task::Work(7, hear.clone()),
            Task::Play(8, vec![hear.to_noun()]),
            Task::OldSave(9),
            Task::OldExit,
            Task::Peek(Noun::path(["zen", "lag"])),
            Task::Save,
            Task::Exit,
            Task::Pack,
            Task::Mass,
            Task::Quic,
        ] {
            assert_eq!(Task::from_noun(&task.to_noun()), Some(task));
        }
        let gifts = [
            Gift::Ripe {
                who: Some(Ship(1_624_961_343)),
                event_number: 7,
            },
            Gift::Ripe {
                who: None,
                event_number: 7,
            },
            Gift::Work(worked(None)),
            Gift::Work(worked(Some((9, hear.clone())))),
            Gift::Play,
            Gift::OldPeek(Noun::null()),
            Gift::Slog("bail: exit".to_owned()),
            Gift::Poke(Some(vec![Noun::cord("effect")])),
            Gift::Poke(None),
            Gift::Peek(Noun::null()),
            Gift::Sync { event_number: 7 },
            Gift::Live,
            Gift::Quac(Noun::null()),
            Gift::Quic(Noun::null()),
        ];
        for gift in gifts {
            assert_eq!(Gift::from_noun(&gift.to_noun()), Some(gift));
        }
    }
}
