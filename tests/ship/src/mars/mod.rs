//! Mars: the process that computes. One thread with the loom, and a pool that commits to the event log (vere `mars.c`).
//! As a serf (vere up to 3.5, `serf.c`) it has no log: it answers at once, and writes snapshots when it is told to.

mod account;
mod bracket;
mod event;
mod snapshot;
mod start;
mod upkeep;

pub use start::{run, run_serf};

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, bail};
use noun::{Noun, cue};
use serde_json::json;

use crate::disk::Disk;
use crate::ovum::{Ovum, urbit_time};
use crate::pier::Lock;
use crate::reactor::{Reactor, timeout_ms};
use crate::stream::{Inbox, Outbox, Received};
use crate::sys::monotonic_ns;
use crate::task::{Gift, Task, Worked};
use crate::truth::Truth;
use event::Kernel;
use snapshot::Snapshots;

const KING: u64 = 0;
const DISK: u64 = 1;
const SIGNALS: u64 = 2;

/// Events after which the caches are thrown away (vere `_mars_sure_feck`).
const RECLAIM_EVENTS: u64 = 1024;

/// Mars, once it is up.
struct Mars {
    kernel: Kernel,
    /// The event log and the pier's lock; a serf has neither.
    log: Option<(Disk, Lock)>,
    snapshots: Snapshots,
    saved_event: u64,
    inbox: Inbox,
    king: OwnedFd,
    outbox: Outbox,
    /// Jammed tasks that were read and not taken up.
    frames: VecDeque<Vec<u8>>,
    gifts: VecDeque<Pending>,
    state: State,
    truth: Truth,
}

/// A reply in the order of requests.
struct Pending {
    gift: Gift,
    /// The event that must be in the log first.
    event: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Work,
    Save,
    Exit,
}

impl Mars {
    /// Brings the loom to the end of the event log, and makes sure that there is a snapshot.
    fn catch_up(&mut self, has_snapshot: bool) -> anyhow::Result<()> {
        let computed = self.kernel.loom.event_number();
        let logged = self
            .log
            .as_ref()
            .map_or(computed, |(disk, _)| disk.committed());
        if computed > logged {
            bail!(
                "the snapshot is at event {computed}, the event log ends at {logged}: start with another pier"
            );
        }
        if computed < logged {
            eprintln!("---------------- playback starting ----------------\r");
            eprintln!("play: events {}-{logged}\r", computed + 1);
            let start_ktime_ns = monotonic_ns();
            if let Some((disk, _)) = &self.log {
                for (_, ovum) in disk.read_after(computed)? {
                    self.kernel.replay(&ovum);
                }
            }
            let end_ktime_ns = monotonic_ns();
            eprintln!("---------------- playback complete ----------------\r");
            self.truth.record(&json!({
                "event": "replay", "first_event": computed + 1, "events": logged - computed,
                "start_ktime_ns": start_ktime_ns, "end_ktime_ns": end_ktime_ns,
            }));
        }
        if computed < logged || !has_snapshot {
            self.save()?;
        }
        Ok(())
    }

