//! Starts and stops the reference ship.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::process::{Process, Terminal, poll_until};
use crate::scratch::Scratch;
use crate::{Error, Result, workspace};

/// How long a ship may take to come up, on a slow disk too.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What a ship does; what is left `None` is the reference ship's own default.
#[derive(Clone, Debug, Default)]
pub struct ShipOptions {
    /// Ship name, such as `~zod`.
    pub ship: Option<String>,
    /// Version of vere that the ship's processes are like: `mars` or `serf`.
    pub generation: Option<&'static str>,
    /// Events per second; zero is none.
    pub events_per_second: Option<f64>,
    /// Computing per event on mars, µs.
    pub compute_us: Option<u64>,
    /// Loom pages (16 KiB) made dirty per event.
    pub dirty_pages: Option<u64>,
    /// Loom pages (16 KiB) of persistent heap.
    pub heap_pages: Option<u64>,
    /// Computing per packet on the king, µs.
    pub king_compute_us: Option<u64>,
    /// Mesa peeks per second to the ships that packets came from.
    pub peeks_per_second: Option<f64>,
    /// Receive buffer asked for at the Ames socket, bytes.
    pub rcvbuf_bytes: Option<u64>,
    /// Text that mars prints per event, through the king, bytes.
    pub print_bytes: Option<u64>,
    /// Share of events that fail once, 0 to 1.
    pub bail_share: Option<f64>,
    /// How lists of hints are made.
    pub hints: Option<&'static str>,
    /// Time between snapshots, s.
    pub snap_seconds: Option<u64>,
    /// Time after which the ship ends by itself, s.
    pub seconds: Option<u64>,
    /// Power of two of the loom's size.
    pub loom: Option<u32>,
    /// Ames port; zero lets the kernel choose.
    pub port: Option<u16>,
    /// Keeps no ground truth, whose size grows with the events.
    pub no_truth: bool,
}

impl ShipOptions {
    /// The command line, without pier and truth file.
    fn arguments(&self) -> Vec<String> {
        let numbers = [
            ("--compute-us", self.compute_us),
            ("--dirty-pages", self.dirty_pages),
            ("--heap-pages", self.heap_pages),
            ("--king-compute-us", self.king_compute_us),
            ("--print-bytes", self.print_bytes),
            ("--rcvbuf", self.rcvbuf_bytes),
            ("--snap-seconds", self.snap_seconds),
            ("--seconds", self.seconds),
            ("--loom", self.loom.map(u64::from)),
            ("-p", self.port.map(u64::from)),
        ]
        .map(|(name, value)| (name, value.map(|value| value.to_string())));
        let others = [
            ("--ship", self.ship.clone()),
            ("--generation", self.generation.map(str::to_owned)),
            (
                "--events-per-second",
                self.events_per_second.map(|rate| rate.to_string()),
            ),
            ("--hints", self.hints.map(str::to_owned)),
            (
                "--peeks-per-second",
                self.peeks_per_second.map(|rate| rate.to_string()),
            ),
            (
                "--bail-share",
                self.bail_share.map(|share| share.to_string()),
            ),
        ];
        others
            .into_iter()
            .chain(numbers)
            .filter_map(|(name, value)| Some([name.to_owned(), value?]))
            .flatten()
            .collect()
    }

    /// Starts the ship with a pier in a temporary directory.
    pub fn start(&self) -> Result<RunningShip> {
        let scratch = Scratch::new("ship")?;
        let pier = scratch.path().join("pier");
        self.launch(pier, Some(scratch))
    }

    /// Starts the ship with its pier in `directory`, such as the mount point of a disk.
    pub fn start_in(&self, directory: &Path) -> Result<RunningShip> {
        let name = self
            .ship
            .as_deref()
            .map_or("pier", |name| name.trim_start_matches('~'));
        self.launch(directory.join(name), None)
    }

    fn launch(&self, pier: PathBuf, home: Option<Scratch>) -> Result<RunningShip> {
        let binary = workspace::ship_binary()?;
        // In memory, so that keeping records is no load on the disk under test.
        let records = Scratch::in_memory("truth")?;
        let truth = records.path().join("truth.jsonl");
        let log_path = records.path().join("log");
        let log = fs::File::create(&log_path).map_err(Error::path("create", &log_path))?;
        let log_again = log.try_clone().map_err(Error::path("open", &log_path))?;
        let mut command = Command::new(binary);
        command.args(self.arguments());
        if !self.no_truth {
            command.arg("--truth").arg(&truth);
        }
        command.arg(&pier);
        command.stdin(Stdio::null()).stdout(log).stderr(log_again);
        let mut process = Process::spawn(&mut command, Terminal::Own)?;
        let ready = poll_until("the reference ship to be ready", START_LIMIT, || {
            if let Some(status) = process.try_wait()? {
                let output = fs::read_to_string(&log_path).unwrap_or_default();
                return Err(Error::Command {
                    command: crate::error::command_line(&command),
                    status: status.to_string(),
                    output: output.trim().to_owned(),
                });
            }
            read_ready(&log_path)
        })?;
        Ok(RunningShip {
            pier,
            ready,
            truth,
            log: log_path,
            process,
            _records: records,
            _home: home,
        })
    }
}

