//! UDP as a process' network namespace shows it: sockets with their drops, and protocol totals.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::sockopt::{socket_cookie, socket_recv_buffer_size, socket_send_buffer_size};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde::{Deserialize, Serialize};

use super::process::Process;
use super::{ReadError, read_text};

/// One row of `/proc/PID/net/udp`. procfs-core's parser leaves the drops out, hence this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpSocket {
    /// Local port.
    pub local_port: u16,
    /// Inode of the socket, as in `/proc/PID/fd`.
    pub inode: u64,
    /// Memory of datagrams that wait to be sent.
    pub send_queue_bytes: u64,
    /// Memory of datagrams that wait to be received.
    pub receive_queue_bytes: u64,
    /// Datagrams that this socket lost since it was opened: a full receive buffer, or a wrong
    /// checksum.
    pub drops_total: u64,
}

/// What a socket may hold, as the kernel accounts it: twice what the program asked for, and no
/// more than twice `net.core.rmem_max` or `wmem_max` (kernel `net/core/sock.c`, `SO_RCVBUF`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketBuffers {
    /// Local port.
    pub local_port: u16,
    /// Limit for datagrams that wait to be received, their bookkeeping included.
    pub receive_buffer_bytes: u64,
    /// Limit for datagrams that wait to be sent.
    pub send_buffer_bytes: u64,
}

/// The `Udp:` line of `/proc/PID/net/snmp`: all of the network namespace since it was made
/// (names of RFC 1213 and of the kernel's `net/ipv4/proc.c`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UdpTotals {
    /// Datagrams delivered to sockets.
    pub received_total: u64,
    /// Datagrams sent.
    pub sent_total: u64,
    /// Datagrams for ports that nobody listens on.
    pub no_port_total: u64,
    /// Datagrams that could not be delivered for other reasons; the next two are among them.
    pub receive_errors_total: u64,
    /// Datagrams lost to a full receive buffer.
    pub receive_buffer_errors_total: u64,
    /// Datagrams with a wrong checksum.
    pub checksum_errors_total: u64,
    /// Datagrams that could not be sent for want of buffer.
    pub send_buffer_errors_total: u64,
}

/// The UDP sockets that `process` itself has open, IPv4 and IPv6, by port.
pub fn udp_sockets(process: &Process) -> Result<Vec<UdpSocket>, ReadError> {
    let own = process.socket_inodes()?;
    let path = process.path("net/udp");
    let mut sockets = parse_udp(&path, &read_text(&path)?)?;
    let path = process.path("net/udp6");
    // A kernel without IPv6 has no such file.
    if let Ok(text) = read_text(&path) {
        sockets.extend(parse_udp(&path, &text)?);
    }
    sockets.retain(|socket| own.contains(&socket.inode));
    sockets.sort_by_key(|socket| (socket.local_port, socket.inode));
    Ok(sockets)
}

/// Buffer sizes of the UDP sockets of `process`, asked of the sockets themselves through a
/// duplicate (`pidfd_getfd`, Linux 5.6): the process is neither stopped nor attached to.
pub fn socket_buffers(process: &Process) -> Result<Vec<SocketBuffers>, ReadError> {
    ask_sockets(process, |local_port, socket| {
        Ok(SocketBuffers {
            local_port,
            receive_buffer_bytes: socket_recv_buffer_size(socket)? as u64,
            send_buffer_bytes: socket_send_buffer_size(socket)? as u64,
        })
    })
}

/// The UDP sockets of `process` by local port, each with the number by which the kernel tells it from all
/// others (`SO_COOKIE`, Linux 4.12).
pub fn socket_cookies(process: &Process) -> Result<Vec<(u16, u64)>, ReadError> {
    ask_sockets(process, |local_port, socket| {
        Ok((local_port, socket_cookie(socket)?))
    })
}