    /// Works to the end; writes a snapshot every `snap_interval_ns`, or only when told to.
    fn run(&mut self, snap_interval_ns: Option<u64>) -> anyhow::Result<u8> {
        let mut reactor = Reactor::new()?;
        reactor.add(&self.king, KING)?;
        if let Some((disk, _)) = &self.log {
            reactor.add(disk.completions(), DISK)?;
        }
        reactor.add(self.kernel.signals(), SIGNALS)?;
        let mut snap_due_ns = snap_interval_ns.map(|interval| monotonic_ns() + interval);
        loop {
            // Frames are taken up one per turn of the loop, by a timer of no length. It also turns while a snapshot
            // waits for a commit.
            let due = if self.frames.is_empty() {
                snap_due_ns
            } else {
                Some(0)
            };
            for ready in reactor.wait(timeout_ms(monotonic_ns(), due))? {
                match ready.token {
                    KING => match self.inbox.receive(self.king.as_fd())? {
                        Received::Frames(frames) => self.frames.extend(frames),
                        Received::End => return self.abandoned(),
                    },
                    DISK => self.take_commits()?,
                    _ => self.show_status(),
                }
            }
            if snap_due_ns.is_some_and(|due| monotonic_ns() >= due) {
                snap_due_ns = snap_interval_ns.map(|interval| monotonic_ns() + interval);
                if self.kernel.loom.event_number() > self.saved_event && self.state == State::Work {
                    self.state = State::Save;
                }
                self.flush()?;
            }
            if self.state == State::Work
                && let Some(frame) = self.frames.pop_front()
            {
                self.kick(&frame)?;
            }
            if self.flush()? {
                self.truth
                    .record(&json!({"event": "exit", "at_ktime_ns": monotonic_ns()}));
                self.truth.flush()?;
                if let Some((_, lock)) = &self.log {
                    lock.release();
                }
                return Ok(0);
            }
            self.truth.flush_if_due()?;
        }
    }

    /// The king is gone: there is nobody to work for, and nothing to promise.
    fn abandoned(&mut self) -> anyhow::Result<u8> {
        self.truth
            .record(&json!({"event": "abandoned", "at_ktime_ns": monotonic_ns()}));
        self.truth.flush()?;
        Ok(1)
    }

    /// Performs one task.
    fn kick(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        let task = cue(frame).context("the king sent no noun")?;
        match Task::from_noun(&task).context("the king sent a noun that is no task")? {
            Task::Poke(ovum) => self.poke(&ovum)?,
            Task::Work(now, ovum) => self.work(now, &ovum)?,
            Task::Play(first, jobs) => self.play(first, &jobs)?,
            Task::Peek(sample) => {
                let result = self.kernel.peek(&sample);
                let gift = match self.log {
                    Some(_) => Gift::Peek(result),
                    None => Gift::OldPeek(result),
                };
                self.gifts.push_back(Pending { gift, event: None });
            }
            Task::Pack => {
                let upkeep = self.kernel.pack();
                self.truth.record(&upkeep.to_truth("pack"));
                self.gifts.push_back(Pending {
                    gift: Gift::Live,
                    event: None,
                });
            }
            Task::Mass => {
                let (upkeep, list) = self.kernel.mass(&mut self.outbox)?;
                self.truth.record(&upkeep.to_truth("mass"));
                self.gifts.push_back(Pending {
                    gift: Gift::Quac(list),
                    event: None,
                });
            }
            Task::Quic => self.gifts.push_back(Pending {
                gift: Gift::Quic(self.kernel.free()),
                event: None,
            }),
            Task::Save => self.state = State::Save,
            Task::OldSave(_) => {
                self.save()?;
                self.send(&Gift::Live)?;
            }
            Task::Exit | Task::OldExit => self.state = State::Exit,
        }
        Ok(())
    }

    /// Computes an event, and gives it to be committed. Its effects wait for that.
    fn poke(&mut self, ovum: &Ovum) -> anyhow::Result<()> {
        let received_ktime_ns = monotonic_ns();
        let result = self.kernel.poke(urbit_time(), ovum, &mut self.outbox)?;
        let mut line = result.truth;
        line["received_ktime_ns"] = received_ktime_ns.into();
        let number = self.kernel.loom.event_number();
        let queued_ktime_ns = monotonic_ns();
        let (disk, _) = self.log.as_mut().context("a serf does not commit")?;
        disk.plan(result.now, &result.ovum, result.mug)?;
        line["commit_queued_ktime_ns"] = queued_ktime_ns.into();
        self.truth.record(&line);
        self.gifts.push_back(Pending {
            gift: Gift::Poke(Some(result.effects)),
            event: Some(number),
        });
        self.reclaim_if_due();
        Ok(())
    }

