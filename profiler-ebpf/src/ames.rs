//! Whom the ship's datagrams are from and for, and how long they stood in its socket.
//!
//! Seen where the kernel hands a datagram to a socket and takes one from it, by programs on the king's own
//! control group (`BPF_PROG_TYPE_CGROUP_SKB`, 4.10): the packets of other groups do not run them, each
//! datagram runs them once, whatever bridges and namespaces it came through, and the socket is known, which
//! neither a packet socket nor `net:netif_receive_skb` tells. They always let the packet pass.
//!
//! Measured on Linux 6.18 by `kernel.bpf_stats_enabled`, whose clock readings are included: 59 ns for a packet
//! of another socket in the same group, 0.8 µs for one of the ship's at 1000 a second, 2.3 µs at 30 a second,
//! where nothing of it is in the cache.

use aya_ebpf::helpers::{bpf_get_socket_cookie, bpf_ktime_get_ns};
use aya_ebpf::macros::{cgroup_skb, map};
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use aya_ebpf::programs::SkBuffContext;
use core::ffi::c_void;
use profiler_common::ames::{
    ARRIVALS, ASKED_AGAIN, AmesSocket, Asked, HAS_RECEIVER, HAS_SENDER, MAX_PEERS, MAX_SOCKETS,
    PacketKey, PacketTotals, RELAYED, SENT, TIME_IN_SOCKET, TIME_OF_PEEK, TIME_OF_POKE, TIMES,
    Times,
};
use profiler_common::packet::{self, KIND_MESA_PAGE, KIND_MESA_PEEK, KIND_MESA_POKE, Payload};
use profiler_common::{histogram, loss as reason};

use crate::atomic::add;
use crate::kernel::{offset, read};
use crate::{loss, ship};

/// Bit `port % 64` of word `port / 64`: whether a socket of the ship has that local port. One load answers
/// nearly every packet of another socket in the same control group.
#[map]
static AMES_PORTS: Array<u64> = Array::with_max_entries(1024, 0);

/// The ship's sockets by cookie: a port alone may be another container's.
#[map]
static AMES_SOCKETS: HashMap<u64, AmesSocket> = HashMap::with_max_entries(MAX_SOCKETS, 0);

/// When the latest datagrams arrived, socket by socket.
#[map]
static AMES_ARRIVALS: Array<u64> = Array::with_max_entries(MAX_SOCKETS * ARRIVALS, 0);

/// Sums by pair of ships.
#[map]
static AMES_PACKETS: HashMap<PacketKey, PacketTotals> = HashMap::with_max_entries(MAX_PEERS, 0);

/// Mesa questions that went out; the oldest make room.
#[map]
static AMES_ASKED: LruHashMap<u64, Asked> = LruHashMap::with_max_entries(4096, 0);

/// What is measured of times.
#[map]
static AMES_TIMES: PerCpuArray<Times> = PerCpuArray::with_max_entries(TIMES, 0);

/// `SK_PASS`: the packet goes its way. Another answer would drop it.
const PASS: i32 = 1;
/// `IPPROTO_UDP`.
const PROTOCOL_UDP: u8 = 17;
/// Length of a UDP header.
const UDP_HEADER_BYTES: u32 = 8;

/// A datagram that belongs to a socket of the group.
struct Datagram<'a> {
    packet: &'a SkBuffContext,
    /// Where the IP header ends.
    udp_at: u32,
}

impl Payload for Datagram<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        let at = self.udp_at + UDP_HEADER_BYTES + at;
        self.packet.load::<[u8; N]>(at as usize).ok()
    }
}

/// On the way into a socket of the control group, before the receive buffer is looked at.
#[cgroup_skb(ingress)]
pub fn ames_ingress(ctx: SkBuffContext) -> i32 {
    arrives(&ctx);
    PASS
}

/// On the way out of a socket of the control group, before it is cut to the size of the link.
#[cgroup_skb(egress)]
pub fn ames_egress(ctx: SkBuffContext) -> i32 {
    leaves(&ctx);
    PASS
}

#[inline(always)]
fn arrives(ctx: &SkBuffContext) -> Option<()> {
    let socket = socket(ctx)?;
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    note_arrival(socket, now)?;
    ship::window(now)?;
    let datagram = datagram(ctx)?;
    let header = packet::header(&datagram);
    let totals = count(&datagram, &header, 0)?;
    if header.kind == KIND_MESA_PAGE {
        answered(&datagram, totals, now);
    }
    Some(())
}