/// What each UDP socket of `process` says to a question.
fn ask_sockets<T>(
    process: &Process,
    question: impl Fn(u16, BorrowedFd<'_>) -> Result<T, Errno>,
) -> Result<Vec<T>, ReadError> {
    let directory = process.path("fd");
    let failed = |error: Errno| ReadError::io(&directory, error.into());
    let sockets = udp_sockets(process)?;
    let pid = i32::try_from(process.tgid()).ok().and_then(Pid::from_raw);
    let pidfd = pidfd_open(pid.ok_or(failed(Errno::SRCH))?, PidfdFlags::empty()).map_err(failed)?;
    let mut found = Vec::new();
    for (fd, target) in process.open_files()? {
        let of_fd = |socket: &&UdpSocket| {
            target.to_str() == Some(format!("socket:[{}]", socket.inode).as_str())
        };
        let (Some(socket), Ok(fd)) = (sockets.iter().find(of_fd), i32::try_from(fd)) else {
            continue;
        };
        let own = pidfd_getfd(&pidfd, fd, PidfdGetfdFlags::empty()).map_err(failed)?;
        // The descriptor may have been closed and used again since it was listed.
        if fstat(&own).map_err(failed)?.st_ino != socket.inode {
            continue;
        }
        found.push(question(socket.local_port, own.as_fd()).map_err(failed)?);
    }
    Ok(found)
}

/// UDP totals of the network namespace of `process`.
pub fn udp_totals(process: &Process) -> Result<UdpTotals, ReadError> {
    let path = process.path("net/snmp");
    parse_udp_totals(&path, &read_text(&path)?)
}

fn parse_udp(path: &Path, text: &str) -> Result<Vec<UdpSocket>, ReadError> {
    text.lines()
        .skip(1)
        .filter(|line| !line.trim().is_empty())
        .map(|line| parse_udp_row(line).ok_or_else(|| ReadError::malformed(path, line.trim())))
        .collect()
}

/// `sl local rem st tx:rx tr:when retrnsmt uid timeout inode ref pointer drops`
/// (kernel `net/ipv4/udp.c`, `udp4_format_sock`).
fn parse_udp_row(line: &str) -> Option<UdpSocket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    let (sending, receiving) = fields.get(4)?.split_once(':')?;
    Some(UdpSocket {
        local_port: u16::from_str_radix(port, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
        send_queue_bytes: u64::from_str_radix(sending, 16).ok()?,
        receive_queue_bytes: u64::from_str_radix(receiving, 16).ok()?,
        drops_total: fields.get(12)?.parse().ok()?,
    })
}

/// Two lines, names and values. A kernel that lacks a column gives 0 for it only where it has no
/// such event; the columns read here are all older than 5.10.
fn parse_udp_totals(path: &Path, text: &str) -> Result<UdpTotals, ReadError> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return Err(ReadError::malformed(path, "there is no Udp: line"));
    };
    let value = |name: &str| {
        names
            .split_whitespace()
            .zip(values.split_whitespace())
            .find(|(column, _)| *column == name)
            .and_then(|(_, value)| value.parse().ok())
            .ok_or_else(|| ReadError::malformed(path, format!("the Udp: line has no {name}")))
    };
    Ok(UdpTotals {
        received_total: value("InDatagrams")?,
        sent_total: value("OutDatagrams")?,
        no_port_total: value("NoPorts")?,
        receive_errors_total: value("InErrors")?,
        receive_buffer_errors_total: value("RcvbufErrors")?,
        checksum_errors_total: value("InCsumErrors")?,
        send_buffer_errors_total: value("SndbufErrors")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  413: 0100007F:8767 00000000:0000 07 00000000:00033980 00:00000000 00000000  1000        0 55123 2 ffff8880046bd500 1180
  900: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1212 2 ffff88800468a000 0
";

    #[test]
    fn rows_hold_port_queue_and_drops() {
        let rows = parse_udp(Path::new("udp"), UDP).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[0],
            UdpSocket {
                local_port: 34663,
                inode: 55123,
                send_queue_bytes: 0,
                receive_queue_bytes: 0x33980,
                drops_total: 1180,
            }
        );
    }

    #[test]
    fn a_row_that_is_cut_short_is_named() {
        let error = parse_udp(
            Path::new("/proc/1/net/udp"),
            "header\n 1: 0100007F:8767 00:",
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("1: 0100007F:8767 00:"),
            "{error}"
        );
    }

    #[test]
    fn totals_go_by_the_names_of_the_columns() {
        let text = "Ip: Forwarding\nIp: 1\n\
            Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors\n\
            Udp: 10 1 8 20 7 0 1 0 0\nUdpLite: InDatagrams\nUdpLite: 0\n";
        let totals = parse_udp_totals(Path::new("snmp"), text).unwrap();
        assert_eq!(totals.received_total, 10);
        assert_eq!(totals.sent_total, 20);
        assert_eq!(totals.receive_buffer_errors_total, 7);
        assert!(parse_udp_totals(Path::new("snmp"), "Ip: 1\n").is_err());
    }

    #[test]
    fn buffers_of_a_live_socket_are_what_it_asked_for() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 50_000).unwrap();
        let own = Process::new(&crate::host::Roots::default(), std::process::id());
        let port = socket.local_addr().unwrap().port();
        let buffers = socket_buffers(&own).unwrap();
        let buffer = buffers
            .iter()
            .find(|buffer| buffer.local_port == port)
            .unwrap();
        assert_eq!(buffer.receive_buffer_bytes, 100_000);
    }
}
