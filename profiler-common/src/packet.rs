//! What the header of a ship's datagram says: protocol, kind, and the ships that it names. Nothing else
//! of a packet is looked at, and nothing is decrypted.
//!
//! One decoder for the programs, which read from the kernel's buffers, and for tests, which read from
//! slices. Layouts: vere `pkg/vere/io/ames.c` (Ames), `pkg/vere/io/mesa/pact.c` (Mesa), RFC 5389 (STUN).
//! The checksum of a header covers the whole body and is not verified: who sends garbage may name any ship.

/// Not a header of any protocol below.
pub const KIND_OTHER: u8 = 0;
/// Ames, a fragment of a message or the acknowledgement of one: only the encrypted body tells which.
pub const KIND_AMES: u8 = 1;
/// Ames with the mark of a response, which vere does not send today.
pub const KIND_AMES_RESPONSE: u8 = 2;
/// A remote read in the older protocol: its request.
pub const KIND_FINE_REQUEST: u8 = 3;
/// A remote read in the older protocol: its response.
pub const KIND_FINE_RESPONSE: u8 = 4;
/// Mesa: data that was asked for, or the acknowledgement of a poke.
pub const KIND_MESA_PAGE: u8 = 5;
/// Mesa: asks for data.
pub const KIND_MESA_PEEK: u8 = 6;
/// Mesa: asks for an event, and to be told.
pub const KIND_MESA_POKE: u8 = 7;
/// STUN: asks a galaxy for the own address.
pub const KIND_STUN_REQUEST: u8 = 8;
/// STUN: its answer.
pub const KIND_STUN_RESPONSE: u8 = 9;
/// Number of kinds.
pub const KINDS: u8 = 10;

/// Bytes 4 to 8 of every Mesa packet (`MESA_COOKIE`).
const MESA_COOKIE: [u8; 4] = [0x00, 0x02, 0xe0, 0x67];
/// The magic cookie of STUN, in the same place.
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// The only version of Mesa.
const MESA_PROTOCOL: u32 = 1;
/// Bytes of the address of origin that follows the header of a relayed Ames packet.
const ORIGIN_BYTES: u32 = 6;
/// Longest path that is looked at: vere's own limit for a packet is 1472 bytes (`pkg/vere/io/mesa/mesa.h`).
const MAX_PATH_BYTES: u16 = 1472;
/// Longest path by which a question is known again: 48 words. vere's own are below 200 bytes.
pub const MAX_HASHED_BYTES: u16 = 384;

/// The number of a ship, low half first.
pub type ShipNumber = [u64; 2];

/// The payload of a datagram.
pub trait Payload {
    /// `N` bytes from `at` on; nothing if it is not that long.
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]>;
}

impl Payload for &[u8] {
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.get(at as usize..)?.first_chunk().copied()
    }
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// One of the `KIND_…` constants.
    pub kind: u8,
    /// Whether it came through another ship: a galaxy relays for those that do not know each other's
    /// address.
    pub relayed: bool,
    /// Whom it is from, if it says so.
    pub sender: Option<ShipNumber>,
    /// Whom it is for, if it says so.
    pub receiver: Option<ShipNumber>,
}

impl Header {
    #[inline(always)]
    const fn nameless(kind: u8) -> Self {
        Self {
            kind,
            relayed: false,
            sender: None,
            receiver: None,
        }
    }
}

/// Reads a header. What cannot be read is [`KIND_OTHER`].
#[inline(always)]
pub fn header(payload: &impl Payload) -> Header {
    let other = Header::nameless(KIND_OTHER);
    if let Some([a, b, c, d, cookie @ ..]) = payload.load::<8>(0) {
        let first = [a, b, c, d];
        if same(cookie, MESA_COOKIE) {
            return mesa(payload, u32::from_le_bytes(first)).unwrap_or(other);
        }
        if same(cookie, STUN_COOKIE) && a <= 1 && b == 1 {
            let kind = if a == 0 {
                KIND_STUN_REQUEST
            } else {
                KIND_STUN_RESPONSE
            };
            return Header::nameless(kind);
        }
    }
    match payload.load::<4>(0) {
        Some(first) => ames(payload, u32::from_le_bytes(first)).unwrap_or(other),
        None => other,
    }
}

