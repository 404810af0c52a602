//! Ames and Mesa packets: valid headers (vere `io/ames.c:394-448`, `io/mesa/pact.c`), arbitrary bodies.

use noun::{Rank, Ship, murmur3};

/// Bytes 4 to 8 of every Mesa packet: the cookie 0x67e00200.
const MESA_COOKIE: [u8; 4] = [0x00, 0x02, 0xe0, 0x67];

/// Version of the Mesa protocol.
const MESA_PROTOCOL: u32 = 1;

/// First byte of the body of an Ames packet that acknowledges another. Real bodies are encrypted; this one only has to
/// be known by this program.
const AMES_ACK: u8 = 0xac;

/// The 20-bit checksum of both protocols.
fn checksum(bytes: &[u8]) -> u32 {
    murmur3::mug(bytes) & 0xf_ffff
}

/// Mesa's kinds of packets.
mod mesa {
    pub const PAGE: u32 = 1;
    pub const PEEK: u32 = 2;
    pub const POKE: u32 = 3;
}

/// What kind of packet a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An Ames packet that asks for an event.
    Ames,
    /// A Mesa poke.
    MesaPoke,
    /// A Mesa peek, which is answered without an event.
    MesaPeek,
    /// An acknowledgement in either protocol, which asks for nothing.
    Acknowledgement,
}

/// Size class: the number of bytes of a ship is 2 to the power of this plus 1.
fn class(ship: Ship) -> u8 {
    match ship.rank() {
        Rank::Galaxy | Rank::Star => 0,
        Rank::Planet => 1,
        Rank::Moon => 2,
        Rank::Comet => 3,
    }
}

fn push_ship(out: &mut Vec<u8>, ship: Ship) {
    let length = 2 << class(ship);
    out.extend_from_slice(&ship.0.to_le_bytes()[..length]);
}

/// An Ames packet, filled up to `bytes`.
pub fn ames(sender: Ship, receiver: Ship, sequence: u64, bytes: usize) -> Vec<u8> {
    ames_with_body(
        sender,
        receiver,
        &body(0x3e, sequence, bytes.saturating_sub(AMES_OVERHEAD)),
    )
}

/// Bytes of an Ames packet between two planets, without its body.
const AMES_OVERHEAD: usize = 13;

fn ames_with_body(sender: Ship, receiver: Ship, body: &[u8]) -> Vec<u8> {
    // Life ticks of both ships, then their names.
    let mut rest = vec![0x11];
    push_ship(&mut rest, sender);
    push_ship(&mut rest, receiver);
    rest.extend_from_slice(body);
    // Not a request's answer, protocol Ames, version 0, and not relayed: 0 is yes, 1 is no.
    let header = u32::from(class(sender)) << 7
        | u32::from(class(receiver)) << 9
        | checksum(&rest) << 11
        | 1 << 31;
    [&header.to_le_bytes()[..], &rest].concat()
}

/// A Mesa poke, filled up to `bytes`.
pub fn mesa_poke(sender: Ship, receiver: Ship, sequence: u64, bytes: usize) -> Vec<u8> {
    let mut rest = Vec::new();
    push_name(
        &mut rest,
        receiver,
        &format!("ax/{sender}/0/ack/{sequence}"),
    );
    push_name(
        &mut rest,
        sender,
        &format!("ax/{receiver}/0/pok/{sequence}"),
    );
    let fill = bytes.saturating_sub(rest.len() + 8);
    rest.extend(body(0x3e, sequence, fill));
    mesa_packet(mesa::POKE, &rest)
}

/// A Mesa peek of something that `publisher` has.
pub fn mesa_peek(publisher: Ship, sequence: u64) -> Vec<u8> {
    let mut rest = Vec::new();
    push_name(&mut rest, publisher, &format!("g/x/{sequence}/groups//1"));
    mesa_packet(mesa::PEEK, &rest)
}

/// Who a packet says it is from; nobody in a Mesa peek or page.
pub fn sender(packet: &[u8]) -> Option<Ship> {
    let ship = |bytes: &[u8]| noun::Atom::from_bytes(bytes).as_u128().map(Ship);
    match classify(packet)? {
        Kind::Ames => {
            let header = u32::from_le_bytes(*packet.first_chunk()?);
            ship(packet.get(5..5 + (2_usize << (header >> 7 & 0b11)))?)
        }
        Kind::MesaPoke => {
            let second = packet.get(8 + first_name(packet)?.len()..)?;
            ship(second.get(1..1 + (2_usize << (second.first()? & 0b11)))?)
        }
        Kind::MesaPeek | Kind::Acknowledgement => None,
    }
}

/// The first name of a Mesa packet as [`push_name`] writes it.
fn first_name(packet: &[u8]) -> Option<&[u8]> {
    let rest = packet.get(8..)?;
    let ship = 2_usize << (rest.first()? & 0b11);
    let path_at = 1 + ship + 2;
    let path = u16::from_le_bytes(*rest.get(path_at..)?.first_chunk()?);
    rest.get(..path_at + 2 + usize::from(path))
}

fn mesa_packet(kind: u32, rest: &[u8]) -> Vec<u8> {
    let header = MESA_PROTOCOL << 4 | kind << 7 | checksum(rest) << 12;
    [&header.to_le_bytes()[..], &MESA_COOKIE, rest].concat()
}

