//! The kernel's account of a thread's delays: the interface TASKSTATS of generic netlink
//! (Documentation/accounting/taskstats.rst, delay-accounting.rst).

use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use crate::faults::Setting;
use crate::{Error, Result};

/// Numbers of `linux/genetlink.h` and `linux/taskstats.h`.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const TASKSTATS_CMD_GET: u8 = 1;
const TASKSTATS_CMD_ATTR_PID: u16 = 1;
const TASKSTATS_TYPE_STATS: u16 = 3;
const TASKSTATS_TYPE_AGGR_PID: u16 = 4;
/// `NLM_F_REQUEST` (`linux/netlink.h`).
const NLM_F_REQUEST: u16 = 1;
/// Bytes of `nlmsghdr` and `genlmsghdr`, before the attributes.
const HEADER_BYTES: usize = 20;
/// Offsets in `struct taskstats`, which only grows at its end.
const CPU_DELAY_AT: usize = 24;
const SWAPIN_DELAY_AT: usize = 56;
const FREEPAGES_DELAY_AT: usize = 320;

/// A thread's delays since it began, ns. Each grows when a wait ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// In the run queue, for a quota too.
    pub run_queue_ns: u64,
    /// Reading from swap, on CPU too.
    pub swap_in_ns: u64,
    /// Freeing memory, on CPU too.
    pub reclaim_ns: u64,
}

/// Lets the kernel account for the delays of threads that begin from now on.
pub fn account_delays() -> Result<Setting> {
    Setting::set("/proc/sys/kernel/task_delayacct", "1")
}

/// Asks for delays.
#[derive(Debug)]
pub struct Taskstats {
    socket: OwnedFd,
    family: u16,
}

impl Taskstats {
    /// Opens the interface, which needs root.
    pub fn open() -> Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::GENERIC),
        )
        .map_err(|errno| missing(&errno.to_string()))?;
        let mut open = Self {
            socket,
            family: GENL_ID_CTRL,
        };
        let reply = open.ask(CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"TASKSTATS\0");
        let reply = reply.ok_or_else(|| missing("the kernel does not answer"))?;
        let id = attribute(&reply, CTRL_ATTR_FAMILY_ID).and_then(|bytes| bytes.get(..2));
        let id = id.ok_or_else(|| missing("the kernel has no such family"))?;
        open.family = u16::from_ne_bytes([id[0], id[1]]);
        Ok(open)
    }

    /// A thread's delays; nothing if it has ended.
    pub fn of(&self, tid: u32) -> Option<Delays> {
        let reply = self.ask(
            TASKSTATS_CMD_GET,
            TASKSTATS_CMD_ATTR_PID,
            &tid.to_ne_bytes(),
        )?;
        let aggregate = attribute(&reply, TASKSTATS_TYPE_AGGR_PID)?;
        let stats = attribute(aggregate, TASKSTATS_TYPE_STATS)?;
        let at = |offset: usize| {
            let bytes = stats.get(offset..offset + 8)?;
            Some(u64::from_ne_bytes(bytes.try_into().ok()?))
        };
        Some(Delays {
            run_queue_ns: at(CPU_DELAY_AT)?,
            swap_in_ns: at(SWAPIN_DELAY_AT)?,
            reclaim_ns: at(FREEPAGES_DELAY_AT)?,
        })
    }

    /// One question with one attribute; the attributes of its answer.
    fn ask(&self, command: u8, attribute: u16, value: &[u8]) -> Option<Vec<u8>> {
        let attribute_bytes = 4 + value.len();
        let total_bytes = HEADER_BYTES + attribute_bytes.next_multiple_of(4);
        let mut message = Vec::with_capacity(total_bytes);
        message.extend((total_bytes as u32).to_ne_bytes());
        message.extend(self.family.to_ne_bytes());
        message.extend(NLM_F_REQUEST.to_ne_bytes());
        // Sequence number and port: one question at a time needs neither.
        message.extend([0; 8]);
        message.extend([command, 1, 0, 0]);
        message.extend((attribute_bytes as u16).to_ne_bytes());
        message.extend(attribute.to_ne_bytes());
        message.extend(value);
        message.resize(total_bytes, 0);
        send(&self.socket, &message, SendFlags::empty()).ok()?;
        let mut reply = vec![0; 4096];
        let (bytes, _) = recv(&self.socket, reply.as_mut_slice(), RecvFlags::empty()).ok()?;
        reply.truncate(bytes);
        let kind = u16::from_ne_bytes(reply.get(4..6)?.try_into().ok()?);
        // Anything else is an error (`NLMSG_ERROR`): the thread is gone.
        (kind == self.family).then(|| reply.split_off(HEADER_BYTES.min(bytes)))
    }
}

fn missing(detail: &str) -> Error {
    Error::Missing {
        what: format!("the kernel's interface TASKSTATS ({detail})"),
        remedy: "use a kernel with CONFIG_TASKSTATS and CONFIG_TASK_DELAY_ACCT".into(),
    }
}

/// The value of the first attribute of a kind.
fn attribute(mut rest: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let (header, _) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        // The highest bits are flags (`NLA_TYPE_MASK`).
        let found = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        if found == kind {
            return rest.get(4..length);
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_others() {
        let bytes = [5, 0, 1, 0, 9, 0, 0, 0, 6, 0, 3, 0, 7, 8, 0, 0];
        assert_eq!(attribute(&bytes, 3), Some(&[7, 8][..]));
        assert_eq!(attribute(&bytes, 2), None);
        assert_eq!(attribute(&bytes[..3], 1), None);
    }
}
