//! Mars as the king sees it: a child process, the streams to it, and the requests that it has not answered
//! (vere `lord.c`).

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context;
use clap::ValueEnum as _;
use noun::{Noun, cue};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::conn::Reply;
use crate::options::{KingOptions, env};
use crate::pier::Pier;
use crate::stream::{Inbox, Outbox, Received, read_once};
use crate::sys::monotonic_ns;
use crate::task::{Gift, Ovum, Task};

/// Requests under way at most (vere `pier.c:11`).
const DEPTH: usize = 10;

/// vere's flag word of an ordinary ship: no hashing of cores.
const RUNTIME_CONFIG: u32 = 128;

/// Entries of either memo cache by default.
const CACHE_ENTRIES: u32 = 50_000;

/// Size of the event log's map by default, on x86_64 and elsewhere (vere `main.c:202-211`).
const LOG_MAP_BYTES: u64 = if cfg!(target_arch = "x86_64") {
    1 << 40
} else {
    0x7d_0000_0000
};

/// The child and everything to and from it.
pub struct Lord {
    child: Child,
    outbox: Outbox,
    replies: OwnedFd,
    errors: OwnedFd,
    inbox: Inbox,
    writs: VecDeque<Writ>,
}

/// A request under way.
pub enum Writ {
    /// An event.
    Poke {
        /// Its driver.
        kind: Kind,
        /// When the king had it.
        arrival_ktime_ns: u64,
        /// When it went to mars.
        sent_ktime_ns: u64,
        /// Who waits for it, if it came through `conn.sock`.
        reply: Option<Reply>,
    },
    /// A read.
    Peek(Reply),
    /// Packing, whose end nobody is told.
    Pack,
    /// What lies in the loom.
    Mass(Reply),
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
            .arg("work")
            .arg("--snap-dir")
            .arg(pier.root())
            .args(["--runtime-config", &RUNTIME_CONFIG.to_string()])
            .args(["--temporary-cache-size", &CACHE_ENTRIES.to_string()])
            .args(["--loom", &options.loom.to_string()])
            .args(["--toss", "0"])
            .args(["--persistent-cache-size", &CACHE_ENTRIES.to_string()])
            .args(["--snap-time", &options.snap_seconds.to_string()])
            .args(["--lmdb-map-size", &LOG_MAP_BYTES.to_string()])
            .env(env::HEAP_PAGES, options.heap_pages.to_string())
            .env(env::SHIP, options.ship.to_string())
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
        let sent_ktime_ns = monotonic_ns();
        self.send(&Task::Poke(ovum))?;
        self.writs.push_back(Writ::Poke {
            kind,
            arrival_ktime_ns,
            sent_ktime_ns,
            reply,
        });
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
        self.writs.push_back(Writ::Mass(reply));
        Ok(())
    }

    /// Lets mars end.
    pub fn exit(&mut self) -> anyhow::Result<()> {
        self.send(&Task::Exit)
    }

    fn send(&mut self, task: &Task) -> anyhow::Result<()> {
        match self.outbox.send(&task.to_noun()) {
            // Mars is gone, which the end of its replies will show.
            Err(error) if error.downcast_ref() == Some(&Errno::PIPE) => Ok(()),
            result => result.context("cannot send to mars"),
        }
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
