//! Other ships: a process that sends packets to the ship under test, and counts what comes back.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;
use noun::Ship;
use serde_json::json;

use crate::options::PeerOptions;
use crate::packet;

/// Who the packets say they are from: a galaxy, stars, planets and a moon.
const SENDERS: [Ship; 8] = [
    Ship(1),
    Ship(256),
    Ship(4608),
    Ship(65_536),
    Ship(131_072),
    Ship(14_287_616),
    Ship(1_624_961_343),
    Ship(1 << 32 | 1_624_961_343),
];

/// Whom they are for. The ship under test does not look.
const RECEIVER: Ship = Ship(0);

/// Sends for the asked time, then waits a moment for the last answers.
pub fn run(options: &PeerOptions) -> anyhow::Result<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot make a UDP socket")?;
    socket
        .set_nonblocking(true)
        .context("cannot set up the UDP socket")?;
    let ship = SocketAddrV4::new(Ipv4Addr::LOCALHOST, options.port);
    let mut buffer = [0; 65536];
    let (mut sent, mut refused, mut acknowledged) = (0_u64, 0_u64, 0_u64);
    let start = Instant::now();
    let end = start + Duration::from_secs(options.seconds);
    let pause = f64::from(options.bursts) / options.packets_per_second.max(1e-3);
    for burst in 0_u64.. {
        let due = start + Duration::from_secs_f64(burst as f64 * pause);
        if due >= end {
            break;
        }
        while Instant::now() < due {
            acknowledged += drain(&socket, &mut buffer);
            std::thread::sleep(
                due.saturating_duration_since(Instant::now())
                    .min(Duration::from_millis(10)),
            );
        }
        for _ in 0..options.bursts {
            // A port that is closed, or a full queue of this side: the packet never was.
            match socket.send_to(&packet_number(sent + refused, options.bytes as usize), ship) {
                Ok(_) => sent += 1,
                Err(_) => refused += 1,
            }
        }
    }
    let patience = Instant::now() + Duration::from_millis(500);
    while acknowledged < sent && Instant::now() < patience {
        acknowledged += drain(&socket, &mut buffer);
        std::thread::sleep(Duration::from_millis(5));
    }
    println!(
        "{}",
        json!({"sent": sent, "refused": refused, "acknowledged": acknowledged})
    );
    Ok(0)
}

/// Ames and Mesa in turn, each from all senders in turn.
fn packet_number(number: u64, bytes: usize) -> Vec<u8> {
    let sender = SENDERS[(number / 2) as usize % SENDERS.len()];
    if number.is_multiple_of(2) {
        packet::ames(sender, RECEIVER, number, bytes)
    } else {
        packet::mesa_poke(sender, RECEIVER, number, bytes)
    }
}

fn drain(socket: &UdpSocket, buffer: &mut [u8]) -> u64 {
    let mut acknowledged = 0;
    loop {
        match socket.recv(buffer) {
            Ok(length)
                if packet::classify(&buffer[..length]) == Some(packet::Kind::Acknowledgement) =>
            {
                acknowledged += 1
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return acknowledged,
        }
    }
}