/// A name: its lengths, the ship, rift 0, block size 13, and the path. It stands for a whole message, so no fragment
/// number follows.
fn push_name(out: &mut Vec<u8>, ship: Ship, path: &str) {
    const INITIAL: u8 = 1 << 4;
    out.push(class(ship) | INITIAL);
    push_ship(out, ship);
    out.extend([0, 13]);
    out.extend((path.len() as u16).to_le_bytes());
    out.extend(path.as_bytes());
}

/// Bytes that differ from packet to packet, so that equal checksums are not the rule.
fn body(first: u8, sequence: u64, length: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(length);
    let mut state = sequence;
    while body.len() < length {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        body.extend_from_slice(&state.to_be_bytes());
    }
    body.truncate(length);
    if let [start, .., end] = body.as_mut_slice() {
        *start = first;
        // On its way through an event a packet is a number, which knows no zeros at the end.
        *end |= 1;
    }
    body
}

/// Tells what a datagram is, if its header and checksum are valid.
pub fn classify(packet: &[u8]) -> Option<Kind> {
    let (header, after) = packet.split_first_chunk::<4>()?;
    let header = u32::from_le_bytes(*header);
    if let Some(rest) = after.strip_prefix(&MESA_COOKIE) {
        if header >> 12 != checksum(rest) || header >> 4 & 0b111 != MESA_PROTOCOL {
            return None;
        }
        return match header >> 7 & 0b11 {
            mesa::PAGE => Some(Kind::Acknowledgement),
            mesa::POKE => Some(Kind::MesaPoke),
            mesa::PEEK => Some(Kind::MesaPeek),
            _ => None,
        };
    }
    if header >> 11 & 0xf_ffff != checksum(after) {
        return None;
    }
    let [sender, receiver] = [header >> 7 & 0b11, header >> 9 & 0b11].map(|class| 2_usize << class);
    match after.get(1 + sender + receiver) {
        Some(&AMES_ACK) => Some(Kind::Acknowledgement),
        _ => Some(Kind::Ames),
    }
}

/// The packet that acknowledges another: an Ames packet back to its sender, or a Mesa page.
pub fn acknowledge(packet: &[u8]) -> Option<Vec<u8>> {
    match classify(packet)? {
        Kind::Acknowledgement => None,
        Kind::Ames => {
            let header = u32::from_le_bytes(*packet.first_chunk()?);
            let [sender, receiver] =
                [header >> 7 & 0b11, header >> 9 & 0b11].map(|class| 2_usize << class);
            let sender_bytes = packet.get(5..5 + sender)?;
            let receiver_bytes = packet.get(5 + sender..5 + sender + receiver)?;
            let [from, to] =
                [receiver_bytes, sender_bytes].map(|bytes| noun::Atom::from_bytes(bytes).as_u128());
            Some(ames_with_body(
                Ship(from?),
                Ship(to?),
                &body(AMES_ACK, u64::from(checksum(packet)), 40),
            ))
        }
        Kind::MesaPoke | Kind::MesaPeek => {
            // The page is for the first name: of a poke, the path of its acknowledgement.
            Some(mesa_packet(
                mesa::PAGE,
                &[
                    first_name(packet)?,
                    &body(0x01, u64::from(checksum(packet)), 40),
                ]
                .concat(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPS: [Ship; 4] = [Ship(0), Ship(256), Ship(1_624_961_343), Ship(1 << 40)];

    #[test]
    fn packets_are_what_they_say() {
        for sender in SHIPS {
            for receiver in SHIPS {
                for (packet, kind) in [
                    (ames(sender, receiver, 7, 1000), Kind::Ames),
                    (mesa_poke(sender, receiver, 7, 1000), Kind::MesaPoke),
                ] {
                    assert_eq!(classify(&packet), Some(kind));
                    assert_eq!(super::sender(&packet), Some(sender));
                    let ack = acknowledge(&packet).expect("an acknowledgement");
                    assert_eq!(classify(&ack), Some(Kind::Acknowledgement));
                    assert_eq!(acknowledge(&ack), None);
                }
            }
        }
    }

    #[test]
    fn a_peek_is_answered_by_a_page() {
        let peek = mesa_peek(Ship(256), 5);
        assert_eq!(classify(&peek), Some(Kind::MesaPeek));
        let page = acknowledge(&peek).expect("a page");
        assert_eq!(classify(&page), Some(Kind::Acknowledgement));
        assert_eq!(super::sender(&peek), None);
    }

    #[test]
    fn lengths_are_as_asked() {
        assert_eq!(mesa_poke(Ship(256), Ship(0), 1, 1000).len(), 1000);
        assert_eq!(ames(Ship(1 << 20), Ship(1 << 21), 1, 1000).len(), 1000);
    }

    #[test]
    fn damage_is_noticed() {
        let packet = mesa_poke(Ship(256), Ship(0), 1, 200);
        for byte in (0..packet.len()).filter(|byte| !(4..8).contains(byte)) {
            let mut damaged = packet.clone();
            damaged[byte] ^= 0x40;
            assert_ne!(classify(&damaged), Some(Kind::MesaPoke), "byte {byte}");
        }
    }
}
