//! Other ships: a process that sends packets to the ship under test, each of its ships from a socket of its own,
//! answers its questions, and counts both ways.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;
use noun::Ship;
use serde_json::{Value, json};

use crate::options::PeerOptions;
use crate::packet::{self, Kind};

/// Who the packets say they are from: a galaxy, stars, planets, a moon and a comet.
const SENDERS: [Ship; 9] = [
    Ship(1),
    Ship(256),
    Ship(4608),
    Ship(65_536),
    Ship(131_072),
    Ship(14_287_616),
    Ship(1_624_961_343),
    Ship(1 << 32 | 1_624_961_343),
    Ship(0x1234_5678_9abc_def0_0fed_cba9_8765_4321),
];

/// Whom they are for. The ship under test does not look.
const RECEIVER: Ship = Ship(0);

/// How long it waits for the last answers.
const PATIENCE: Duration = Duration::from_millis(500);

/// One of the ships, and what it sent and got.
struct Sender {
    ship: Ship,
    socket: UdpSocket,
    sent: [u64; 2],
    received: [u64; 2],
    questions: u64,
    answered: u64,
    /// Time from questions to their answers, in all.
    held: Duration,
    answers: VecDeque<(Instant, Vec<u8>)>,
}

/// All of them.
struct Senders {
    all: Vec<Sender>,
    target: SocketAddrV4,
    answer_after: Duration,
    refused: u64,
    acknowledged: u64,
    buffer: Vec<u8>,
}

/// Sends for the asked time, then waits a moment for the last answers.
pub fn run(options: &PeerOptions) -> anyhow::Result<u8> {
    let all: anyhow::Result<Vec<Sender>> = SENDERS.into_iter().map(Sender::new).collect();
    let mut senders = Senders {
        all: all?,
        target: SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.port),
        answer_after: Duration::from_millis(options.answer_ms),
        refused: 0,
        acknowledged: 0,
        buffer: vec![0; 65536],
    };
    let start = Instant::now();
    let end = start + Duration::from_secs(options.seconds);
    let pause = f64::from(options.bursts) / options.packets_per_second.max(1e-3);
    let mut number = 0;
    for burst in 0_u64.. {
        let due = start + Duration::from_secs_f64(burst as f64 * pause);
        if due >= end {
            break;
        }
        while Instant::now() < due {
            senders.drain();
            let left = due.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(senders.pause()));
        }
        for _ in 0..options.bursts {
            senders.send(number, options.bytes as usize);
            number += 1;
        }
    }
    let patience = Instant::now() + PATIENCE + senders.answer_after;
    while !senders.are_done() && Instant::now() < patience {
        senders.drain();
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{}", senders.to_json());
    Ok(0)
}

impl Sender {
    fn new(ship: Ship) -> anyhow::Result<Self> {
        let socket =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot make a UDP socket")?;
        socket
            .set_nonblocking(true)
            .context("cannot set up the UDP socket")?;
        Ok(Self {
            ship,
            socket,
            sent: [0; 2],
            received: [0; 2],
            questions: 0,
            answered: 0,
            held: Duration::ZERO,
            answers: VecDeque::new(),
        })
    }

    /// Sends a packet. False if it could not go: a port that is closed, or a full queue of this side. The packet then
    /// never was.
    fn send(&mut self, packet: &[u8], target: SocketAddrV4) -> bool {
        let goes = self.socket.send_to(packet, target).is_ok();
        if goes {
            self.sent[0] += 1;
            self.sent[1] += packet.len() as u64;
        }
        goes
    }

    fn to_json(&self) -> Value {
        let both = |[packets, bytes]: [u64; 2]| json!({"packets": packets, "bytes": bytes});
        json!({
            "ship": self.ship.to_string(), "sent": both(self.sent), "received": both(self.received),
            "questions": self.questions, "answered": self.answered,
            "held_ns": self.held.as_nanos() as u64,
        })
    }
}

impl Senders {
    /// Ames and Mesa in turn, each from all senders in turn.
    fn send(&mut self, number: u64, bytes: usize) {
        let turn = (number / 2) as usize % self.all.len();
        let Some(sender) = self.all.get_mut(turn) else {
            return;
        };
        let packet = if number.is_multiple_of(2) {
            packet::ames(sender.ship, RECEIVER, number, bytes)
        } else {
            packet::mesa_poke(sender.ship, RECEIVER, number, bytes)
        };
        if !sender.send(&packet, self.target) {
            self.refused += 1;
        }
    }

    /// How long to sleep at most: answers have to go.
    fn pause(&self) -> Duration {
        if self.all.iter().any(|sender| !sender.answers.is_empty()) {
            Duration::from_millis(1)
        } else {
            Duration::from_millis(10)
        }
    }

    /// Takes what has come, and sends the answers that are due.
    fn drain(&mut self) {
        for sender in &mut self.all {
            loop {
                let length = match sender.socket.recv(&mut self.buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => break,
                };
                let packet = &self.buffer[..length];
                sender.received[0] += 1;
                sender.received[1] += length as u64;
                match packet::classify(packet) {
                    Some(Kind::Acknowledgement) => self.acknowledged += 1,
                    Some(Kind::MesaPeek) => {
                        sender.questions += 1;
                        let page = packet::acknowledge(packet).unwrap_or_default();
                        sender.answers.push_back((Instant::now(), page));
                    }
                    _ => {}
                }
            }
            while let Some((asked, page)) = sender.answers.front()
                && asked.elapsed() >= self.answer_after
            {
                let (asked, page) = (*asked, page.clone());
                sender.answers.pop_front();
                sender.held += asked.elapsed();
                if sender.send(&page, self.target) {
                    sender.answered += 1;
                }
            }
        }
    }

    fn events(&self) -> u64 {
        let sent = self
            .all
            .iter()
            .map(|sender| sender.sent[0] - sender.answered);
        sent.sum()
    }

    fn are_done(&self) -> bool {
        let open = self.all.iter().any(|sender| !sender.answers.is_empty());
        !open && self.acknowledged >= self.events()
    }

    fn to_json(&self) -> Value {
        let ships: Vec<Value> = self.all.iter().map(Sender::to_json).collect();
        json!({
            "sent": self.events(), "refused": self.refused, "acknowledged": self.acknowledged, "ships": ships,
        })
    }
}
