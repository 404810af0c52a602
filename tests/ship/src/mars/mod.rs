//! Mars: the process that computes. One thread with the loom, and a pool that commits to the event log (vere `mars.c`).

mod bracket;
mod disk;
mod event;
mod snapshot;
mod upkeep;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::ValueEnum as _;
use noun::{Ship, cue};
use rustix::fs::OFlags;
use rustix::process::Resource;
use serde_json::json;

use crate::loom::{self, Loom};
use crate::options::{Hints, MarsOptions, env};
use crate::pier::{Lock, Pier};
use crate::reactor::{Reactor, timeout_ms};
use crate::spin;
use crate::stream::{Inbox, Outbox, Received};
use crate::sys::monotonic_ns;
use crate::task::{Gift, Task};
use crate::truth::{self, Truth};
use disk::Disk;
use event::Kernel;
use snapshot::Snapshots;

const KING: u64 = 0;
const DISK: u64 = 1;
const SIGNALS: u64 = 2;

/// Pages of the heap that a new pier gets if the king says nothing.
const DEFAULT_HEAP_PAGES: u32 = 1024;

/// Events after which the caches are thrown away (vere `_mars_sure_feck`).
const RECLAIM_EVENTS: u64 = 1024;

/// Mars, once it is up.
struct Mars {
    kernel: Kernel,
    disk: Disk,
    snapshots: Snapshots,
    saved_event: u64,
    lock: Lock,
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

/// Runs mars to its end.
pub fn run(options: &MarsOptions) -> anyhow::Result<u8> {
    let (king, outbox) = take_over_streams()?;
    // A loom dumped as a core file would fill the disk of a test machine, so unlike vere no such limit is lifted.
    crate::sys::raise_limit(Resource::Nofile, 10240);
    let pier = Pier::open(&options.snap_dir);
    let lock = pier.lock()?;
    let name: Ship = variable(env::SHIP)
        .and_then(|name| name.to_str()?.parse().ok())
        .unwrap_or(Ship(0));
    let (disk, ship) = Disk::open(&pier, name, options.lmdb_map_size)?;
    let king_pid = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
    let spin = spin::map(ship, king_pid, true).context("cannot make the spin stack in /dev/shm")?;
    let truth_path = variable(env::TRUTH).map(|path| truth::mars_path(&PathBuf::from(path)));
    let mut truth = Truth::create(truth_path.as_deref())?;

    let snapshots = Snapshots::open(&pier)?;
    let heap_pages = variable(env::HEAP_PAGES)
        .and_then(|pages| pages.to_str()?.parse().ok())
        .unwrap_or(DEFAULT_HEAP_PAGES);
    let hints = variable(env::HINTS)
        .and_then(|hints| Hints::from_str(hints.to_str()?, false).ok())
        .unwrap_or_default();
    let mut loom = map_loom(options.loom, heap_pages)?;
    loom::install_fault_handler();
    let is_old = snapshots.load(&mut loom)?;
    let mut kernel = Kernel::new(loom, hints, spin)?;
    let saved_event = if is_old {
        kernel.loom.event_number()
    } else {
        0
    };
    let mut mars = {
        if !is_old {
            kernel.fill_heap();
        }
        kernel.loom.fit_stack();
        kernel
            .loom
            .guard()
            .context("cannot protect the guard page")?;
        let (frames, gifts) = (VecDeque::new(), VecDeque::new());
        truth.record(&json!({"event": "mars", "mars_pid": std::process::id(), "start_ktime_ns": monotonic_ns()}));
        truth.record(&crate::hoon::truth());
        let inbox = Inbox::new();
        let state = State::Work;
        Mars {
            kernel,
            disk,
            snapshots,
            saved_event,
            lock,
            inbox,
            king,
            outbox,
            frames,
            gifts,
            state,
            truth,
        }
    };
    mars.catch_up(is_old)?;
    mars.send(&Gift::Ripe {
        who: ship,
        event_number: mars.kernel.loom.event_number(),
    })?;
    mars.run(options.snap_time.max(1) * 1_000_000_000)
}

/// Moves the streams to the king off the standard descriptors, so that no stray output gets between the frames.
fn take_over_streams() -> anyhow::Result<(OwnedFd, Outbox)> {
    let duplicate = |fd| {
        rustix::io::fcntl_dupfd_cloexec(fd, 3).context("cannot duplicate the streams to the king")
    };
    let king = duplicate(rustix::stdio::stdin())?;
    let out = duplicate(rustix::stdio::stdout())?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, rustix::fs::Mode::empty())
        .context("cannot open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).context("cannot replace the standard input")?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())
        .context("cannot replace the standard output")?;
    rustix::io::ioctl_fionbio(&king, true).context("cannot set up the stream from the king")?;
    // A king that does not read holds mars up, as in vere.
    rustix::io::ioctl_fionbio(&out, false).context("cannot set up the stream to the king")?;
    Ok((king, Outbox::new(out)))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn map_loom(bex: u32, heap_pages: u32) -> anyhow::Result<Loom> {
    let heap_bytes = u64::from(heap_pages) * loom::PAGE_BYTES as u64;
    if heap_bytes > (1 << bex) / 2 {
        bail!(
            "a heap of {heap_pages} pages does not fit into a loom of 2^{bex} bytes: raise --loom"
        );
    }
    Loom::map(bex, heap_pages).with_context(|| {
        format!("cannot map a loom of 2^{bex} bytes: lower --loom, or add memory or swap")
    })
}

impl Mars {
    /// Brings the loom to the end of the event log, and makes sure that there is a snapshot.
    fn catch_up(&mut self, has_snapshot: bool) -> anyhow::Result<()> {
        let (computed, logged) = (self.kernel.loom.event_number(), self.disk.committed());
        if computed > logged {
            bail!(
                "the snapshot is at event {computed}, the event log ends at {logged}: start with another pier"
            );
        }
        if computed < logged {
            eprintln!("---------------- playback starting ----------------\r");
            eprintln!("play: events {}-{logged}\r", computed + 1);
            let start_ktime_ns = monotonic_ns();
            for ovum in self.disk.read_after(computed)? {
                self.kernel.replay(&ovum);
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

    fn run(&mut self, snap_interval_ns: u64) -> anyhow::Result<u8> {
        let mut reactor = Reactor::new()?;
        reactor.add(&self.king, KING)?;
        reactor.add(self.disk.completions(), DISK)?;
        reactor.add(self.kernel.signals(), SIGNALS)?;
        let mut snap_due_ns = monotonic_ns() + snap_interval_ns;
        loop {
            // Frames are taken up one per turn of the loop, by a timer of no length. It also turns while a snapshot
            // waits for a commit.
            let due = if self.frames.is_empty() {
                snap_due_ns
            } else {
                0
            };
            for ready in reactor.wait(timeout_ms(monotonic_ns(), Some(due)))? {
                match ready.token {
                    KING => match self.inbox.receive(self.king.as_fd())? {
                        Received::Frames(frames) => self.frames.extend(frames),
                        Received::End => return self.abandoned(),
                    },
                    DISK => self.committed()?,
                    _ => self.show_status(),
                }
            }
            if monotonic_ns() >= snap_due_ns {
                snap_due_ns = monotonic_ns() + snap_interval_ns;
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
                self.lock.release();
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
            Task::Poke(ovum) => {
                let received_ktime_ns = monotonic_ns();
                let result = self.kernel.poke(&ovum, &mut self.outbox)?;
                let mut line = result.truth;
                line["received_ktime_ns"] = received_ktime_ns.into();
                let number = self.kernel.loom.event_number();
                let queued_ktime_ns = monotonic_ns();
                self.disk.plan(result.now, &result.ovum, result.mug)?;
                line["commit_queued_ktime_ns"] = queued_ktime_ns.into();
                self.truth.record(&line);
                self.gifts.push_back(Pending {
                    gift: Gift::Poke(Some(result.effects)),
                    event: Some(number),
                });
                if number.is_multiple_of(RECLAIM_EVENTS) {
                    let mut line = self.kernel.reclaim().to_truth("reclaim");
                    line["number"] = number.into();
                    self.truth.record(&line);
                }
            }
            Task::Peek(sample) => {
                let result = self.kernel.peek(&sample);
                self.gifts.push_back(Pending {
                    gift: Gift::Peek(result),
                    event: None,
                });
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
            Task::Save => self.state = State::Save,
            Task::Exit => self.state = State::Exit,
        }
        Ok(())
    }

    fn committed(&mut self) -> anyhow::Result<()> {
        for commit in self.disk.complete()? {
            self.truth.record(&json!({
                "event": "commit", "first_event": commit.first_event, "events": commit.events,
                "start_ktime_ns": commit.start_ktime_ns,
                "data_sync_start_ktime_ns": commit.data_sync_ktime_ns.0,
                "data_sync_end_ktime_ns": commit.data_sync_ktime_ns.1,
                "end_ktime_ns": commit.end_ktime_ns,
            }));
        }
        Ok(())
    }

    /// Sends the replies that may go, then writes a snapshot if one is due. True when mars is done.
    fn flush(&mut self) -> anyhow::Result<bool> {
        // What needs no event in the log (`None`) is less than any number, and still waits for its turn.
        while self
            .gifts
            .front()
            .is_some_and(|next| next.event <= Some(self.disk.committed()))
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
        if self.state == State::Work || self.disk.committed() < self.kernel.loom.event_number() {
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
            self.disk.committed()
        );
    }
}