/// The line that the ship prints when it is up.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Ready {
    king_pid: u32,
    mars_pid: u32,
    #[serde(rename = "port")]
    udp_port: u16,
}

/// A line is complete when its end is there, so a torn one is read again later.
fn read_ready(log: &Path) -> Result<std::result::Result<Ready, String>> {
    let text = fs::read_to_string(log).map_err(Error::path("read", log))?;
    let line = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .find(|line| line.contains(r#""event":"ready""#));
    let Some(line) = line else {
        return Ok(Err(format!("it wrote: {}", text.trim())));
    };
    serde_json::from_str(line)
        .map(Ok)
        .map_err(|error| Error::Unexpected {
            what: format!("the line \"ready\" of {}", log.display()),
            detail: error.to_string(),
        })
}

/// All complete lines of a file.
fn read_lines(path: &Path) -> Result<Vec<serde_json::Value>> {
    let text = fs::read_to_string(path).map_err(Error::path("read", path))?;
    text.split_inclusive('\n')
        .enumerate()
        .filter(|(_, line)| line.ends_with('\n'))
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| Error::Unexpected {
                what: format!("line {} of {}", index + 1, path.display()),
                detail: error.to_string(),
            })
        })
        .collect()
}

/// A ship that is up. Dropping it ends king and mars.
#[derive(Debug)]
pub struct RunningShip {
    pier: PathBuf,
    ready: Ready,
    truth: PathBuf,
    log: PathBuf,
    process: Process,
    _records: Scratch,
    _home: Option<Scratch>,
}

impl RunningShip {
    /// The pier's directory.
    pub fn pier(&self) -> &Path {
        &self.pier
    }

    /// The king's process id.
    pub fn king_pid(&self) -> u32 {
        self.ready.king_pid
    }

    /// Mars' process id when the ship came up.
    pub fn mars_pid(&self) -> u32 {
        self.ready.mars_pid
    }

    /// Both, king first.
    pub fn pids(&self) -> [u32; 2] {
        [self.ready.king_pid, self.ready.mars_pid]
    }

    /// The Ames port.
    pub fn udp_port(&self) -> u16 {
        self.ready.udp_port
    }

    /// The king's ground truth so far: one JSON object per line. Whole only after [`Self::stop`], as
    /// the ship writes it rarely.
    pub fn king_truth(&self) -> Result<Vec<serde_json::Value>> {
        read_lines(&self.truth)
    }

    /// Mars' ground truth so far, likewise.
    pub fn mars_truth(&self) -> Result<Vec<serde_json::Value>> {
        let mut name = self.truth.clone().into_os_string();
        name.push(".mars");
        read_lines(Path::new(&name))
    }

    /// What the ship wrote to its terminal.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The king, to send it signals.
    pub fn king(&self) -> &Process {
        &self.process
    }

    /// Waits until the ship ends by itself, at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }

    /// Asks the ship to exit and waits until it has.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.process.stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::PeerOptions;
    use crate::process::is_running;

    #[test]
    fn options_that_are_not_given_are_not_passed() {
        assert!(ShipOptions::default().arguments().is_empty());
        let options = ShipOptions {
            events_per_second: Some(2.5),
            port: Some(4000),
            ..ShipOptions::default()
        };
        assert_eq!(
            options.arguments(),
            ["--events-per-second", "2.5", "-p", "4000"]
        );
    }

    #[test]
    fn ready_line_is_read_when_complete() {
        let scratch = Scratch::new("log").unwrap();
        let path = scratch.path().join("log");
        let line = r#"{"event":"ready","king_pid":1,"mars_pid":2,"port":3}"#;
        fs::write(&path, line).unwrap();
        assert!(read_ready(&path).unwrap().is_err());
        fs::write(&path, format!("{line}\n")).unwrap();
        assert_eq!(read_ready(&path).unwrap().unwrap().udp_port, 3);
    }

    #[test]
    fn ship_comes_up_and_goes() {
        let mut ship = ShipOptions::default().start().unwrap();
        let (pids, pier) = (ship.pids(), ship.pier().to_owned());
        assert!(pids.into_iter().all(is_running));
        assert!(pier.join(".vere.lock").exists());
        let peer = PeerOptions {
            packets_per_second: 200.0,
            bytes: 500,
            seconds: 1,
            bursts: None,
        };
        let sent = peer.start(ship.udp_port()).unwrap().wait().unwrap();
        assert!(sent.is_object(), "{sent}");
        assert!(ship.stop().unwrap().success(), "{}", ship.log());
        assert!(!pids.into_iter().any(is_running));
        assert!(!ship.king_truth().unwrap().is_empty());
        assert!(!ship.mars_truth().unwrap().is_empty());
        drop(ship);
        assert!(!pier.exists());
    }
}
