//! The Ames socket: `recvmmsg` with room for six datagrams until nothing is left, `sendmsg` for each that goes out.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Datagrams of one `recvmmsg`, each with 64 KiB: what libuv makes of mesa's 400 000 bytes.
const BATCH: usize = 6;
const DATAGRAM_BYTES: usize = 65536;

/// Turns of `recvmmsg` before the loop sees to others, as in libuv.
pub const TURNS: usize = 32;

/// The socket of a ship.
pub struct Ames {
    socket: OwnedFd,
    port: u16,
    buffer: Vec<u8>,
}

/// A datagram that came in.
pub struct Datagram {
    /// Where from.
    pub from: SocketAddrV4,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Ames {
    /// Opens the socket, on loopback only, as vere does for fake ships.
    pub fn open(port: u16, receive_buffer_bytes: u32) -> anyhow::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)
            .context("cannot make a UDP socket")?;
        rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("cannot listen on UDP port {port}: choose another with -p"))?;
        // What the kernel grants is up to net.core.rmem_max and wmem_max, and vere does not look.
        sockopt::set_socket_recv_buffer_size(&socket, receive_buffer_bytes as usize)
            .context("cannot set the receive buffer of the UDP socket")?;
        sockopt::set_socket_send_buffer_size(&socket, 2 << 20)
            .context("cannot set the send buffer of the UDP socket")?;
        let port = SocketAddrV4::try_from(
            rustix::net::getsockname(&socket).context("cannot read the UDP port")?,
        )
        .context("the UDP socket has no IPv4 address")?
        .port();
        Ok(Self {
            socket,
            port,
            buffer: vec![0; BATCH * DATAGRAM_BYTES],
        })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Takes the next datagrams that have come, up to six; none when nothing is left.
    pub fn receive(&mut self) -> io::Result<Vec<Datagram>> {
        // SAFETY: these C structs are valid when all zero.
        let (mut addresses, mut messages): ([libc::sockaddr_in; BATCH], [libc::mmsghdr; BATCH]) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let base = self.buffer.as_mut_ptr();
        let mut parts = [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: DATAGRAM_BYTES,
        }; BATCH];
        for index in 0..BATCH {
            // SAFETY: the buffer has room for the batch.
            parts[index].iov_base = unsafe { base.add(index * DATAGRAM_BYTES) }.cast();
            let header = &mut messages[index].msg_hdr;
            header.msg_name = (&raw mut addresses[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[index];
            header.msg_iovlen = 1;
        }
        let fd = self.socket.as_raw_fd();
        // SAFETY: every header points to an address, a part and a buffer that outlive the call.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                messages.as_mut_ptr(),
                BATCH as u32,
                0,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                // A refused connection is the answer to something sent earlier, to a peer that is gone.
                io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionRefused => Ok(Vec::new()),
                _ => Err(error),
            };
        }
        let datagram = |index: usize| {
            let start = index * DATAGRAM_BYTES;
            let bytes = self.buffer[start..start + messages[index].msg_len as usize].to_vec();
            let address = addresses[index];
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Datagram {
                from: SocketAddrV4::new(ip, u16::from_be(address.sin_port)),
                bytes,
            }
        };
        Ok((0..count as usize).map(datagram).collect())
    }

    /// Sends a datagram. False if it could not go; the sender will try again, so it is not kept.
    pub fn send(&self, to: SocketAddrV4, bytes: &[u8]) -> bool {
        let mut address = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: to.port().to_be(),
            sin_addr: libc::in_addr {
                s_addr: u32::from(*to.ip()).to_be(),
            },
            sin_zero: [0; 8],
        };
        let mut part = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        // SAFETY: a msghdr is valid when all zero.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = (&raw mut address).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        // SAFETY: the header points to an address, a part and bytes that outlive the call, which only reads them.
        unsafe { libc::sendmsg(self.socket.as_raw_fd(), &header, 0) >= 0 }
    }
}

impl AsFd for Ames {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
