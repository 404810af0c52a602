//! The king: the process that talks to the world. One thread with timers, the Ames socket, `conn.sock`, and mars as its
//! child (vere `king.c`, `pier.c`).

mod ames;
mod conn;
mod gifts;
mod log;
mod lord;
mod peeks;
mod queue;
mod turn;

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use anyhow::Context;
use noun::{Noun, Ship};
use rustix::process::Resource;
use serde_json::json;

use crate::compute::Computer;
use crate::loom::{self, Loom};
use crate::options::{Generation, KingOptions};
use crate::ovum;
use crate::packet::{self, Kind as PacketKind};
use crate::pier::Pier;
use crate::reactor::{Reactor, timeout_ms};
use crate::spin;
use crate::sys::{self, monotonic_ns};
use crate::truth::Truth;
use ames::{Ames, Datagram};
use conn::{Asked, Conn, Request, RuntimeInfo};
use log::Log;
use lord::Lord;
use peeks::Peeks;
use queue::Queues;
use turn::Turns;

const REPLIES: u64 = 0;
const ERRORS: u64 = 1;
const REQUESTS: u64 = 2;
const SIGNALS: u64 = 3;
const UDP: u64 = 4;
const CONN: u64 = 5;
const DISK: u64 = 6;
const FIRST_CLIENT: u64 = 7;

/// The king's own loom, for printing and parsing, has 2 GB.
const KING_LOOM_BEX: u32 = 31;

/// Write end of the pipe by which signals reach the loop.
static SIGNAL_PIPE: OnceLock<OwnedFd> = OnceLock::new();

/// What there is from the start.
struct King {
    options: KingOptions,
    pier: Pier,
    turns: Turns,
    reactor: Reactor,
    lord: Lord,
    /// The event log, where the king commits.
    log: Option<Log>,
    queues: Queues,
    peeks: Peeks,
    truth: Truth,
    event_number: u64,
    packets: Packets,
    computer: Option<Computer>,
    world: Option<World>,
    is_stopping: bool,
}

/// What there is once mars is ready.
struct World {
    who: Ship,
    ames: Ames,
    conn: Conn,
    stop_due_ns: Option<u64>,
}

/// Packets, counted.
#[derive(Default)]
struct Packets {
    received: u64,
    invalid: u64,
    acknowledged: u64,
}

/// Runs the king to its end.
pub fn run(options: KingOptions) -> anyhow::Result<u8> {
    let pier = Pier::create(&options.pier)?;
    sys::raise_limit(Resource::Core, 0);
    sys::raise_limit(Resource::Nofile, 10240);
    sys::raise_limit(Resource::Stack, 64 << 20);
    let loom = Loom::map(KING_LOOM_BEX, KING_HEAP_PAGES, loom::HOME_VERSION)
        .context("cannot map the king's loom: add memory or swap")?;
    let signals = catch_signals()?;
    let log = (options.generation == Generation::Serf)
        .then(|| Log::open(&pier, &options))
        .transpose()?;
    let lord = Lord::start(&options, &pier)?;
    let reactor = Reactor::new()?;
    if let Some(log) = &log {
        reactor.add(log.disk.completions(), DISK)?;
    }
    reactor.add(lord.replies(), REPLIES)?;
    reactor.add(lord.errors(), ERRORS)?;
    reactor.add(lord.requests(), REQUESTS)?;
    reactor.add(&signals, SIGNALS)?;
    let truth = Truth::create(options.truth.as_deref())?;
    let computer = (options.king_compute_us > 0).then(|| {
        let (heap, bytes) = loom.heap();
        // SAFETY: the king's heap stays mapped, and nothing writes to it.
        unsafe { Computer::calibrate(heap, bytes) }
    });
    let turns = Turns::new(options.truth.is_some())?;
    let king = King {
        turns,
        queues: Queues::new(&options),
        peeks: Peeks::new(options.peeks_per_second),
        options,
        pier,
        reactor,
        lord,
        log,
        truth,
        event_number: 0,
        packets: Packets::default(),
        computer,
        world: None,
        is_stopping: false,
    };
    king.run(&signals)
}

/// Pages of the heap of the king's small kernel.
const KING_HEAP_PAGES: u32 = 64;

