//! Why the control socket gave no answer: one sentence for each way.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use noun::CueError;
use noun::newt::NewtError;

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
    /// The question came with a later version.
    #[error("the ship's vere does not know {question}, which came with version 3.2")]
    TooOld {
        /// What was asked.
        question: &'static str,
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
