//! What the king does with what mars gives: it opens the ship, answers questions, and applies effects.

use anyhow::Context;
use noun::{Noun, Ship};
use serde_json::json;

use super::ames::Ames;
use super::conn::{Conn, Reply};
use super::lord::Writ;
use super::{CONN, FIRST_CLIENT, King, UDP, World};
use crate::ovum;
use crate::spin;
use crate::sys::monotonic_ns;
use crate::task::Gift;

impl King {
    /// Takes a gift of mars.
    pub(super) fn accept(&mut self, gift: Gift) -> anyhow::Result<()> {
        match gift {
            Gift::Ripe {
                who: Some(who),
                event_number,
            } => self.go_live(who, event_number),
            Gift::Ripe {
                who: None,
                event_number,
            } => self.replay_or_go_live(event_number),
            Gift::Work(worked) => self.plan(worked),
            Gift::Play => {
                self.lord.take_writ()?;
                self.replay_next()
            }
            Gift::Slog(text) => {
                eprintln!("{text}\r");
                Ok(())
            }
            Gift::Sync { .. } => Ok(()),
            Gift::Live => {
                if let Writ::Pack = self.lord.take_writ()? {
                    eprintln!("pier: pack complete\r");
                }
                Ok(())
            }
            Gift::Quac(list) => self.tell_quiz("quac", list),
            Gift::Quic(list) => self.tell_quiz("quic", list),
            Gift::Poke(effects) => self.finish_poke(effects),
            Gift::Peek(result) | Gift::OldPeek(result) => {
                if let (Writ::Peek(reply), Some(world)) = (self.lord.take_writ()?, &mut self.world)
                {
                    world
                        .conn
                        .answer(&reply, Noun::cell(Noun::cord("peek"), result));
                }
                Ok(())
            }
        }
    }

    fn finish_poke(&mut self, effects: Option<Vec<Noun>>) -> anyhow::Result<()> {
        let Writ::Poke(poke) = self.lord.take_writ()? else {
            anyhow::bail!("mars replied to a peek as to an event");
        };
        let received_ktime_ns = monotonic_ns();
        let Some(effects) = effects else {
            return Ok(());
        };
        self.event_number += 1;
        effects.iter().for_each(|effect| self.apply(effect));
        self.tell_done(poke.reply);
        self.truth.record(&json!({
            "event": "applied", "number": self.event_number, "kind": poke.kind.name(),
            "arrival_ktime_ns": poke.arrival_ktime_ns, "sent_ktime_ns": poke.sent_ktime_ns,
            "reply_ktime_ns": received_ktime_ns, "applied_ktime_ns": monotonic_ns(),
        }));
        Ok(())
    }

    /// Passes an answer of mars about its loom on to who asked.
    fn tell_quiz(&mut self, what: &str, list: Noun) -> anyhow::Result<()> {
        if let (Writ::Quiz(reply), Some(world)) = (self.lord.take_writ()?, &mut self.world) {
            let answer = Noun::tuple([Noun::cord("peel"), Noun::cord(what), list]);
            world.conn.answer(&reply, answer);
        }
        Ok(())
    }

    /// Tells who brought an event through `conn.sock` that it is done.
    pub(super) fn tell_done(&mut self, reply: Option<Reply>) {
        if let (Some(reply), Some(world)) = (reply, &mut self.world) {
            world
                .conn
                .answer(&reply, Noun::cell(Noun::cord("news"), Noun::cord("done")));
        }
    }

    /// Does what an effect says: only packets go anywhere.
    pub(super) fn apply(&mut self, effect: &Noun) {
        if let Some([_wire, tag, lane, blob]) = effect.as_tuple()
            && tag.is_cord("send")
            && let (Some(to), Some(blob), Some(world)) =
                (ovum::lane_address(lane), blob.as_atom(), &self.world)
            && world.ames.send(to, &blob.to_bytes())
        {
            self.packets.acknowledged += 1;
        }
    }

    /// Opens the ship to the world.
    pub(super) fn go_live(&mut self, who: Ship, event_number: u64) -> anyhow::Result<()> {
        self.event_number = event_number;
        // It came with 4.0.
        if self.log.is_none() {
            spin::map(who, std::process::id(), false).context("cannot map the spin stack")?;
        }
        let ames = Ames::open(self.options.port, self.options.rcvbuf)?;
        let conn = Conn::open(&self.pier, FIRST_CLIENT)?;
        self.reactor.add(&ames, UDP)?;
        self.reactor.add(conn.listener(), CONN)?;
        eprintln!(
            "conn: listening on {}\r",
            self.pier.control_socket().display()
        );
        eprintln!("mesa: live on {}\r", ames.port());
        eprintln!("pier ({event_number}): live\r");
        let now = monotonic_ns();
        let ready = json!({
            "event": "ready", "ship": who.to_string(), "pier": self.pier.root().to_string_lossy(),
            "king_pid": std::process::id(), "mars_pid": self.lord.pid(), "port": ames.port(),
            "loom_bex": self.options.loom, "number": event_number, "ready_ktime_ns": now,
        });
        self.truth.record(&ready);
        self.truth.flush()?;
        println!("{ready}");
        let stop_due_ns =
            (self.options.seconds > 0).then(|| now + self.options.seconds * 1_000_000_000);
        self.queues.start(now);
        self.peeks.start(now);
        self.world = Some(World {
            who,
            ames,
            conn,
            stop_due_ns,
        });
        Ok(())
    }
}