/// Lets SIGTERM, SIGINT and SIGCHLD wake the loop through a pipe, as libuv does.
fn catch_signals() -> anyhow::Result<OwnedFd> {
    let (read, write) = rustix::pipe::pipe_with(
        rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK,
    )
    .context("cannot make a pipe")?;
    SIGNAL_PIPE
        .set(write)
        .ok()
        .context("the signals are set up twice")?;
    let handler: extern "C" fn(libc::c_int) = on_signal;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD] {
        sys::set_signal(signal, handler as usize, libc::SA_RESTART);
    }
    Ok(read)
}

extern "C" fn on_signal(signal: libc::c_int) {
    if let Some(pipe) = SIGNAL_PIPE.get() {
        let _full_pipe_is_readable = rustix::io::write(pipe, &[signal as u8]);
    }
}

impl King {
    fn run(mut self, signals: &OwnedFd) -> anyhow::Result<u8> {
        loop {
            let due = self.next_due_ns();
            let timeout_ms = timeout_ms(monotonic_ns(), due);
            for ready in self.turns.next(&mut self.reactor, timeout_ms)? {
                match ready.token {
                    REPLIES => {
                        let Some(gifts) = self.lord.receive()? else {
                            return self.end();
                        };
                        gifts.into_iter().try_for_each(|gift| self.accept(gift))?;
                    }
                    ERRORS if !self.lord.pass_on_errors()? => return self.end(),
                    ERRORS => {}
                    REQUESTS => self.lord.flush()?,
                    SIGNALS => self.on_signals(signals)?,
                    UDP => self.hear()?,
                    CONN => self.admit()?,
                    DISK => self.on_committed()?,
                    client => self.serve(client, ready.readable)?,
                }
            }
            self.on_timers()?;
            self.fill()?;
            self.reactor.set_writable(
                self.lord.requests(),
                REQUESTS,
                self.lord.requests().is_waiting(),
            )?;
            self.truth.flush_if_due()?;
        }
    }