#[inline(always)]
fn leaves(ctx: &SkBuffContext) -> Option<()> {
    socket(ctx)?;
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    ship::window(now)?;
    let datagram = datagram(ctx)?;
    let header = packet::header(&datagram);
    count(&datagram, &header, SENT)?;
    match header.kind {
        KIND_MESA_PEEK => asks(&datagram, now, TIME_OF_PEEK),
        KIND_MESA_POKE => asks(&datagram, now, TIME_OF_POKE),
        _ => None,
    }
}

/// The ship's socket that a packet is for or from.
#[inline(always)]
fn socket(ctx: &SkBuffContext) -> Option<*mut AmesSocket> {
    // SAFETY: a field of the context; both hooks run with a socket.
    let port = unsafe { (*ctx.skb.skb).local_port };
    if AMES_PORTS.get(port >> 6 & 1023)? >> (port & 63) & 1 == 0 {
        return None;
    }
    // SAFETY: the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.skb.skb.cast()) };
    AMES_SOCKETS.get_ptr_mut(cookie)
}

/// Packets begin with the IP header in both hooks. vere knows IPv4 alone.
#[inline(always)]
fn datagram(ctx: &SkBuffContext) -> Option<Datagram<'_>> {
    let first = ctx.load::<u8>(0).ok()?;
    if first >> 4 != 4 || ctx.load::<u8>(9).ok()? != PROTOCOL_UDP {
        return None;
    }
    Some(Datagram {
        packet: ctx,
        udp_at: u32::from(first & 0xf) * 4,
    })
}

/// Remembers when a datagram arrived. Two CPUs at the same moment may count one: for as long as the queue
/// does not run empty, the times are then those of the next datagram.
#[inline(always)]
fn note_arrival(socket: *mut AmesSocket, now: u64) -> Option<()> {
    // SAFETY: a live map value; entries are never removed.
    let socket = unsafe { &mut *socket };
    let place = arrival(socket.index, socket.arrivals)?;
    // SAFETY: a live map value.
    unsafe { *place = now };
    socket.arrivals += 1;
    Some(())
}

#[inline(always)]
fn arrival(index: u64, number: u64) -> Option<*mut u64> {
    let place = index * u64::from(ARRIVALS) + number % u64::from(ARRIVALS);
    AMES_ARRIVALS.get_ptr_mut(place as u32)
}

/// Adds a datagram to the sums of those that it names.
#[inline(always)]
fn count(datagram: &Datagram<'_>, header: &packet::Header, way: u8) -> Option<*mut PacketTotals> {
    // Of the IP header, source and destination; of the UDP header, ports and length.
    let (address_at, port_at) = if way == SENT { (16, 2) } else { (12, 0) };
    let ctx = datagram.packet;
    let address = ctx.load::<[u8; 4]>(address_at).ok()?;
    let port = ctx
        .load::<[u8; 2]>(datagram.udp_at as usize + port_at)
        .ok()?;
    let length = ctx.load::<[u8; 2]>(datagram.udp_at as usize + 4).ok()?;
    let bytes = u64::from(u16::from_be_bytes(length)).saturating_sub(u64::from(UDP_HEADER_BYTES));
    let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
    let key = PacketKey {
        sender: header.sender.unwrap_or([0; 2]),
        receiver: header.receiver.unwrap_or([0; 2]),
        remote_address: u32::from_le_bytes(address),
        remote_port: u16::from_be_bytes(port),
        kind: header.kind,
        flags: way
            | flag(header.relayed, RELAYED)
            | flag(header.sender.is_some(), HAS_SENDER)
            | flag(header.receiver.is_some(), HAS_RECEIVER),
    };
    let totals = match AMES_PACKETS.get_ptr_mut(key) {
        Some(totals) => totals,
        None => new_totals(key)?,
    };
    // SAFETY: a live map value; entries are never removed. Datagrams come in on several CPUs at once.
    unsafe {
        add(&raw mut (*totals).packets, 1);
        add(&raw mut (*totals).bytes, bytes);
    }
    Some(totals)
}

#[inline(always)]
fn new_totals(key: PacketKey) -> Option<*mut PacketTotals> {
    /// `BPF_NOEXIST` (`include/uapi/linux/bpf.h`): another CPU may have been quicker.
    const NOEXIST: u64 = 1;
    let zero = PacketTotals {
        packets: 0,
        bytes: 0,
        answers: 0,
        answer_ns: 0,
    };
    // The outcome shows in the look-up.
    let _ = AMES_PACKETS.insert(key, zero, NOEXIST);
    let totals = AMES_PACKETS.get_ptr_mut(key);
    if totals.is_none() {
        loss::count(reason::AMES_SLOT);
    }
    totals
}

