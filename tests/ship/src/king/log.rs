//! The event log of a king up to vere 3.5 (`pier.c`, `disk.c`): it commits what the serf has computed, and holds the
//! effects back until that is done. It also tells the serf to write snapshots, and feeds it the log at the start.

use std::collections::VecDeque;

use anyhow::Context;
use noun::{Noun, Ship};
use rustix::event::{PollFd, PollFlags};
use serde_json::{Value, json};

use super::King;
use super::lord::Writ;
use crate::disk::{self, Disk};
use crate::options::KingOptions;
use crate::ovum::Ovum;
use crate::pier::{Lock, Pier};
use crate::sys::monotonic_ns;
use crate::task::Worked;

/// Events that the serf is given at once to compute again.
const PLAY_EVENTS: usize = 500;

/// The log, and what waits for it.
pub struct Log {
    /// The log itself.
    pub disk: Disk,
    /// Whose ship this is.
    pub who: Ship,
    lock: Lock,
    held: VecDeque<Held>,
    /// What the serf has yet to compute again.
    replay: VecDeque<(u128, Ovum)>,
    snap_interval_ns: u64,
    snap_due_ns: u64,
    saved_event: u64,
}

/// An event whose effects wait for its commit.
struct Held {
    number: u64,
    effects: Vec<Noun>,
    reply: Option<super::conn::Reply>,
    truth: Value,
}

impl Log {
    /// Takes the pier's lock and opens its log.
    pub fn open(pier: &Pier, options: &KingOptions) -> anyhow::Result<Self> {
        let lock = pier.lock()?;
        let map_bytes = usize::try_from(disk::MAP_BYTES)?;
        let (disk, who) = Disk::open(pier, options.ship, map_bytes, "3.5")?;
        let snap_interval_ns = options.snap_seconds.max(1) * 1_000_000_000;
        Ok(Self {
            disk,
            who,
            lock,
            held: VecDeque::new(),
            replay: VecDeque::new(),
            snap_interval_ns,
            snap_due_ns: monotonic_ns() + snap_interval_ns,
            saved_event: 0,
        })
    }

    /// Gives the pier back.
    pub fn release(&self) {
        self.lock.release();
    }

    /// When the next snapshot is due.
    pub fn snap_due_ns(&self) -> u64 {
        self.snap_due_ns
    }

    /// Whether a snapshot is due, for which the serf is left alone until it is written.
    pub fn wants_snapshot(&self, now_ns: u64, last_event: u64) -> bool {
        now_ns >= self.snap_due_ns && last_event > self.saved_event
    }
}

impl King {
    /// The serf is up, at an event: what the log has beyond it comes next.
    pub(super) fn replay_or_go_live(&mut self, event_number: u64) -> anyhow::Result<()> {
        let log = self.log.as_mut().context("mars did not say who it is")?;
        log.saved_event = event_number;
        log.replay = log.disk.read_after(event_number)?.into();
        self.event_number = event_number;
        self.replay_next()
    }

    /// Gives the serf the next part of the log, or opens the ship if there is none.
    pub(super) fn replay_next(&mut self) -> anyhow::Result<()> {
        let log = self.log.as_mut().context("only a serf is replayed to")?;
        if log.replay.is_empty() {
            let (who, number) = (log.who, self.event_number);
            return self.go_live(who, number);
        }
        let count = log.replay.len().min(PLAY_EVENTS);
        let jobs = log.replay.drain(..count);
        let jobs = jobs.map(|(now, ovum)| Noun::cell(Noun::from(now), ovum.to_noun()));
        self.lord.play(self.event_number + 1, jobs.collect())?;
        self.event_number += count as u64;
        Ok(())
    }

    /// Commits what the serf has computed. Its effects wait.
    pub(super) fn plan(&mut self, worked: Worked) -> anyhow::Result<()> {
        let received_ktime_ns = monotonic_ns();
        let Writ::Work { poke, now, ovum } = self.lord.take_writ()? else {
            anyhow::bail!("the serf replied to something else as to an event");
        };
        let log = self
            .log
            .as_mut()
            .context("mars left a commit to the king")?;
        self.event_number = worked.number;
        let (now, ovum) = worked.swapped.unwrap_or((now, ovum));
        let planned_ktime_ns = monotonic_ns();
        log.held.push_back(Held {
            number: worked.number,
            effects: worked.effects,
            truth: json!({
                "event": "applied", "number": worked.number, "kind": poke.kind.name(),
                "arrival_ktime_ns": poke.arrival_ktime_ns, "sent_ktime_ns": poke.sent_ktime_ns,
                "reply_ktime_ns": received_ktime_ns, "commit_queued_ktime_ns": planned_ktime_ns,
            }),
            reply: poke.reply,
        });
        log.disk.plan(now, &ovum, worked.mug)
    }

    /// Releases the effects of what is in the log by now, then commits what has come meanwhile (vere 3.5
    /// `_disk_commit_done`).
    pub(super) fn on_committed(&mut self) -> anyhow::Result<()> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        for commit in log.disk.take_ended()? {
            self.truth.record(&commit.to_truth());
        }
        while let Some(held) = self.next_durable() {
            let released_ktime_ns = monotonic_ns();
            held.effects.iter().for_each(|effect| self.apply(effect));
            self.tell_done(held.reply);
            let mut line = held.truth;
            line["released_ktime_ns"] = released_ktime_ns.into();
            line["applied_ktime_ns"] = monotonic_ns().into();
            self.truth.record(&line);
        }
        match &mut self.log {
            Some(log) => log.disk.start_commit(),
            None => Ok(()),
        }
    }

    /// Commits all that the serf has computed before it ended.
    pub(super) fn commit_rest(&mut self) -> anyhow::Result<()> {
        while let Some(log) = &self.log
            && log.disk.committed() < self.event_number
        {
            let mut poll = [PollFd::from_borrowed_fd(
                log.disk.completions(),
                PollFlags::IN,
            )];
            rustix::event::poll(&mut poll, None).context("cannot wait for a commit")?;
            self.on_committed()?;
        }
        Ok(())
    }

    fn next_durable(&mut self) -> Option<Held> {
        let log = self.log.as_mut()?;
        let committed = log.disk.committed();
        let is_durable = log.held.front()?.number <= committed;
        is_durable.then(|| log.held.pop_front()).flatten()
    }

    /// Whether new work has to wait, because a snapshot is due; tells the serf to write it as soon as nothing
    /// else is under way.
    pub(super) fn waits_for_snapshot(&mut self) -> anyhow::Result<bool> {
        let now = monotonic_ns();
        let number = self.event_number;
        let Some(log) = &mut self.log else {
            return Ok(false);
        };
        if !log.wants_snapshot(now, number) {
            return Ok(false);
        }
        if self.lord.depth() > 0 || log.disk.committed() < number {
            return Ok(true);
        }
        log.saved_event = number;
        log.snap_due_ns = now + log.snap_interval_ns;
        self.lord.save(number)?;
        Ok(false)
    }
}
