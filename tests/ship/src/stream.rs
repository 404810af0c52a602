//! Frames of nouns over a stream socket, with the system calls of vere's newt over libuv.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use noun::{Noun, jam, newt};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Bytes that libuv asks for in one read.
const READ_BYTES: usize = 65536;

/// What musl maps for a buffer of that size: the size, its own header, and whole pages.
const READ_BUFFER_BYTES: usize = 0x11000;

/// Longest frame taken from anyone.
const FRAME_LIMIT_BYTES: usize = 64 << 20;

/// The receiving half of a stream.
pub struct Inbox {
    decoder: newt::Decoder,
}

/// What a read gave.
pub enum Received {
    /// The bodies of the frames that are complete; nouns still jammed.
    Frames(Vec<Vec<u8>>),
    /// The other side is gone.
    End,
}

impl Inbox {
    /// An inbox that has read nothing yet.
    pub fn new() -> Self {
        Self {
            decoder: newt::Decoder::new(FRAME_LIMIT_BYTES),
        }
    }

    /// Reads once.
    pub fn receive(&mut self, fd: BorrowedFd<'_>) -> anyhow::Result<Received> {
        let decoder = &mut self.decoder;
        let end =
            read_once(fd, |bytes| decoder.push(bytes)).context("cannot read from a socket")?;
        if end {
            return Ok(Received::End);
        }
        let mut bodies = Vec::new();
        while let Some(body) = self.decoder.next_body()? {
            bodies.push(body);
        }
        Ok(Received::Frames(bodies))
    }
}

/// One `read` of 64 KiB into memory that is mapped for it and unmapped after, which is what musl's allocator makes of
/// libuv's buffers. True at the end of the stream.
pub fn read_once(fd: BorrowedFd<'_>, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the address, so no memory in use is replaced.
    let buffer = unsafe {
        mmap_anonymous(
            std::ptr::null_mut(),
            READ_BUFFER_BYTES,
            protection,
            MapFlags::PRIVATE,
        )?
    };
    // SAFETY: the mapping is longer than this, zeroed, and ours alone until it is unmapped below.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), READ_BYTES) };
    let result = rustix::io::read(fd, &mut *bytes);
    if let Ok(length) = result {
        take(&bytes[..length]);
    }
    // SAFETY: the mapping was made above and its only slice is not used any more.
    unsafe { munmap(buffer, READ_BUFFER_BYTES)? };
    match result {
        Ok(length) => Ok(length == 0),
        Err(Errno::AGAIN | Errno::INTR) => Ok(false),
        Err(Errno::CONNRESET) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The sending half of a stream. What the socket does not take at once waits here.
pub struct Outbox {
    fd: OwnedFd,
    waiting: VecDeque<Vec<u8>>,
}

impl Outbox {
    /// An outbox that has sent nothing yet.
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            waiting: VecDeque::new(),
        }
    }

    /// Whether something waits for room in the socket.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends a noun: one `writev` of header and body, as far as the socket has room.
    pub fn send(&mut self, noun: &Noun) -> anyhow::Result<()> {
        self.send_body(&jam(noun))
    }

    /// Sends a noun that is jammed already.
    pub fn send_body(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let header = newt::header(body.len()).context("a noun is too long for a frame")?;
        let sent = if self.is_waiting() {
            0
        } else {
            self.write(&[IoSlice::new(&header), IoSlice::new(body)])?
        };
        if sent < header.len() + body.len() {
            let mut rest = [&header[..], body].concat();
            rest.drain(..sent);
            self.waiting.push_back(rest);
        }
        // A blocking socket takes everything in the end, so nothing waits there.
        if self.is_blocking()? {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Sends what waits, as far as the socket has room.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        while let Some(first) = self.waiting.pop_front() {
            let sent = self.write(&[IoSlice::new(&first)])?;
            if sent < first.len() {
                self.waiting.push_front(first[sent..].to_vec());
                if sent == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn write(&self, parts: &[IoSlice<'_>]) -> anyhow::Result<usize> {
        match rustix::io::writev(&self.fd, parts) {
            Ok(length) => Ok(length),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error).context("cannot write to a socket"),
        }
    }

    fn is_blocking(&self) -> anyhow::Result<bool> {
        if !self.is_waiting() {
            return Ok(false);
        }
        let flags =
            rustix::fs::fcntl_getfl(&self.fd).context("cannot read the flags of a socket")?;
        Ok(!flags.contains(rustix::fs::OFlags::NONBLOCK))
    }
}

impl AsFd for Outbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
