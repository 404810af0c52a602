//! Datagrams: taken out of the ship's sockets, sent from them, and lost before them.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use profiler_common::udp::{UdpKey, UdpTotals};

use crate::atomic::add;
use crate::kernel::{load, offset, read};
use crate::{ames, recording, sampling, ship, turnaround};

/// Sums per socket. User space enters the ship's sockets; nothing else is counted.
#[map]
static UDP_SOCKETS: HashMap<UdpKey, UdpTotals> = HashMap::with_max_entries(256, 0);

/// `IPPROTO_UDP`.
const PROTOCOL_UDP: u16 = 17;
/// What sockets between processes have, among others those between king and mars.
const NO_PROTOCOL: u16 = 0;

/// The sums of the socket that a tracepoint passed, if it is a ship's.
#[inline(always)]
fn totals(sock: *const c_void) -> Option<&'static mut UdpTotals> {
    if read::<u16>(sock, offset!(sock_protocol))? != PROTOCOL_UDP {
        return None;
    }
    let port = u32::from(read::<u16>(sock, offset!(sock_port))?);
    let net = read::<u64>(sock, offset!(sock_net))? as *const c_void;
    let netns = read::<u32>(net, offset!(net_inum))?;
    let totals = UDP_SOCKETS.get_ptr_mut(UdpKey { netns, port })?;
    // SAFETY: a live map value; entries are never removed while programs are attached.
    Some(unsafe { &mut *totals })
}

/// `sock:sock_recv_length(sk, ret, flags)`, since 6.3: a receive call returned `ret` bytes, once
/// per datagram also in `recvmmsg`.
#[btf_tracepoint(function = "sock_recv_length")]
pub fn sock_recv_length(ctx: BtfTracePointContext) -> i32 {
    transferred(&ctx, |totals, bytes, now| {
        add(&raw mut totals.received, 1);
        add(&raw mut totals.received_bytes, bytes);
        if recording() {
            ames::taken(ctx.arg(0), now);
        }
    });
    0
}

/// `sock:sock_send_length(sk, ret, flags)`, since 6.3: a send call took `ret` bytes.
#[btf_tracepoint(function = "sock_send_length")]
pub fn sock_send_length(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: a tracepoint's argument.
    let protocol = unsafe { load::<u16>(ctx.arg(0), offset!(sock_protocol)) };
    if protocol == NO_PROTOCOL && !recording() {
        turnaround::sent(ctx.arg(1));
        return 0;
    }
    transferred(&ctx, |totals, bytes, _| {
        add(&raw mut totals.sent, 1);
        add(&raw mut totals.sent_bytes, bytes);
    });
    0
}

#[inline(always)]
fn transferred(
    ctx: &BtfTracePointContext,
    note: impl FnOnce(&mut UdpTotals, u64, u64),
) -> Option<()> {
    // First what one load tells: nearly all that is sent and received, by anybody, is no datagram.
    // SAFETY: a tracepoint's argument.
    if unsafe { load::<u16>(ctx.arg(0), offset!(sock_protocol)) } != PROTOCOL_UDP
        || !ship::watches((bpf_get_current_pid_tgid() >> 32) as u32)
    {
        return None;
    }
    if !recording() && !sampling::sums_io() {
        return None;
    }
    let bytes: i32 = ctx.arg(1);
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    ship::window(now)?;
    if bytes >= 0 {
        note(totals(ctx.arg(0))?, bytes as u64, now);
    }
    Some(())
}

/// `udp:udp_fail_queue_rcv_skb(rc, sk, …)`: a datagram found the receive buffer full and is lost.
/// Runs in whatever context the packet arrived, so the socket alone says whose it is.
#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
pub fn udp_fail_queue_rcv_skb(ctx: BtfTracePointContext) -> i32 {
    try_udp_fail_queue_rcv_skb(&ctx);
    0
}

#[inline(always)]
fn try_udp_fail_queue_rcv_skb(ctx: &BtfTracePointContext) -> Option<()> {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if recording() {
        ames::lost(ctx.arg(1));
    }
    ship::window(now)?;
    let totals = totals(ctx.arg(1))?;
    add(&raw mut totals.dropped, 1);
    if totals.first_drop_ktime_ns == 0 {
        totals.first_drop_ktime_ns = now;
    }
    totals.last_drop_ktime_ns = now;
    Some(())
}
