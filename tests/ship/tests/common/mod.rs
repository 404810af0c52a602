//! A ship in a directory of its own, which ends with the test.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use noun::{Noun, cue, newt};
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_reference-ship");

/// A ship that runs.
pub struct Ship {
    /// Process id of the king.
    pub king: u32,
    /// Process id of mars.
    pub mars: u32,
    /// Port of the Ames socket.
    pub port: u16,
    child: Child,
    directory: Option<TempDir>,
}

/// What a ship that ended left behind.
pub struct Ended {
    /// Ground truth of the king.
    pub king: Vec<Value>,
    /// Ground truth of mars.
    pub mars: Vec<Value>,
    directory: TempDir,
}

impl Ended {
    /// The pier.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("zod")
    }
}

impl Ship {
    /// Starts a ship in a new pier, and waits until it is ready.
    pub fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), options)
    }

    fn start_in(directory: TempDir, options: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .arg("--truth")
            .arg(directory.path().join("truth"))
            .args(options)
            .arg(directory.path().join("zod"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the ship starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("the ready line");
        let number = |key: &str| {
            ready[key]
                .as_u64()
                .unwrap_or_else(|| panic!("{key} in {ready}"))
        };
        let (king, mars, port) = (
            number("king_pid") as u32,
            number("mars_pid") as u32,
            number("port") as u16,
        );
        Self {
            king,
            mars,
            port,
            child,
            directory: Some(directory),
        }
    }

    /// The pier.
    pub fn pier(&self) -> PathBuf {
        self.directory().join("zod")
    }

    fn directory(&self) -> &Path {
        self.directory
            .as_ref()
            .expect("a directory until the end")
            .path()
    }

    /// Names of mars' threads but the first.
    pub fn thread_names(&self) -> Vec<String> {
        let main = self.mars.to_string();
        file_names(format!("/proc/{}/task", self.mars))
            .into_iter()
            .filter(|tid| *tid != main)
            .filter_map(|tid| {
                fs::read_to_string(format!("/proc/{}/task/{tid}/comm", self.mars)).ok()
            })
            .map(|name| name.trim_end().to_owned())
            .collect()
    }

    /// Asks a `%peel` question on `conn.sock`.
    pub fn ask(&self, question: &Noun) -> Noun {
        self.request("peel", question.clone())
    }

    /// Asks anything on `conn.sock`, and returns the answer behind its request id.
    pub fn request(&self, tag: &str, data: Noun) -> Noun {
        let mut socket =
            UnixStream::connect(self.pier().join(".urb/conn.sock")).expect("conn.sock");
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        let rid = Noun::from(77_u64);
        let frame =
            newt::encode(&Noun::tuple([rid.clone(), Noun::cord(tag), data])).expect("a short noun");
        socket.write_all(&frame).expect("a request");
        let mut decoder = newt::Decoder::new(1 << 20);
        let mut buffer = [0; 4096];
        loop {
            if let Some(body) = decoder.next_body().expect("a frame") {
                let answer = cue(&body).expect("a noun");
                let (answered, data) = answer.as_cell().expect("[rid data]");
                assert!(*answered == rid || answered.is_null());
                return data.clone();
            }
            let length = socket.read(&mut buffer).expect("an answer");
            assert_ne!(length, 0, "the ship closed the connection");
            decoder.push(&buffer[..length]);
        }
    }

    /// The last event, as `%peel /info` tells it.
    pub fn event_number(&self) -> u64 {
        let info = self.ask(&Noun::path(["info"]));
        find(&info, "event")
            .and_then(|value| value.as_cell()?.1.as_u64())
            .expect("an event number")
    }

    /// Ends the ship by SIGTERM, and reads its ground truth.
    pub fn stop(mut self) -> Ended {
        signal(self.king, "TERM");
        let (status, mut errors) = self.wait();
        let mut message = String::new();
        errors.read_to_string(&mut message).expect("text");
        assert!(status.success(), "{status}: {message}");
        let directory = self.directory.take().expect("a directory until the end");
        let lines = |name: &str| {
            let text = fs::read_to_string(directory.path().join(name)).expect("ground truth");
            text.lines()
                .map(|line| serde_json::from_str(line).expect("a line of JSON"))
                .collect()
        };
        Ended {
            king: lines("truth"),
            mars: lines("truth.mars"),
            directory,
        }
    }

    /// Waits for the end of the king.
    pub fn wait(&mut self) -> (ExitStatus, impl Read + use<>) {
        (
            self.child.wait().expect("an end"),
            self.child.stderr.take().expect("a pipe"),
        )
    }

    /// Kills the king; mars must follow.
    pub fn kill(&mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("an end");
        let mars = format!("/proc/{}", self.mars);
        poll("the end of mars", || {
            !fs::exists(&mars).expect("a look into /proc")
        });
        remove_spin_stack(self.king);
    }

    /// Starts a ship that ended again.
    pub fn restart(mut self, options: &[&str]) -> Self {
        Self::start_in(
            self.directory.take().expect("a directory until the end"),
            options,
        )
    }
}

impl Drop for Ship {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            let _status = self.child.wait();
            remove_spin_stack(self.king);
        }
    }
}

/// A killed ship leaves its spin stack behind, as every vere does.
fn remove_spin_stack(king: u32) {
    for name in file_names("/dev/shm")
        .iter()
        .filter(|name| name.ends_with(&format!("_{king}")))
    {
        let _may_be_gone = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// The value of `name` in a `$mass`.
fn find<'a>(mass: &'a Noun, name: &str) -> Option<&'a Noun> {
    let (head, tail) = mass.as_cell()?;
    if head.is_cord(name) {
        Some(tail)
    } else {
        find(head, name).or_else(|| find(tail, name))
    }
}

/// Sends a signal.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(status.expect("kill runs").success());
}

/// Waits until something holds, for up to ten seconds.
pub fn poll(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The arguments of a process.
pub fn cmdline(pid: u32) -> Vec<String> {
    let mut text = String::new();
    File::open(format!("/proc/{pid}/cmdline"))
        .expect("a process")
        .read_to_string(&mut text)
        .expect("text");
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// The names in a directory, in order.
pub fn file_names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// What the links of a directory point to.
pub fn links(directory: &str) -> Vec<String> {
    let target = |name: String| fs::read_link(format!("{directory}/{name}")).ok();
    file_names(directory)
        .into_iter()
        .filter_map(target)
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}
