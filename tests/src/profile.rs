//! Runs `profile` as a user does, and takes what it says.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{Process, Terminal, poll_until};
use crate::terminal::Keyboard;
use crate::{Error, Result, workspace};

/// What a run may take besides its capture: starting, symbols, writing.
const OVERHEAD_LIMIT: Duration = Duration::from_secs(60);

/// A run of `profile` to be started.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    arguments: Vec<OsString>,
    capture: Duration,
}

impl Profile {
    /// A run with the given arguments, such as `["doctor"]`.
    pub fn new<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let arguments = arguments
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        Self {
            arguments,
            ..Self::default()
        }
    }

    /// The deep dive: `profile --ship SHIP --seconds N`.
    pub fn deep_dive(ship: impl AsRef<OsStr>, seconds: u64) -> Self {
        let mut run = Self::new(["--ship".as_ref(), ship.as_ref()]);
        run.capture = Duration::from_secs(seconds);
        run.arg("--seconds").arg(seconds.to_string())
    }

    /// It may take so long, besides starting and writing.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.capture = time;
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Writes the capture, the report and the flamegraphs to `directory`.
    pub fn output(self, directory: &Path) -> Self {
        self.arg("-o").arg(directory)
    }

    /// Asks for the report as JSON.
    pub fn json(self) -> Self {
        self.arg("--format").arg("json")
    }

    /// Runs it to its end.
    pub fn run(&self) -> Result<Outcome> {
        self.start()?.finish()
    }

    /// Starts it.
    pub fn start(&self) -> Result<RunningProfile> {
        self.start_reading(Stdio::null())
    }

    /// Starts it on a terminal on which it can be answered.
    pub fn start_on_terminal(&self) -> Result<(RunningProfile, Keyboard)> {
        let (keyboard, input) = Keyboard::open()?;
        Ok((self.start_reading(Stdio::from(input))?, keyboard))
    }

    fn start_reading(&self, input: Stdio) -> Result<RunningProfile> {
        let mut command = self.command()?;
        command.stdin(input);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command, Terminal::Own)?;
        let child = process.child_mut();
        let stdout = Stream::follow(child.stdout.take());
        let stderr = Stream::follow(child.stderr.take());
        Ok(RunningProfile {
            process,
            stdout,
            stderr,
            limit: self.limit(),
        })
    }

    /// Runs it to its end with our own terminal, so that a Ctrl-C reaches it as well.
    pub fn run_on_terminal(&self) -> Result<ExitStatus> {
        Process::spawn(&mut self.command()?, Terminal::Shared)?.wait(self.limit())
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(workspace::profile_binary()?);
        command.args(&self.arguments).stdin(Stdio::null());
        Ok(command)
    }

    fn limit(&self) -> Duration {
        self.capture + OVERHEAD_LIMIT
    }
}

/// `profile` while it runs. Dropping it ends it.
#[derive(Debug)]
pub struct RunningProfile {
    process: Process,
    stdout: Stream,
    stderr: Stream,
    limit: Duration,
}

impl RunningProfile {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until `text` has been written to stderr, where progress goes.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let limit = self.limit;
        poll_until(&format!("`profile` to write \"{text}\""), limit, || {
            let seen = self.stderr.text();
            if seen.contains(text) {
                return Ok(Ok(()));
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(Error::Unexpected {
                    what: "the progress of `profile`".into(),
                    detail: format!("it ended with {status} before \"{text}\": {seen}"),
                });
            }
            Ok(Err(seen))
        })
    }

    /// Sends a signal, such as Ctrl-C's `Signal::INT`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Waits for the end and gives everything it wrote. What takes too long is killed.
    pub fn finish(mut self) -> Result<Outcome> {
        let status = self.process.wait(self.limit).map_err(|error| match error {
            Error::Timeout { what, after, .. } => Error::Timeout {
                what,
                after,
                detail: self.stderr.text(),
            },
            other => other,
        })?;
        Ok(Outcome {
            status,
            stdout: self.stdout.rest(),
            stderr: self.stderr.rest(),
        })
    }
}

/// What a finished run left.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// Its data.
    pub stdout: String,
    /// Everything else it said.
    pub stderr: String,
}

impl Outcome {
    /// The exit status; `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Its data as one JSON value.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).map_err(|error| Error::Unexpected {
            what: "the JSON of `profile`".into(),
            detail: format!(
                "{error}; it ended with {} and wrote {:?}, and to stderr {:?}",
                self.status, self.stdout, self.stderr
            ),
        })
    }
}

/// What a pipe delivered so far. A thread reads it, so that its writer never waits for us.
#[derive(Debug)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    fn follow(source: Option<impl Read + Send + 'static>) -> Self {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let shared = Arc::clone(&bytes);
        let reader = source.map(|mut source| {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = source.read(&mut buffer) {
                    let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.extend(&buffer[..count]);
                }
            })
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Everything, once the writer has closed its end.
    fn rest(mut self) -> String {
        if let Some(reader) = self.reader.take() {
            // The reader does not panic; if it did, what came before is still there.
            let _ = reader.join();
        }
        self.text()
    }
}