    fn next_due_ns(&self) -> Option<u64> {
        let world = self.world.as_ref()?;
        if self.is_stopping {
            return None;
        }
        let next_peek_ns = self.peeks.next_ns();
        let snap_due_ns = self.log.as_ref().map(Log::snap_due_ns);
        // A snapshot that waits is begun by what it waits for.
        let snap_due_ns = snap_due_ns.filter(|due| *due > monotonic_ns());
        [
            self.queues.next_wake_ns(),
            world.stop_due_ns,
            next_peek_ns,
            snap_due_ns,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn on_timers(&mut self) -> anyhow::Result<()> {
        let now = monotonic_ns();
        let arrival_ktime_ns = self.turns.start_ktime_ns();
        let Some(world) = self.world.as_ref().filter(|_| !self.is_stopping) else {
            return Ok(());
        };
        if world.stop_due_ns.is_some_and(|due| now >= due) {
            return self.stop();
        }
        self.queues.wake(now, arrival_ktime_ns);
        for (to, peek) in self.peeks.due(now) {
            world.ames.send(to, &peek);
        }
        Ok(())
    }

    /// Gives mars what there is to do, up to its limit.
    fn fill(&mut self) -> anyhow::Result<()> {
        if self.is_stopping || self.waits_for_snapshot()? {
            return Ok(());
        }
        while self.lord.has_room() {
            let Some(next) = self.queues.next() else {
                break;
            };
            match next {
                queue::Work::Peek { each, reply } => self.lord.peek(each, reply)?,
                queue::Work::Poke {
                    ovum,
                    kind,
                    arrival_ktime_ns,
                    reply,
                } => {
                    self.lord.poke(ovum, kind, arrival_ktime_ns, reply)?;
                }
            }
        }
        Ok(())
    }

    fn on_signals(&mut self, signals: &OwnedFd) -> anyhow::Result<()> {
        let mut caught = [0; 64];
        let count = rustix::io::read(signals, &mut caught).unwrap_or(0);
        // The end of mars (SIGCHLD) shows as the end of its streams, after its last words.
        let ends = [libc::SIGTERM as u8, libc::SIGINT as u8];
        if caught[..count].iter().any(|signal| ends.contains(signal)) {
            self.stop()?;
        }
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if std::mem::replace(&mut self.is_stopping, true) {
            return Ok(());
        }
        self.lord.exit()
    }

    /// Takes the packets that have come, batch by batch, so that a busy king leaves the rest to wait in the socket.
    fn hear(&mut self) -> anyhow::Result<()> {
        // All that this turn of the loop takes has arrived with it, and waits for what is before it.
        let arrival_ktime_ns = self.turns.start_ktime_ns();
        for _ in 0..ames::TURNS {
            let Some(world) = &mut self.world else { break };
            let batch = world
                .ames
                .receive()
                .context("cannot read from the Ames socket")?;
            if batch.is_empty() {
                break;
            }
            for datagram in &batch {
                self.hear_one(datagram, arrival_ktime_ns);
            }
        }
        Ok(())
    }

    fn hear_one(&mut self, datagram: &Datagram, arrival_ktime_ns: u64) {
        self.packets.received += 1;
        if let Some(computer) = &mut self.computer {
            computer.run(self.options.king_compute_us);
        }
        match packet::classify(&datagram.bytes) {
            None => self.packets.invalid += 1,
            // A question of another ship would be answered from a cache that this one has not.
            Some(PacketKind::Acknowledgement | PacketKind::MesaPeek) => {}
            Some(PacketKind::Ames | PacketKind::MesaPoke) if self.is_stopping => {}
            Some(PacketKind::Ames | PacketKind::MesaPoke) => {
                if let Some(sender) = packet::sender(&datagram.bytes) {
                    self.peeks.hear(sender, datagram.from);
                }
                let lane = ovum::lane(datagram.from);
                self.queues.hear(lane, &datagram.bytes, arrival_ktime_ns);
            }
        }
    }

    fn admit(&mut self) -> anyhow::Result<()> {
        let Some(world) = &mut self.world else {
            return Ok(());
        };
        while let Some(token) = world.conn.accept()? {
            if let Some(socket) = world.conn.socket(token) {
                self.reactor.add(socket, token)?;
            }
        }
        Ok(())
    }

    /// Reads from a client of `conn.sock`, and answers what the king knows.
    fn serve(&mut self, client: u64, is_readable: bool) -> anyhow::Result<()> {
        let arrival_ktime_ns = self.turns.start_ktime_ns();
        let Some(world) = &mut self.world else {
            return Ok(());
        };
        let asked = if is_readable {
            world.conn.receive(client)
        } else {
            Vec::new()
        };
        for Asked { reply, request } in asked {
            match request {
                Request::Peel(question) => {
                    let pier = self.pier.root().to_string_lossy();
                    let info = RuntimeInfo {
                        who: world.who,
                        ames_port: world.ames.port(),
                        pier: &pier,
                        event_number: self.event_number,
                        queue: self.lord.depth() as u64,
                        dropped: self.queues.dropped(),
                    };
                    let answer = conn::peel(&question, &info);
                    world.conn.answer(&reply, answer);
                }
                Request::Peek(each) => self.queues.peek(each, reply),
                Request::Ovum(ovum) => self.queues.inject(ovum, reply, arrival_ktime_ns),
                // These are no events, and wait in no queue of the king.
                Request::Pack => {
                    world.conn.answer(&reply, Noun::loobean(true));
                    self.lord.pack()?;
                }
                Request::Mass => self.lord.mass(reply)?,
                Request::Quic => self.lord.quic(reply)?,
            }
        }
        world.conn.flush(client);
        if let Some(socket) = world.conn.socket(client) {
            self.reactor
                .set_writable(socket, client, world.conn.is_waiting(client))?;
        }
        Ok(())
    }

    /// The streams of mars have ended, so it has, or will.
    fn end(mut self) -> anyhow::Result<u8> {
        let status = self.lord.wait()?;
        self.commit_rest()?;
        let was_live = self.world.is_some();
        self.truth.record(&json!({
            "event": "exit", "at_ktime_ns": monotonic_ns(), "clean": self.is_stopping && status.success(),
            "number": self.event_number, "packets_received": self.packets.received,
            "packets_invalid": self.packets.invalid, "packets_acknowledged": self.packets.acknowledged,
            "packets_dropped": self.queues.dropped(), "wakes_skipped": self.queues.skipped(),
        }));
        self.truth.flush()?;
        if let Some(log) = self.log.take_if(|_| self.is_stopping && status.success()) {
            log.release();
        }
        if let Some(world) = self.world.take() {
            let _may_be_absent = fs::remove_file(self.pier.control_socket());
            // vere leaves the spin stack behind for ever; here it goes, to keep test machines clean.
            let _may_be_absent = fs::remove_file(spin::path(world.who, std::process::id()));
        }
        if self.is_stopping && status.success() {
            return Ok(0);
        }
        // A mars that was never ready has said itself what is wrong.
        if was_live {
            eprintln!("pier: mars unexpectedly shut down ({status})\r");
        }
        Ok(1)
    }
}