/// Remembers a question. The lowest bit of its number says whether it is a poke.
#[inline(always)]
fn asks(datagram: &Datagram<'_>, now: u64, time: u32) -> Option<()> {
    let name = packet::conversation(datagram)? & !1 | u64::from(time == TIME_OF_POKE);
    let mut asked = Asked { ktime_ns: now };
    if AMES_ASKED.get_ptr(name).is_some() {
        asked.ktime_ns = ASKED_AGAIN;
        let times = AMES_TIMES.get_ptr_mut(time)?;
        // SAFETY: the map's value, this CPU's own copy.
        unsafe { (*times).unknown += 1 };
    }
    AMES_ASKED.insert(name, asked, 0).ok()
}

/// A page came: the answer to a question that is known, or not.
#[inline(always)]
fn answered(datagram: &Datagram<'_>, totals: *mut PacketTotals, now: u64) -> Option<()> {
    let name = packet::conversation(datagram)? & !1;
    let (name, time, asked) = match AMES_ASKED.get_ptr(name) {
        Some(asked) => (name, TIME_OF_PEEK, asked),
        None => (name | 1, TIME_OF_POKE, AMES_ASKED.get_ptr(name | 1)?),
    };
    // SAFETY: a live map value.
    let asked = unsafe { (*asked).ktime_ns };
    // The second answer to it is to no question.
    AMES_ASKED.remove(name).ok()?;
    if asked == ASKED_AGAIN {
        return None;
    }
    let ns = now.saturating_sub(asked);
    // SAFETY: a live map value; entries are never removed.
    unsafe {
        add(&raw mut (*totals).answers, 1);
        add(&raw mut (*totals).answer_ns, ns);
    }
    note_time(time, ns)
}

#[inline(always)]
fn note_time(time: u32, ns: u64) -> Option<()> {
    let times = AMES_TIMES.get_ptr_mut(time)?;
    let bucket = histogram::index(ns);
    // SAFETY: the map's value, this CPU's own copy. Each time ends in one kind of context only.
    unsafe {
        (*times).count += 1;
        (*times).total_ns += ns;
        if ns > (*times).max_ns {
            (*times).max_ns = ns;
        }
        if bucket < histogram::BUCKETS {
            (*times).buckets[bucket] += 1;
        }
    }
    Some(())
}

/// The ship's socket that a tracepoint passed.
#[inline(always)]
fn socket_of(sock: *const c_void) -> Option<*mut AmesSocket> {
    AMES_SOCKETS.get_ptr_mut(read::<u64>(sock, offset!(sock_cookie))?)
}

/// The king took a datagram out of a socket. The queue is first in, first out, so as many have arrived
/// since this one as are left in it. Counted from the newest, so that no error outlives the queue.
#[inline(always)]
pub fn taken(sock: *const c_void, now: u64) -> Option<()> {
    let socket = socket_of(sock)?;
    // SAFETY: a live map value; entries are never removed.
    let (index, arrivals) = unsafe { ((*socket).index, (*socket).arrivals) };
    let left = u64::from(read::<u32>(sock, offset!(sock_queue_length))?)
        + u64::from(read::<u32>(sock, offset!(udp_reader_queue_length))?);
    let mut arrived = 0;
    if left < u64::from(ARRIVALS) && left < arrivals {
        // SAFETY: a live map value.
        arrived = unsafe { *arrival(index, arrivals - left - 1)? };
    }
    if arrived == 0 || arrived > now {
        let times = AMES_TIMES.get_ptr_mut(TIME_IN_SOCKET)?;
        // SAFETY: the map's value, this CPU's own copy.
        unsafe { (*times).unknown += 1 };
        return None;
    }
    note_time(TIME_IN_SOCKET, now - arrived)
}

/// A datagram found the receive buffer full, right after its arrival was noted.
#[inline(always)]
pub fn lost(sock: *const c_void) -> Option<()> {
    let socket = socket_of(sock)?;
    // SAFETY: a live map value; entries are never removed.
    unsafe { (*socket).arrivals = (*socket).arrivals.saturating_sub(1) };
    Some(())
}
