//! The datagrams of a ship by whom they are from and for, and how long they stood in its socket.

use crate::{histogram, shared};

/// [`PacketKey::flags`]: the ship sent it.
pub const SENT: u8 = 1;
/// [`PacketKey::flags`]: it came, or goes, through another ship.
pub const RELAYED: u8 = 2;
/// [`PacketKey::flags`]: it names its sender.
pub const HAS_SENDER: u8 = 4;
/// [`PacketKey::flags`]: it names its receiver.
pub const HAS_RECEIVER: u8 = 8;
/// All flags.
pub const FLAGS: u8 = SENT | RELAYED | HAS_SENDER | HAS_RECEIVER;

/// Sockets of one ship whose datagrams are told apart; vere has one.
pub const MAX_SOCKETS: u32 = 4;
/// Arrivals that are remembered for each socket: more than a buffer of 2 MiB holds, where the smallest
/// datagram takes 768 bytes of twice that (`SKB_TRUESIZE`, `include/linux/skbuff.h`).
pub const ARRIVALS: u32 = 8192;
/// Entries of `AMES_PACKETS`. Whoever sends garbage can fill it; what finds no room is counted as lost.
pub const MAX_PEERS: u32 = 4096;

/// Index in `AMES_TIMES`: from a datagram's arrival to when the king took it out of the socket.
pub const TIME_IN_SOCKET: u32 = 0;
/// Index in `AMES_TIMES`: from a Mesa peek that went out to the page that answers it.
pub const TIME_OF_PEEK: u32 = 1;
/// Index in `AMES_TIMES`: from a Mesa poke that went out to the page that acknowledges it, so with the
/// time that the peer took for the event.
pub const TIME_OF_POKE: u32 = 2;
/// Number of times that are measured.
pub const TIMES: u32 = 3;

/// A question that went out more than once: which of them an answer is to cannot be known (Karn's rule,
/// RFC 6298 section 3).
pub const ASKED_AGAIN: u64 = u64::MAX;

shared! {
    /// Key of `AMES_PACKETS`.
    pub struct PacketKey {
        /// Number of the sender, low half first; 0 without [`HAS_SENDER`].
        pub sender: [u64; 2],
        /// Number of the receiver, low half first; 0 without [`HAS_RECEIVER`].
        pub receiver: [u64; 2],
        /// Address of the other end, IPv4, the first byte lowest.
        pub remote_address: u32,
        /// Port of the other end, host byte order.
        pub remote_port: u16,
        /// One of `packet::KIND_…`.
        pub kind: u8,
        /// Some of the flags above.
        pub flags: u8,
    }

    /// Value of `AMES_PACKETS`.
    pub struct PacketTotals {
        /// Datagrams: of those that came, also what was lost at a full receive buffer.
        pub packets: u64,
        /// Bytes of their UDP payload.
        pub bytes: u64,
        /// How many were answers to a question that went out, once, inside the window.
        pub answers: u64,
        /// Time from question to answer, in all.
        pub answer_ns: u64,
    }

    /// Value of `AMES_SOCKETS`, by the socket's cookie.
    pub struct AmesSocket {
        /// Which part of `AMES_ARRIVALS` is its.
        pub index: u64,
        /// Arrivals so far, without those that found the buffer full.
        pub arrivals: u64,
    }

    /// Value of `AMES_ASKED`: a question that went out.
    pub struct Asked {
        /// When, or [`ASKED_AGAIN`].
        pub ktime_ns: u64,
    }

    /// Value of `AMES_TIMES`, on each CPU.
    pub struct Times {
        /// How many ended inside the window.
        pub count: u64,
        /// Their time in all.
        pub total_ns: u64,
        /// The longest.
        pub max_ns: u64,
        /// How many could not be measured: datagrams that had arrived before anything was attached,
        /// questions that had to be asked again.
        pub unknown: u64,
        /// How many of each duration (`histogram`).
        pub buckets: [u32; histogram::BUCKETS],
    }
}
