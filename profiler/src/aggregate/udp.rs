//! Datagrams of all the ship's sockets.

use serde::Serialize;

use crate::model::Capture;

/// Sums over the ship's UDP sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UdpSummary {
    /// Local ports.
    pub ports: Vec<u16>,
    /// Datagrams taken out of the sockets; nothing if this kernel does not let us count.
    pub received: Option<u64>,
    /// Their bytes.
    pub received_bytes: Option<u64>,
    /// Datagrams sent; nothing if this kernel does not let us count.
    pub sent: Option<u64>,
    /// Their bytes.
    pub sent_bytes: Option<u64>,
    /// Datagrams lost at a full receive buffer; nothing if the probe could not be attached.
    pub dropped: Option<u64>,
    /// Time from the first to the last that was lost.
    pub drop_span_ns: u64,
    /// Receive buffer of the smallest socket as it was granted, which is half of what the kernel
    /// counts (it doubles the value for its bookkeeping: socket(7)); nothing if not known.
    pub receive_buffer_bytes: Option<u64>,
}

impl UdpSummary {
    /// Share of the datagrams that arrived which was lost; nothing if either is not known.
    pub fn drop_ratio(&self) -> Option<f64> {
        let (dropped, received) = (self.dropped?, self.received?);
        let arrived = dropped + received;
        (arrived > 0).then(|| dropped as f64 / arrived as f64)
    }
}

/// Sums the sockets up; nothing if none was watched.
pub fn summarise(capture: &Capture) -> Option<UdpSummary> {
    let sockets = &capture.totals.udp;
    if sockets.is_empty() {
        return None;
    }
    let sum = |probe: &str, field: fn(&profiler_common::udp::UdpTotals) -> u64| {
        capture
            .meta
            .attached(probe)
            .then(|| sockets.iter().map(|(_, totals)| field(totals)).sum())
    };
    let buffers = capture.meta.host.udp_buffers.known();
    Some(UdpSummary {
        ports: sockets
            .iter()
            .filter_map(|(key, _)| u16::try_from(key.port).ok())
            .collect(),
        received: sum("sock_recv_length", |t| t.received),
        received_bytes: sum("sock_recv_length", |t| t.received_bytes),
        sent: sum("sock_send_length", |t| t.sent),
        sent_bytes: sum("sock_send_length", |t| t.sent_bytes),
        dropped: sum("udp_fail_queue_rcv_skb", |t| t.dropped),
        drop_span_ns: sockets
            .iter()
            .map(|(_, t)| t.last_drop_ktime_ns.saturating_sub(t.first_drop_ktime_ns))
            .max()
            .unwrap_or(0),
        receive_buffer_bytes: buffers.and_then(|all| {
            all.iter()
                .map(|buffers| buffers.receive_buffer_bytes / 2)
                .min()
        }),
    })
}