/// One comparison and no loop.
#[inline(always)]
const fn same(a: [u8; 4], b: [u8; 4]) -> bool {
    u32::from_le_bytes(a) == u32::from_le_bytes(b)
}

/// A name as long as its size class says: a galaxy or star, a planet, a moon, or a comet.
#[inline(always)]
fn ship(payload: &impl Payload, at: u32, class: u32) -> Option<ShipNumber> {
    Some(match class & 0b11 {
        0 => [u64::from(u16::from_le_bytes(payload.load(at)?)), 0],
        1 => [u64::from(u32::from_le_bytes(payload.load(at)?)), 0],
        2 => [u64::from_le_bytes(payload.load(at)?), 0],
        _ => [
            u64::from_le_bytes(payload.load(at)?),
            u64::from_le_bytes(payload.load(at + 8)?),
        ],
    })
}

#[inline(always)]
const fn ship_bytes(class: u32) -> u32 {
    2 << (class & 0b11)
}

/// In Ames' header 0 is yes and 1 is no.
#[inline(always)]
fn ames(payload: &impl Payload, header: u32) -> Option<Header> {
    let yes = |bit: u32| header >> bit & 1 == 0;
    let (sender_class, receiver_class) = (header >> 7, header >> 9);
    let relayed = yes(31);
    // The life ticks of both ships come before their names.
    let at = 4 + 1 + if relayed { ORIGIN_BYTES } else { 0 };
    let kind = match (yes(3), yes(2)) {
        (true, true) => KIND_AMES,
        (true, false) => KIND_AMES_RESPONSE,
        (false, true) => KIND_FINE_REQUEST,
        (false, false) => KIND_FINE_RESPONSE,
    };
    Some(Header {
        kind,
        relayed,
        sender: Some(ship(payload, at, sender_class)?),
        receiver: Some(ship(
            payload,
            at + ship_bytes(sender_class),
            receiver_class,
        )?),
    })
}

#[inline(always)]
fn mesa(payload: &impl Payload, header: u32) -> Option<Header> {
    if header >> 4 & 0b111 != MESA_PROTOCOL {
        return None;
    }
    let name = name(payload)?;
    let (kind, sender, receiver) = match header >> 7 & 0b11 {
        // Who asked is in neither a question nor its answer.
        1 => (KIND_MESA_PAGE, Some(name.ship), None),
        2 => (KIND_MESA_PEEK, None, Some(name.ship)),
        // The name of its acknowledgement, which the receiver will publish, then the sender's own.
        3 => {
            let [meta] = payload.load(name.end)?;
            let sender = ship(payload, name.end + 1, meta.into())?;
            (KIND_MESA_POKE, Some(sender), Some(name.ship))
        }
        _ => return None,
    };
    Some(Header {
        kind,
        relayed: header >> 9 & 0b111 != 0,
        sender,
        receiver,
    })
}

/// The first name of a Mesa packet: what is asked for, answered, or will be the acknowledgement.
struct Name {
    ship: ShipNumber,
    rift_at: u32,
    fragment: u64,
    path_at: u32,
    path_bytes: u16,
    end: u32,
}

#[inline(always)]
fn name(payload: &impl Payload) -> Option<Name> {
    let [meta] = payload.load(8)?;
    let meta = u32::from(meta);
    let rift_at = 9 + ship_bytes(meta);
    let bloq_at = rift_at + 1 + (meta >> 2 & 0b11);
    // What begins a conversation asks for the first fragment, and does not say so.
    let is_first = meta >> 4 & 1 == 1;
    let (fragment, length_at) = if is_first {
        (0, bloq_at + 1)
    } else {
        fragment(payload, bloq_at + 1, meta >> 6 & 0b11)?
    };
    let path_bytes = u16::from_le_bytes(payload.load(length_at)?);
    if path_bytes > MAX_PATH_BYTES {
        return None;
    }
    let path_at = length_at + 2;
    Some(Name {
        ship: ship(payload, 9, meta)?,
        rift_at,
        fragment,
        path_at,
        path_bytes,
        end: path_at + u32::from(path_bytes),
    })
}

