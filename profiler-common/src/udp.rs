//! Datagrams at the ship's UDP sockets.

use crate::shared;

shared! {
    /// Key of `UDP_SOCKETS`: fifty containers may all use port 34343, each in a network
    /// namespace of its own.
    pub struct UdpKey {
        /// Inode of the network namespace (`/proc/PID/ns/net`).
        pub netns: u32,
        /// Local port, host byte order.
        pub port: u32,
    }

    /// Value of `UDP_SOCKETS`, entered by user space and filled by the programs.
    pub struct UdpTotals {
        /// Datagrams that the ship took out of the socket.
        pub received: u64,
        /// Their bytes.
        pub received_bytes: u64,
        /// Datagrams that the ship sent.
        pub sent: u64,
        /// Their bytes.
        pub sent_bytes: u64,
        /// Datagrams that the kernel dropped because the receive buffer was full.
        pub dropped: u64,
        /// When the first of them was dropped; 0 if none.
        pub first_drop_ktime_ns: u64,
        /// When the last of them was dropped.
        pub last_drop_ktime_ns: u64,
    }
}
