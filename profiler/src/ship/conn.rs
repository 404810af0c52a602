//! The king's control socket, `<pier>/.urb/conn.sock`: questions that write no event, and their
//! answers (vere `pkg/vere/io/conn.c`). Frames of jammed nouns, `[rid tag data]` there and
//! `[rid answer]` back.
//!
//! A pier is another user's, and what listens in it may be anything: the socket must be one, in the
//! pier itself, and held by the king; answers are bounded in size and time.

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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KingInfo {
    /// The last event that came back from mars.
    pub event_number: Option<u64>,
    /// Requests that were sent to mars and are not answered: vere keeps at most 10
    /// (`pkg/vere/pier.c`).
    pub queue: Option<u64>,
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
            }))
        }
        // `[%peek ~]` or `[%peek ~ %omen path mark noun]`.
        Question::Lag => match data.as_cell() {
            Some((tag, _)) if tag.is_cord("peek") => Ok(Answer::Lag),
            _ => Err(shape("%peek is not answered by %peek")),
        },
    }
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
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    fn connect_to(path: &Path, king: u32) -> Result<Conn, ConnError> {
        Conn::connect(&Roots::default(), path.to_path_buf(), king, LIMIT)
    }

    fn after(bytes: &[u8]) -> (Conn, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        (Conn::over(ours.into(), PathBuf::from("conn.sock")), theirs)
    }

    fn soon() -> Instant {
        Instant::now() + LIMIT
    }

    #[test]
    fn a_path_longer_than_an_address_leads_to_the_king() {
        let home = tempfile::tempdir().unwrap();
        let long = home.path().join("d".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let (short_path, path) = (home.path().join("s"), long.join("conn.sock"));
        // Bound elsewhere: nothing binds to such a path itself.
        let _listener = UnixListener::bind(&short_path).unwrap();
        std::fs::rename(&short_path, &path).unwrap();
        let own = std::process::id();
        assert!(path.as_os_str().len() > 108);
        assert!(connect_to(&path, own).is_ok());
        let error = connect_to(&path, own + 1).unwrap_err();
        assert!(matches!(error, ConnError::NotTheKing { holder, .. } if holder == own));
    }

    #[test]
    fn what_is_no_socket_of_a_king_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let own = std::process::id();
        let error = |name: &str| connect_to(&path(name), own).unwrap_err();
        assert!(matches!(error("none"), ConnError::NoSocket { .. }));
        std::fs::write(path("file"), "").unwrap();
        assert!(matches!(error("file"), ConnError::NotASocket { .. }));
        drop(UnixListener::bind(path("dead")).unwrap());
        assert!(matches!(error("dead"), ConnError::NobodyListens { .. }));
        // A link may lead to any socket of the host.
        let listener = UnixListener::bind(path("live")).unwrap();
        std::os::unix::fs::symlink(path("live"), path("link")).unwrap();
        assert!(matches!(error("link"), ConnError::NotASocket { .. }));
        // Nobody accepts: one connection may wait for that, then connecting itself waits.
        rustix::net::listen(&listener, 0).unwrap();
        let _first = connect_to(&path("live"), own).unwrap();
        assert!(matches!(error("live"), ConnError::NotTaken { .. }));
    }

    #[test]
    fn silence_ends_in_time_and_an_end_is_told() {
        let (mut conn, theirs) = after(&[0, 9]);
        assert_eq!(conn.answer(soon()).unwrap(), None);
        // Cut short, within a frame.
        drop(theirs);
        assert!(matches!(conn.answer(soon()), Err(ConnError::Closed)));
        // Or on asking, and without a SIGPIPE.
        let error = conn.ask(Question::Live, LIMIT).unwrap_err();
        assert!(matches!(error, ConnError::Closed), "{error}");
    }

    #[test]
    fn hostile_frames_are_errors() {
        // Another version, and a length beyond the limit.
        for bytes in [&[7, 0, 0, 0, 0][..], &[0, 0xff, 0xff, 0xff, 0xff]] {
            let error = after(bytes).0.answer(soon()).unwrap_err();
            assert!(matches!(error, ConnError::Frame(_)), "{error}");
        }
        let error = after(&[0, 2, 0, 0, 0, 0xff, 0xff]).0.answer(soon());
        assert!(matches!(error, Err(ConnError::Noun(_))), "{error:?}");
    }

    #[test]
    fn a_question_that_is_not_read_is_given_up() {
        let (mut conn, _theirs) = after(&[]);
        let error = loop {
            if let Err(error) = conn.ask(Question::Lag, LIMIT) {
                break error;
            }
        };
        assert!(matches!(error, ConnError::NotTaken { .. }), "{error}");
    }

    fn body(noun: &Noun) -> Vec<u8> {
        noun::jam(noun)
    }

    #[test]
    fn questions_have_the_shape_of_veres() {
        let questions = [
            (Question::Live, "peel"),
            (Question::Info, "peel"),
            (Question::Lag, "peek"),
        ];
        for (question, tag) in questions {
            let mut decoder = Decoder::new(1 << 10);
            decoder.push(&encode(7, question).unwrap());
            let noun = noun::cue(&decoder.next_body().unwrap().unwrap()).unwrap();
            let [rid, own_tag, _] = noun.as_tuple().unwrap();
            assert_eq!(rid.as_u64(), Some(7));
            assert!(own_tag.is_cord(tag));
        }
    }

    #[test]
    fn answers_are_read() {
        let yes = Noun::cell(Noun::null(), Noun::loobean(true));
        assert_eq!(decode(Question::Live, &yes).unwrap(), Answer::Live);
        let no = Noun::cell(Noun::null(), Noun::loobean(false));
        assert!(decode(Question::Live, &no).is_err());
        let empty = Noun::cell(Noun::cord("peek"), Noun::null());
        assert_eq!(decode(Question::Lag, &empty).unwrap(), Answer::Lag);
        assert!(decode(Question::Lag, &yes).is_err());
    }

    #[test]
    fn counters_are_found_in_the_mass_and_missing_ones_are_not_zero() {
        let value = |name: &str, number: u64| {
            Noun::tuple([Noun::cord(name), Noun::loobean(true), Noun::from(number)])
        };
        let group = |name: &str, parts: Vec<Noun>| {
            Noun::tuple([Noun::cord(name), Noun::loobean(false), Noun::list(parts)])
        };
        let lord = group("lord", vec![value("event", 41), group("queue", vec![])]);
        let mass = group("pier", vec![value("path", 1), lord]);
        let answer = decode(Question::Info, &Noun::cell(Noun::null(), mass)).unwrap();
        let expected = KingInfo {
            event_number: Some(41),
            queue: None,
        };
        assert_eq!(answer, Answer::Info(expected));
        let odd = Noun::cell(Noun::null(), Noun::from(9_u64));
        let nothing = Answer::Info(KingInfo::default());
        assert_eq!(decode(Question::Info, &odd).unwrap(), nothing);
        assert!(decode(Question::Info, &Noun::null()).is_err());
    }

    #[test]
    fn refusals_are_told_in_veres_words() {
        let code = u64::from(-3_i32 as u32);
        let bail = Noun::tuple([
            Noun::null(),
            Noun::cord("bail"),
            Noun::from(code),
            Noun::cord("tag-unknown"),
        ]);
        let error = open_answer(&body(&bail)).unwrap_err().to_string();
        assert_eq!(error, "the king refused the question: tag-unknown (-3)");
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let valid = body(&Noun::tuple([
            Noun::from(7_u64),
            Noun::null(),
            Noun::loobean(true),
        ]));
        assert!(open_answer(&valid).is_ok());
        for cut in 0..valid.len() - 1 {
            // Never a panic; what is cut short may still be another, shorter noun.
            let _ = open_answer(&valid[..cut]);
        }
        for body in [&[][..], &[0xff; 64], &[0; 64], &[0x80; 4096]] {
            assert!(open_answer(body).is_err(), "{body:?}");
        }
        // A cell of cells as deep as the bytes last.
        assert!(open_answer(&[0x55; 1 << 16]).is_err());
    }
}