/// A fragment's number, and where what follows it begins.
#[inline(always)]
fn fragment(payload: &impl Payload, at: u32, class: u32) -> Option<(u64, u32)> {
    Some(match class {
        0 => (u64::from(u8::from_le_bytes(payload.load(at)?)), at + 1),
        1 => (u64::from(u16::from_le_bytes(payload.load(at)?)), at + 2),
        2 => (u64::from(u32::from_le_bytes(payload.load(at)?)), at + 4),
        _ => (u64::from_le_bytes(payload.load(at)?), at + 8),
    })
}

/// A number by which a Mesa question and its answer know each other: of ship, rift, fragment and path of
/// the first name. Not zero. Nothing for other packets, and for a path that is too long.
#[inline(always)]
pub fn conversation(payload: &impl Payload) -> Option<u64> {
    let name = name(payload)?;
    if name.path_bytes > MAX_HASHED_BYTES || name.path_bytes < 8 {
        return None;
    }
    let [rift] = payload.load(name.rift_at)?;
    let mut hash = mix(0xcbf2_9ce4_8422_2325, name.ship[0]);
    hash = mix(hash, name.ship[1]);
    hash = mix(hash, u64::from(rift));
    hash = mix(hash, name.fragment);
    let words = u32::from(name.path_bytes) / 8;
    let mut word = 0;
    while word < u32::from(MAX_HASHED_BYTES) / 8 {
        if word >= words {
            break;
        }
        hash = mix(
            hash,
            u64::from_le_bytes(payload.load(name.path_at + word * 8)?),
        );
        word += 1;
    }
    // What is left over, with some bytes once more.
    hash = mix(hash, u64::from_le_bytes(payload.load(name.end - 8)?));
    Some(hash | 1)
}

