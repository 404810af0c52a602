//! The king's control socket, `<pier>/.urb/conn.sock`: questions that are no event, and their
//! answers (vere `pkg/vere/io/conn.c`). Frames of jammed nouns, `[rid tag data]` there and
//! `[rid answer]` back.
//!
//! None of the questions is an event. The end of a connection is one on ships that have Khan: the king tells
//! the kernel so (`[%khan …] %done`, `io/conn.c`, `_conn_close_chan`), whoever asked what.
//!
//! A pier is another user's, and what listens in it may be anything: the socket must be one, in the
//! pier itself, and held by the king; answers are bounded in size and time.

mod error;

pub use error::ConnError;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use noun::newt::{self, Decoder};
use noun::{CueLimits, Noun, cue_with};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

use super::Ship;
use super::mass::{self, Free};
use crate::host::Roots;
use crate::mass::Part;

/// The socket in the pier.
const SOCKET: &str = ".urb/conn.sock";
/// Longest answer that is taken: `%peel /info` answers with less than a KiB, `/mass` with some ten.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;
/// Most nouns in an answer.
const ANSWER_LIMITS: CueLimits = CueLimits {
    nodes: 1 << 16,
    head_depth: 256,
};
/// Bytes read at once.
const READ_BYTES: usize = 1 << 16;

/// What is asked. None of it is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `%peel /live`: answered by the king alone.
    Live,
    /// `%peel /info`: the king's own counters.
    Info,
    /// `%peek` of `/zen/lag`: through the queue to mars and through Nock.
    Lag,
    /// `%peel /mass`: mars collects its loom and computes nothing else meanwhile.
    Mass,
    /// `%peel /quic`: mars adds up its free memory, and prints two lines on the ship's terminal.
    Quic,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The king lives.
    Live,
    /// The king's counters.
    Info(KingInfo),
    /// Mars computed the read. Whether there was something to read does not matter here.
    Lag,
    /// What lies in the loom.
    Mass(Vec<Part>),
    /// What is free in it.
    Quic(Free),
}

/// What `%peel /info` says; `None` is what this version does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KingInfo {
    /// The last event that came back from mars.
    pub event_number: Option<u64>,
    /// Requests that were sent to mars and are not answered: vere keeps at most 10
    /// (`pkg/vere/pier.c`).
    pub queue: Option<u64>,
    /// Everything that the drivers of Ames count, by vere's names (`pkg/vere/io/ames.c`,
    /// `_ames_io_info`); empty if it is not said.
    pub ames: BTreeMap<String, u64>,
}

/// A connection to the king.
#[derive(Debug)]
pub struct Conn {
    socket: OwnedFd,
    path: PathBuf,
    decoder: Decoder,
    buffer: Vec<u8>,
    asked: u64,
}

impl Conn {
    /// Connects to a ship's king, within `limit`.
    ///
    /// # Errors
    /// One sentence for each way in which there is nobody to ask.
    pub fn open(roots: &Roots, ship: &Ship, limit: Duration) -> Result<Self, ConnError> {
        let path = ship.pier.reachable.join(SOCKET);
        Self::connect(roots, path, ship.king.tgid, limit)
    }

