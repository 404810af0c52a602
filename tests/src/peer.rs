//! Another ship on the network: sends Ames packets to a ship's port on loopback.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{Process, Terminal};
use crate::{Error, Result, workspace};

/// What a peer sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerOptions {
    /// Packets per second, on average.
    pub packets_per_second: f64,
    /// Size of a packet's UDP payload, bytes.
    pub bytes: u32,
    /// How long it sends, s.
    pub seconds: u64,
    /// Packets sent back to back at a time; `None` is the peer's own default.
    pub bursts: Option<u32>,
}

/// A peer that sends. Dropping it ends it.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    limit: Duration,
}

impl PeerOptions {
    /// Starts to send to `port`.
    pub fn start(&self, port: u16) -> Result<Peer> {
        self.start_answering(port, 0)
    }

    /// The same; questions of the ship are answered after `answer_ms`.
    pub fn start_answering(&self, port: u16, answer_ms: u64) -> Result<Peer> {
        let mut command = Command::new(workspace::ship_binary()?);
        command
            .args(["peer", "--port", &port.to_string()])
            .args(["--packets-per-second", &self.packets_per_second.to_string()])
            .args(["--bytes", &self.bytes.to_string()])
            .args(["--seconds", &self.seconds.to_string()])
            .args(["--answer-ms", &answer_ms.to_string()]);
        if let Some(bursts) = self.bursts {
            command.args(["--bursts", &bursts.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let process = Process::spawn(&mut command, Terminal::Own)?;
        Ok(Peer {
            process,
            limit: Duration::from_secs(self.seconds + 10),
        })
    }
}

impl Peer {
    /// The peer's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until everything is sent, and gives what the peer says of it.
    pub fn wait(&mut self) -> Result<serde_json::Value> {
        let status = self.process.wait(self.limit)?;
        let mut text = String::new();
        if let Some(mut stdout) = self.process.child_mut().stdout.take() {
            // One line, which fits the pipe, so that the peer never waits for us.
            stdout
                .read_to_string(&mut text)
                .map_err(|source| Error::Process {
                    action: "read the output of",
                    pid: self.process.pid(),
                    source,
                })?;
        }
        let unexpected = |detail| Error::Unexpected {
            what: format!("the output of the peer, which ended with {status}"),
            detail,
        };
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|error| unexpected(format!("{error}: {text:?}")))
    }
}