    /// Computes an event, and answers at once; upkeep comes after that (vere 3.5 `main.c`, `_cw_serf_writ`).
    fn work(&mut self, now: u128, ovum: &Ovum) -> anyhow::Result<()> {
        let received_ktime_ns = monotonic_ns();
        let result = self.kernel.poke(now, ovum, &mut self.outbox)?;
        let mut line = result.truth;
        let worked = Worked {
            number: self.kernel.loom.event_number(),
            mug: result.mug,
            swapped: (result.ovum != *ovum).then_some((result.now, result.ovum)),
            effects: result.effects,
        };
        line["received_ktime_ns"] = received_ktime_ns.into();
        line["answered_ktime_ns"] = monotonic_ns().into();
        self.send(&Gift::Work(worked))?;
        self.truth.record(&line);
        self.reclaim_if_due();
        Ok(())
    }

    /// Computes events of the log again, as `[now wire card]`s.
    fn play(&mut self, first: u64, jobs: &[Noun]) -> anyhow::Result<()> {
        let next = self.kernel.loom.event_number() + 1;
        if first != next {
            bail!("the king replays from event {first}, the next one is {next}");
        }
        for job in jobs {
            let ovum = job.as_cell().and_then(|(_, ovum)| Ovum::from_noun(ovum));
            let ovum = ovum.context("the king replays what is no event")?;
            self.kernel.replay(&ovum);
        }
        self.send(&Gift::Play)
    }

    fn reclaim_if_due(&mut self) {
        let number = self.kernel.loom.event_number();
        if number.is_multiple_of(RECLAIM_EVENTS) {
            let mut line = self.kernel.reclaim().to_truth("reclaim");
            line["number"] = number.into();
            self.truth.record(&line);
        }
    }

    /// The last event that is in the log, as far as that is this process' to know.
    fn committed(&self) -> u64 {
        let disk = self.log.as_ref().map(|(disk, _)| disk);
        disk.map_or(self.kernel.loom.event_number(), Disk::committed)
    }

    fn take_commits(&mut self) -> anyhow::Result<()> {
        let Some((disk, _)) = &mut self.log else {
            return Ok(());
        };
        for commit in disk.complete()? {
            self.truth.record(&commit.to_truth());
        }
        Ok(())
    }

    /// Sends the replies that may go, then writes a snapshot if one is due. True when mars is done.
    fn flush(&mut self) -> anyhow::Result<bool> {
        // What needs no event in the log (`None`) is less than any number, and still waits for its turn.
        while self
            .gifts
            .front()
            .is_some_and(|next| next.event <= Some(self.committed()))
        {
            let Some(pending) = self.gifts.pop_front() else {
                break;
            };
            let released_ktime_ns = monotonic_ns();
            self.send(&pending.gift)?;
            if let Some(number) = pending.event {
                let line = json!({"event": "released", "number": number, "released_ktime_ns": released_ktime_ns});
                self.truth.record(&line);
            }
        }
        if self.state == State::Work || self.committed() < self.kernel.loom.event_number() {
            return Ok(false);
        }
        self.save()?;
        if self.state == State::Exit {
            return Ok(true);
        }
        self.state = State::Work;
        self.send(&Gift::Sync {
            event_number: self.saved_event,
        })?;
        Ok(false)
    }

    fn save(&mut self) -> anyhow::Result<()> {
        let start_ktime_ns = monotonic_ns();
        let pages = self.snapshots.save(&mut self.kernel.loom)?;
        self.saved_event = self.kernel.loom.event_number();
        if pages == 0 {
            return Ok(());
        }
        self.truth.record(&json!({
            "event": "snapshot", "number": self.saved_event, "pages": pages,
            "start_ktime_ns": start_ktime_ns, "end_ktime_ns": monotonic_ns(),
        }));
        Ok(())
    }

    fn send(&mut self, gift: &Gift) -> anyhow::Result<()> {
        self.outbox
            .send(&gift.to_noun())
            .context("cannot reply to the king")
    }

    fn show_status(&self) {
        self.kernel.drain_signals();
        eprintln!(
            "disk: event={} committed={}\r",
            self.kernel.loom.event_number(),
            self.committed()
        );
    }
}