    fn connect(
        roots: &Roots,
        path: PathBuf,
        king: u32,
        limit: Duration,
    ) -> Result<Self, ConnError> {
        let failed = |error: Errno| sort_error(&path, limit, error);
        let inode = open_inode(&path)?;
        // An address holds 107 bytes, and paths are longer, also those through /proc/PID/root. The
        // descriptor's own link is short, and leads to that very inode, whatever its name is by now.
        let short = roots
            .proc
            .join("self/fd")
            .join(inode.as_raw_fd().to_string());
        let address = SocketAddrUnix::new(short.as_path()).map_err(failed)?;
        let flags = SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed)?;
        // Connecting waits while the king has not accepted those before us.
        set_socket_timeout(&socket, Timeout::Send, Some(limit)).map_err(failed)?;
        connect(&socket, &address).map_err(failed)?;
        let holder = socket_peercred(&socket).map_err(failed)?.pid;
        let holder = holder.as_raw_nonzero().get().unsigned_abs();
        if holder != king {
            return Err(ConnError::NotTheKing { path, holder, king });
        }
        Ok(Self::over(socket, path))
    }

    fn over(socket: OwnedFd, path: PathBuf) -> Self {
        Self {
            socket,
            path,
            decoder: Decoder::new(ANSWER_LIMIT_BYTES),
            buffer: vec![0; READ_BYTES],
            asked: 0,
        }
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a question, and returns the number that its answer will bear.
    ///
    /// # Errors
    /// When the king does not take it within `limit`, or has gone.
    pub fn ask(&mut self, question: Question, limit: Duration) -> Result<u64, ConnError> {
        self.asked += 1;
        let frame = encode(self.asked, question).ok_or(ConnError::Shape {
            what: "a question is too long",
        })?;
        let failed = |error: Errno| sort_error(&self.path, limit, error);
        set_socket_timeout(&self.socket, Timeout::Send, Some(limit)).map_err(failed)?;
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(self.asked)
    }

    /// Asks, and waits for the answer; `None` when none came within `limit`. Answers to what was given up
    /// before are passed over.
    ///
    /// # Errors
    /// When the question is not taken, what came is no answer, or the king has gone.
    pub fn answer_to(
        &mut self,
        question: Question,
        limit: Duration,
    ) -> Result<Option<Answer>, ConnError> {
        let deadline = Instant::now() + limit;
        let number = self.ask(question, limit)?;
        while let Some((answered, data)) = self.answer(deadline)? {
            if answered == number {
                return decode(question, &data).map(Some);
            }
        }
        Ok(None)
    }

    /// The next answer with the number of its question; `None` when none came until `deadline`.
    ///
    /// # Errors
    /// When what came is no answer, or the king has gone.
    pub fn answer(&mut self, deadline: Instant) -> Result<Option<(u64, Noun)>, ConnError> {
        loop {
            if let Some(body) = self.decoder.next_body()? {
                return open_answer(&body).map(Some);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            // A timeout of zero would be none at all.
            if left < Duration::from_micros(1) {
                return Ok(None);
            }
            let failed = |error: Errno| sort_error(&self.path, left, error);
            set_socket_timeout(&self.socket, Timeout::Recv, Some(left)).map_err(failed)?;
            match recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((_, 0)) => return Err(ConnError::Closed),
                Ok((_, length)) => {
                    let bytes = self.buffer.get(..length).unwrap_or_default();
                    self.decoder.push(bytes);
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// Opens the socket's inode, without following a link of the pier's and without connecting.
fn open_inode(path: &Path) -> Result<OwnedFd, ConnError> {
    let failed = |error| sort_error(path, Duration::ZERO, error);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inode = openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
    let stat = statat(&inode, "", AtFlags::EMPTY_PATH).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(ConnError::NotASocket {
            path: path.to_path_buf(),
        });
    }
    Ok(inode)
}

fn sort_error(path: &Path, after: Duration, error: Errno) -> ConnError {
    let path = path.to_path_buf();
    match error {
        Errno::NOENT | Errno::NOTDIR => ConnError::NoSocket { path },
        Errno::CONNREFUSED => ConnError::NobodyListens { path },
        Errno::ACCESS | Errno::PERM => ConnError::Denied { path },
        Errno::AGAIN => ConnError::NotTaken { after },
        Errno::PIPE | Errno::CONNRESET => ConnError::Closed,
        error => ConnError::Io {
            path,
            source: error.into(),
        },
    }
}

/// The frame of a question.
fn encode(rid: u64, question: Question) -> Option<Vec<u8>> {
    let (tag, data) = match question {
        Question::Live => ("peel", Noun::path(["live"])),
        Question::Info => ("peel", Noun::path(["info"])),
        Question::Mass => ("peel", Noun::path(["mass"])),
        Question::Quic => ("peel", Noun::path(["quic"])),
        // `[%| %once view desk spur]`: of no vane and no desk, so that the kernel itself answers.
        Question::Lag => (
            "peek",
            Noun::tuple([
                Noun::loobean(false),
                Noun::cord("once"),
                Noun::null(),
                Noun::null(),
                Noun::path(["zen", "lag"]),
            ]),
        ),
    };
    newt::encode(&Noun::tuple([Noun::from(rid), Noun::cord(tag), data]))
}

/// Splits an answer into the number of its question and the rest.
fn open_answer(body: &[u8]) -> Result<(u64, Noun), ConnError> {
    let noun = cue_with(body, ANSWER_LIMITS)?;
    let (rid, data) = noun.as_cell().ok_or(ConnError::Shape {
        what: "an atom for an answer",
    })?;
    let rid = rid.as_u64().ok_or(ConnError::Shape {
        what: "an answer without a number",
    })?;
    if let Some([tag, code, text]) = data.as_tuple::<3>()
        && tag.is_cord("bail")
    {
        let code = code.as_u64().unwrap_or_default();
        // A signed 32-bit number in vere.
        let code = i64::from((code & u64::from(u32::MAX)) as u32 as i32);
        let text = text
            .as_atom()
            .and_then(noun::Atom::to_text)
            .unwrap_or_else(|| "no text".to_owned());
        return Err(ConnError::Refused { code, text });
    }
    Ok((rid, data.clone()))
}

/// Reads the answer to a question.
///
/// # Errors
/// When it is not in the form of vere's.
pub fn decode(question: Question, data: &Noun) -> Result<Answer, ConnError> {
    let shape = |what| ConnError::Shape { what };
    match question {
        // `[~ loob]`; no in it would be a king that ends.
        Question::Live => match data.as_tuple::<2>() {
            Some([unit, live]) if unit.is_null() && live.as_u64() == Some(0) => Ok(Answer::Live),
            _ => Err(shape("%peel /live is not answered by yes")),
        },
        Question::Info => {
            let mass = match data.as_cell() {
                Some((unit, mass)) if unit.is_null() => mass,
                _ => return Err(shape("%peel /info is not answered by a mass")),
            };
            Ok(Answer::Info(KingInfo {
                event_number: value_at(mass, &["lord", "event"]),
                queue: value_at(mass, &["lord", "queue"]),
                ames: ames_values(mass).unwrap_or_default(),
            }))
        }
        // `[%peek ~]` or `[%peek ~ %omen path mark noun]`.
        Question::Lag => match data.as_cell() {
            Some((tag, _)) if tag.is_cord("peek") => Ok(Answer::Lag),
            _ => Err(shape("%peek is not answered by %peek")),
        },
        Question::Mass => mass::parts(data).map(Answer::Mass),
        Question::Quic => mass::free(data).map(Answer::Quic),
    }
}

/// Most counters of one driver that are kept: vere 4.6 has 19.
const MAX_COUNTERS: usize = 64;

/// All numbers of all parts `ames` of `work/auto`. Mesa's has the same name, and is empty up to 4.6.
fn ames_values(mass: &Noun) -> Option<BTreeMap<String, u64>> {
    let parts = |noun: &Noun| -> Option<Vec<Noun>> {
        let [_, is_value, parts] = noun.as_tuple::<3>()?;
        let is_group = is_value.as_u64() == Some(1);
        let parts = is_group.then(|| parts.as_list())??;
        Some(parts.into_iter().cloned().collect())
    };
    let named = |parts: Vec<Noun>, name: &str| -> Vec<Noun> {
        let is = |part: &Noun| part.as_cell().is_some_and(|(own, _)| own.is_cord(name));
        parts.into_iter().filter(is).collect()
    };
    let work = named(parts(mass)?, "work").into_iter().next()?;
    let auto = named(parts(&work)?, "auto").into_iter().next()?;
    let drivers = named(parts(&auto)?, "ames");
    let counters = drivers.iter().filter_map(parts).flatten();
    let values = counters.take(MAX_COUNTERS).filter_map(|part| {
        let [name, is_value, value] = part.as_tuple::<3>()?;
        let name = name.as_atom().and_then(noun::Atom::to_text)?;
        (is_value.as_u64() == Some(0)).then(|| Some((name, value.as_u64()?)))?
    });
    Some(values.collect())
}

/// A number in a mass: `[name %| parts]` or `[name %& value]`. `path` begins below the outermost.
fn value_at(mass: &Noun, path: &[&str]) -> Option<u64> {
    let mut current = mass;
    for name in path {
        let [_, is_value, parts] = current.as_tuple::<3>()?;
        if is_value.as_u64() != Some(1) {
            return None;
        }
        let parts = parts.as_list()?;
        current = parts.into_iter().find(|part| {
            part.as_cell()
                .is_some_and(|(own_name, _)| own_name.is_cord(name))
        })?;
    }
    let [_, is_value, value] = current.as_tuple::<3>()?;
    (is_value.as_u64() == Some(0)).then(|| value.as_u64())?
}

#[cfg(test)]
mod tests;
