//! Mars as the king sees it: a child process, the streams to it, and the requests that it has not answered
//! (vere `lord.c`).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context;
use clap::ValueEnum as _;
use noun::{Noun, cue, jam};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::conn::Reply;
use crate::disk;
use crate::options::{Generation, KingOptions, env};
use crate::ovum::{Ovum, urbit_time};
use crate::pier::Pier;
use crate::stream::{Inbox, Outbox, Received, read_once};
use crate::sys::monotonic_ns;
use crate::task::{Gift, Task};

/// Requests under way at most (vere `pier.c:11`).
const DEPTH: usize = 10;

/// vere's flag word of an ordinary ship: no hashing of cores.
const RUNTIME_CONFIG: u32 = 128;

/// Entries of either memo cache by default.
const CACHE_ENTRIES: u32 = 50_000;

/// The child and everything to and from it.
pub struct Lord {
    child: Child,
    outbox: Outbox,
    replies: OwnedFd,
    errors: OwnedFd,
    inbox: Inbox,
    writs: VecDeque<Writ>,
    generation: Generation,
}

/// An event under way.
pub struct Poke {
    /// Its driver.
    pub kind: Kind,
    /// When the king had it.
    pub arrival_ktime_ns: u64,
    /// When it went to mars.
    pub sent_ktime_ns: u64,
    /// Who waits for it, if it came through `conn.sock`.
    pub reply: Option<Reply>,
}

/// A request under way.
pub enum Writ {
    /// An event.
    Poke(Poke),
    /// An event of a ship whose king commits, as it goes into the log.
    Work {
        /// What is known of it.
        poke: Poke,
        /// When it happens, as Urbit counts time.
        now: u128,
        /// What it says.
        ovum: Ovum,
    },
    /// A part of the log that is computed again.
    Play,
    /// A snapshot.
    Save,
    /// A read.
    Peek(Reply),
    /// Packing, whose end nobody is told.
    Pack,
    /// What lies in the loom, or is free in it.
    Quiz(Reply),
}

/// Where an event came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A timer.
    Wake,
    /// A packet.
    Hear,
    /// `conn.sock`.
    Injected,
}

impl Kind {
    /// Its name in the ground truth.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Hear => "hear",
            Self::Injected => "injected",
        }
    }
}

/// The arguments of mars (vere `lord.c:1028-1055`) or of a serf (vere 3.5 `lord.c:1250-1276`).
fn arguments(options: &KingOptions, pier: &Pier) -> Vec<OsString> {
    let number = |number: u64| OsString::from(number.to_string());
    let (flags, cache) = (RUNTIME_CONFIG.into(), CACHE_ENTRIES.into());
    let (pier, loom) = (pier.root().into(), options.loom.into());
    match options.generation {
        Generation::Mars => vec![
            "work".into(),
            "--snap-dir".into(),
            pier,
            "--runtime-config".into(),
            number(flags),
            "--temporary-cache-size".into(),
            number(cache),
            "--loom".into(),
            number(loom),
            "--toss".into(),
            number(0),
            "--persistent-cache-size".into(),
            number(cache),
            "--snap-time".into(),
            number(options.snap_seconds),
            "--lmdb-map-size".into(),
            number(disk::MAP_BYTES),
        ],
        Generation::Serf => vec![
            "serf".into(),
            pier,
            "0:0:0:0".into(),
            number(flags),
            number(cache),
            number(loom),
            number(0),
            number(0),
            number(0),
            number(cache),
        ],
    }
}

impl Lord {
    /// Starts mars, as libuv starts a process with three pipes.
    pub fn start(options: &KingOptions, pier: &Pier) -> anyhow::Result<Self> {
        let pair = || {
            socketpair(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )
            .context("cannot make a pair of sockets")
        };
        let ((tasks, mars_in), (replies, mars_out), (errors, mars_err)) =
            (pair()?, pair()?, pair()?);
        for ours in [&tasks, &replies, &errors] {
            rustix::io::ioctl_fionbio(ours, true).context("cannot set up a socket")?;
        }
        // The path, and not /proc/self/exe: the kernel names the process after it.
        let program = std::env::current_exe().context("cannot find this program's file")?;
        let mut command = Command::new(&program);
        command
            .arg0(
                std::env::args_os()
                    .next()
                    .unwrap_or_else(|| program.clone().into_os_string()),
            )
            .args(arguments(options, pier))
            .env(env::HEAP_PAGES, options.heap_pages.to_string())
            .env(env::SHIP, options.ship.to_string())
            .env(env::PRINT_BYTES, options.print_bytes.to_string())
            .envs(
                options
                    .hints
                    .to_possible_value()
                    .map(|hints| (env::HINTS, hints.get_name().to_owned())),
            )
            .stdin(Stdio::from(mars_in))
            .stdout(Stdio::from(mars_out))
            .stderr(Stdio::from(mars_err));
        if let Some(truth) = &options.truth {
            command.env(
                env::TRUTH,
                std::path::absolute(truth).context("cannot resolve the ground truth's path")?,
            );
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let outbox = Outbox::new(tasks);
        Ok(Self {
            child,
            outbox,
            replies,
            errors,
            inbox: Inbox::new(),
            writs: VecDeque::new(),
            generation: options.generation,
        })
    }

    /// Process id of mars.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The stream of replies.
    pub fn replies(&self) -> BorrowedFd<'_> {
        self.replies.as_fd()
    }

