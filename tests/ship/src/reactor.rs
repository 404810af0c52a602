//! The wait of libuv's loop: one `epoll_pwait` for descriptors, and its timeout for the timers.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll;

use crate::sys;

/// Descriptors to wait for, each with a token.
pub struct Reactor {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event; 1024]>,
    /// Tokens whose descriptors are also waited for to have room.
    writable: BTreeSet<u64>,
}

/// What became ready.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// The token that the descriptor was added with.
    pub token: u64,
    /// There is something to read, or the other side is gone.
    pub readable: bool,
}

impl Reactor {
    /// A reactor without descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Box::new([libc::epoll_event { events: 0, u64: 0 }; 1024]),
            writable: BTreeSet::new(),
        })
    }

    /// Waits for input on `fd` from now on.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            epoll::EventFlags::IN,
        )?)
    }

    /// Waits for room to write as well, or no longer.
    pub fn set_writable(&mut self, fd: impl AsFd, token: u64, writable: bool) -> io::Result<()> {
        let is_change = if writable {
            self.writable.insert(token)
        } else {
            self.writable.remove(&token)
        };
        if !is_change {
            return Ok(());
        }
        let flags = if writable {
            epoll::EventFlags::IN | epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        Ok(epoll::modify(
            &self.epoll,
            fd,
            epoll::EventData::new_u64(token),
            flags,
        )?)
    }

    /// Waits for up to `timeout_ms`; -1 is without end.
    pub fn wait(&mut self, timeout_ms: i32) -> io::Result<Vec<Ready>> {
        let events = sys::epoll_pwait(self.epoll.as_fd(), &mut self.events, timeout_ms)?;
        Ok(events
            .iter()
            .map(|event| Ready {
                token: event.u64,
                readable: event.events & !(libc::EPOLLOUT as u32) != 0,
            })
            .collect())
    }
}

/// Timeout until `due`, rounded up as libuv's timers are: a loop never wakes early to find nothing due.
pub fn timeout_ms(now_ns: u64, due_ns: Option<u64>) -> i32 {
    due_ns.map_or(-1, |due| {
        due.saturating_sub(now_ns)
            .div_ceil(1_000_000)
            .min(i32::MAX as u64) as i32
    })
}
