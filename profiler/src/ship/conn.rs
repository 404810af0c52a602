//! The king's control socket, `<pier>/.urb/conn.sock`: questions that write no event, and their
//! answers (vere `pkg/vere/io/conn.c`). Frames of jammed nouns, `[rid tag data]` there and
//! `[rid answer]` back.
//!
//! A pier is another user's, and what listens in it may be anything: the socket must be one, in the
//! pier itself, and held by the king; answers are bounded in size and time.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use noun::newt::{self, Decoder, NewtError};
use noun::{CueError, CueLimits, Noun, cue_with};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

use super::Ship;
use crate::host::Roots;

/// The socket in the pier.
const SOCKET: &str = ".urb/conn.sock";
/// Longest answer that is taken: `%peel /info` answers with less than a KiB.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;
/// Most nouns in an answer.
const ANSWER_LIMITS: CueLimits = CueLimits {
    nodes: 1 << 16,
    head_depth: 256,
};
/// Bytes read at once.
const READ_BYTES: usize = 1 << 16;

/// What is asked. None of it writes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `%peel /live`: answered by the king alone.
    Live,
    /// `%peel /info`: the king's own counters.
    Info,
    /// `%peek` of `/zen/lag`: through the queue to mars and through Nock.
    Lag,
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

/// Why the control socket gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// There is no socket.
    #[error("the ship has no control socket {}: it was started with --no-conn, or is not up yet", path.display())]
    NoSocket {
        /// Where it would be.
        path: PathBuf,
    },
    /// Something else lies in its place.
    #[error("{} is no socket, so the ship cannot be asked: was it replaced by hand?", path.display())]
    NotASocket {
        /// Where it would be.
        path: PathBuf,
    },
    /// Nobody listens.
    #[error("nobody listens on {}: it is left over from a ship that did not end cleanly", path.display())]
    NobodyListens {
        /// The socket.
        path: PathBuf,
    },
    /// It may not be used.
    #[error("{} may not be used by this user: run as the ship's user or as root", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody else listens.
    #[error("{} is held by process {holder}, which is not this ship's king (pid {king})", path.display())]
    NotTheKing {
        /// The socket.
        path: PathBuf,
        /// Process id of who listens.
        holder: u32,
        /// Process id of the king.
        king: u32,
    },
    /// The king does not take the connection or the question in time.
    #[error("the king did not take the question within {:.1} s: it is busy or stopped, `profile now` says what it does", after.as_secs_f64())]
    NotTaken {
        /// How long that was waited for.
        after: Duration,
    },
    /// The connection was closed.
    #[error("the king closed the connection: the ship is ending, or does not know the question")]
    Closed,
    /// The king refused.
    #[error("the king refused the question: {text} ({code})")]
    Refused {
        /// vere's number.
        code: i64,
        /// vere's words.
        text: String,
    },
    /// Not frames.
    #[error("the control socket answered with something else than vere does: {0}")]
    Frame(#[from] NewtError),
    /// Not a noun.
    #[error("the control socket answered with something else than vere does: {0}")]
    Noun(#[from] CueError),
    /// A noun of another shape.
    #[error("the control socket answered with something else than vere does: {what}")]
    Shape {
        /// What was wrong.
        what: &'static str,
    },
    /// Any other failure.
    #[error("the control socket {} failed: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
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