    /// The stream of text.
    pub fn errors(&self) -> BorrowedFd<'_> {
        self.errors.as_fd()
    }

    /// The stream of requests.
    pub fn requests(&self) -> &Outbox {
        &self.outbox
    }

    /// Sends mars what waits for room in the stream.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        self.outbox.flush()
    }

    /// Requests under way.
    pub fn depth(&self) -> usize {
        self.writs.len()
    }

    /// Whether mars may be given one more request.
    pub fn has_room(&self) -> bool {
        self.writs.len() < DEPTH
    }

    /// Lets mars compute an event.
    pub fn poke(
        &mut self,
        ovum: Ovum,
        kind: Kind,
        arrival_ktime_ns: u64,
        reply: Option<Reply>,
    ) -> anyhow::Result<()> {
        let poke = |sent_ktime_ns| Poke {
            kind,
            arrival_ktime_ns,
            sent_ktime_ns,
            reply,
        };
        let writ = match self.generation {
            Generation::Mars => Writ::Poke(poke(self.send(&Task::Poke(ovum))?)),
            Generation::Serf => {
                let now = urbit_time();
                let sent_ktime_ns = self.send(&Task::Work(now, ovum.clone()))?;
                Writ::Work {
                    poke: poke(sent_ktime_ns),
                    now,
                    ovum,
                }
            }
        };
        self.writs.push_back(writ);
        Ok(())
    }

    /// Lets a serf compute events of the log again.
    pub fn play(&mut self, first: u64, jobs: Vec<Noun>) -> anyhow::Result<()> {
        self.send(&Task::Play(first, jobs))?;
        self.writs.push_back(Writ::Play);
        Ok(())
    }

    /// Lets a serf write a snapshot.
    pub fn save(&mut self, event_number: u64) -> anyhow::Result<()> {
        self.send(&Task::OldSave(event_number))?;
        self.writs.push_back(Writ::Save);
        Ok(())
    }

    /// Lets mars read from the namespace.
    pub fn peek(&mut self, each: Noun, reply: Reply) -> anyhow::Result<()> {
        let gang = Noun::cell(Noun::null(), Noun::null());
        self.send(&Task::Peek(Noun::cell(gang, each)))?;
        self.writs.push_back(Writ::Peek(reply));
        Ok(())
    }

    /// Lets mars pack its loom.
    pub fn pack(&mut self) -> anyhow::Result<()> {
        self.send(&Task::Pack)?;
        self.writs.push_back(Writ::Pack);
        Ok(())
    }

    /// Lets mars count what lies in its loom.
    pub fn mass(&mut self, reply: Reply) -> anyhow::Result<()> {
        self.send(&Task::Mass)?;
        self.writs.push_back(Writ::Quiz(reply));
        Ok(())
    }

    /// Lets mars add up what is free in its loom.
    pub fn quic(&mut self, reply: Reply) -> anyhow::Result<()> {
        self.send(&Task::Quic)?;
        self.writs.push_back(Writ::Quiz(reply));
        Ok(())
    }

    /// Lets mars end.
    pub fn exit(&mut self) -> anyhow::Result<()> {
        self.send(match self.generation {
            Generation::Mars => &Task::Exit,
            Generation::Serf => &Task::OldExit,
        })?;
        Ok(())
    }

    /// Sends a task, and says when.
    fn send(&mut self, task: &Task) -> anyhow::Result<u64> {
        let body = jam(&task.to_noun());
        let sent_ktime_ns = monotonic_ns();
        match self.outbox.send_body(&body) {
            // Mars is gone, which the end of its replies will show.
            Err(error) if error.downcast_ref() == Some(&Errno::PIPE) => {}
            result => result.context("cannot send to mars")?,
        }
        Ok(sent_ktime_ns)
    }

    /// Reads what mars gives. `None` when its stream has ended.
    pub fn receive(&mut self) -> anyhow::Result<Option<Vec<Gift>>> {
        let Received::Frames(bodies) = self.inbox.receive(self.replies.as_fd())? else {
            return Ok(None);
        };
        let gift = |body: Vec<u8>| {
            let noun = cue(&body).context("mars sent no noun")?;
            Gift::from_noun(&noun).context("mars sent a noun that is no gift")
        };
        bodies
            .into_iter()
            .map(gift)
            .collect::<anyhow::Result<_>>()
            .map(Some)
    }

    /// The request that a reply belongs to: the oldest.
    pub fn take_writ(&mut self) -> anyhow::Result<Writ> {
        self.writs.pop_front().context("mars replied to nothing")
    }

    /// Passes on what mars prints. False when its stream has ended.
    pub fn pass_on_errors(&self) -> anyhow::Result<bool> {
        let end = read_once(self.errors.as_fd(), |text| {
            eprint!("{}", String::from_utf8_lossy(text))
        })
        .context("cannot read what mars prints")?;
        Ok(!end)
    }

    /// Waits for the end of mars, whose streams have ended, and passes on its last words.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        while matches!(self.poll_errors(), Ok(true)) {}
        self.child.wait().context("cannot wait for mars")
    }

    /// Waits for text, and passes it on.
    fn poll_errors(&self) -> anyhow::Result<bool> {
        let mut poll = [rustix::event::PollFd::new(
            &self.errors,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut poll, None).context("cannot wait for what mars prints")?;
        self.pass_on_errors()
    }
}