/// FNV-1a by words, with the high half folded in, where plain multiplication would lose it.
#[inline(always)]
const fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A planet's Ames packet to a galaxy: request, protocol Ames, version 0, not relayed.
    fn ames_packet(bits: u32) -> [u8; 32] {
        let mut packet = [0xee; 32];
        packet[..4].copy_from_slice(&(1 << 7 | 1 << 31 | bits).to_le_bytes());
        packet[4] = 0x11;
        packet[5..9].copy_from_slice(&0x1234_5678_u32.to_le_bytes());
        packet[9..11].copy_from_slice(&[0x07, 0x00]);
        packet
    }

    /// A Mesa packet of `kind` whose first name is a moon's, with the path `path`.
    fn mesa_packet(
        kind: u32,
        meta: u8,
        fragment: &[u8],
        path: &[u8],
        buffer: &mut [u8; 256],
    ) -> usize {
        let mut at = 0;
        let mut push = |bytes: &[u8]| {
            buffer[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
            at
        };
        push(&(1_u32 << 4 | kind << 7 | 0xabc << 12).to_le_bytes());
        push(&MESA_COOKIE);
        push(&[meta]);
        push(&(1_u64 << 40 | 5).to_le_bytes());
        push(&[0, 13]);
        push(fragment);
        push(&(path.len() as u16).to_le_bytes());
        push(path);
        // The second name of a poke: a comet's.
        push(&[3 | 1 << 4]);
        push(&9_u64.to_le_bytes());
        push(&11_u64.to_le_bytes());
        push(&[0, 13, 0, 0])
    }

    const MOON_FIRST: u8 = 2 | 1 << 4;
    const PATH: &[u8] = b"ax/~zod/0/ack/some-long-path/17";

    #[test]
    fn ames_headers_name_both_ships() {
        let found = header(&&ames_packet(0)[..]);
        assert_eq!(
            found,
            Header {
                kind: KIND_AMES,
                relayed: false,
                sender: Some([0x1234_5678, 0]),
                receiver: Some([7, 0]),
            }
        );
        for (bits, kind) in [
            (1 << 2, KIND_AMES_RESPONSE),
            (1 << 3, KIND_FINE_REQUEST),
            (0b11 << 2, KIND_FINE_RESPONSE),
        ] {
            assert_eq!(header(&&ames_packet(bits)[..]).kind, kind);
        }
    }

    #[test]
    fn a_relayed_packet_carries_an_address_first() {
        let mut packet = [0; 32];
        packet[3] = 0;
        packet[11..13].copy_from_slice(&[0x34, 0x12]);
        let found = header(&&packet[..]);
        assert!(found.relayed);
        assert_eq!(found.sender, Some([0x1234, 0]));
        assert_eq!(found.receiver, Some([0, 0]));
    }

    #[test]
    fn mesa_names_the_publisher_and_a_poke_its_sender_too() {
        let moon = Some([1 << 40 | 5, 0]);
        for (bits, kind, sender, receiver) in [
            (1, KIND_MESA_PAGE, moon, None),
            (2, KIND_MESA_PEEK, None, moon),
            (3, KIND_MESA_POKE, Some([9, 11]), moon),
        ] {
            let mut buffer = [0; 256];
            let length = mesa_packet(bits, MOON_FIRST, &[], PATH, &mut buffer);
            let found = header(&&buffer[..length]);
            assert_eq!(
                (found.kind, found.sender, found.receiver),
                (kind, sender, receiver)
            );
        }
    }

    #[test]
    fn a_question_and_its_answer_know_each_other() {
        let of = |kind, meta, fragment: &[u8], path: &[u8]| {
            let mut buffer = [0; 256];
            let length = mesa_packet(kind, meta, fragment, path, &mut buffer);
            conversation(&&buffer[..length])
        };
        let peek = of(2, MOON_FIRST, &[], PATH);
        assert!(peek.is_some());
        assert_eq!(peek, of(1, MOON_FIRST, &[], PATH));
        // The first fragment by number is what the first question asks for.
        assert_eq!(peek, of(1, 2, &[0], PATH));
        assert_ne!(peek, of(1, 2, &[1], PATH));
        assert_ne!(
            peek,
            of(1, MOON_FIRST, &[], b"ax/~zod/0/ack/some-long-path/18")
        );
        assert_eq!(of(2, MOON_FIRST, &[], b"short"), None);
    }

    #[test]
    fn stun_is_told_by_its_cookie() {
        let mut packet = [0; 20];
        packet[4..8].copy_from_slice(&STUN_COOKIE);
        for (first, kind) in [(0, KIND_STUN_REQUEST), (1, KIND_STUN_RESPONSE)] {
            packet[..2].copy_from_slice(&[first, 1]);
            assert_eq!(header(&&packet[..]), Header::nameless(kind));
        }
    }

    #[test]
    fn no_bytes_are_too_hostile() {
        let mut buffer = [0; 256];
        let mesa = mesa_packet(3, MOON_FIRST, &[], PATH, &mut buffer);
        let ames = ames_packet(0);
        for whole in [&buffer[..mesa], &ames[..]] {
            for length in 0..whole.len() {
                let cut = header(&&whole[..length]);
                let _ = conversation(&&whole[..length]);
                assert!(cut.kind < KINDS);
            }
            for at in 0..whole.len() {
                for value in [0, 0x55, 0xaa, 0xff] {
                    let mut damaged = [0; 256];
                    damaged[..whole.len()].copy_from_slice(whole);
                    damaged[at] = value;
                    assert!(header(&&damaged[..whole.len()]).kind < KINDS);
                    let _ = conversation(&&damaged[..whole.len()]);
                }
            }
        }
        assert_eq!(header(&&[][..]), Header::nameless(KIND_OTHER));
        assert_eq!(header(&&[0xff; 3][..]), Header::nameless(KIND_OTHER));
        // A path longer than any packet.
        let mut long = [0; 256];
        let length = mesa_packet(2, MOON_FIRST, &[], PATH, &mut long);
        long[19..21].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(header(&&long[..length]).kind, KIND_OTHER);
    }
}
