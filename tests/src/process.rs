//! A child process that never outlives the harness.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::error::command_line;
use crate::undo::Undo;
use crate::{Error, Result};

/// How long a process may take to end after SIGTERM; then it is killed. A deep dive writes its report
/// in that time.
const GRACE: Duration = Duration::from_secs(20);

/// How long the kernel may take to end a killed process: it may be waiting for a slow disk.
const KILL_WAIT: Duration = Duration::from_secs(30);

/// Whether a process is in the terminal's foreground group, and so gets its Ctrl-C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// It gets Ctrl-C together with us.
    Shared,
    /// It is ended by us alone, in our order, and its own children are killed after it.
    Own,
}

/// A running child. Dropping it asks it to end (SIGTERM), then kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    handle: Arc<Handle>,
    command: String,
    undo: Option<Undo>,
}

impl Process {
    /// Starts `command`.
    pub fn spawn(command: &mut Command, terminal: Terminal) -> Result<Self> {
        if terminal == Terminal::Own {
            command.process_group(0);
        }
        let line = command_line(command);
        let child = command.spawn().map_err(|source| Error::Start {
            command: line.clone(),
            source,
        })?;
        let handle = Arc::new(Handle::open(child.id(), terminal)?);
        let ended = Arc::clone(&handle);
        let undo = Undo::new(format!("end `{line}`"), move || ended.end());
        Ok(Self {
            child,
            handle,
            command: line,
            undo: Some(undo),
        })
    }

    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, to take its pipes.
    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal; a process that has ended already is no error.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.handle.send(signal)
    }

    /// The exit status if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if !self.handle.wait(Duration::ZERO)? {
            return Ok(None);
        }
        self.handle.kill_group()?;
        let pid = self.child.id();
        let failed = |source| Error::Process {
            action: "wait for",
            pid,
            source,
        };
        let status = self.child.try_wait().map_err(failed)?;
        self.handle
            .reaped
            .store(status.is_some(), Ordering::Relaxed);
        Ok(status)
    }

    /// Waits for the end, at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        if self.handle.wait(limit)?
            && let Some(status) = self.try_wait()?
        {
            return Ok(status);
        }
        Err(Error::Timeout {
            what: format!("`{}` to end", self.command),
            after: limit,
            detail: format!("process {} still runs", self.pid()),
        })
    }

    /// Asks it to end (SIGTERM) and waits; kills it and fails if it does not.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(GRACE)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.undo.take());
        // It has ended by now; this only takes its exit status, so that no zombie stays.
        let _ = self.child.try_wait();
    }
}

/// A process that can be signalled without the risk that its id is another's by now.
#[derive(Debug)]
struct Handle {
    pid: Pid,
    pidfd: OwnedFd,
    terminal: Terminal,
    /// Its exit status was taken, so its id and its group's may be another's.
    reaped: AtomicBool,
}

impl Handle {
    fn open(pid: u32, terminal: Terminal) -> Result<Self> {
        let open = |pid| Ok((pid, pidfd_open(pid, PidfdFlags::empty())?));
        let (id, pidfd) = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(Errno::SRCH)
            .and_then(open)
            .map_err(Error::process("open", pid))?;
        Ok(Self {
            pid: id,
            pidfd,
            terminal,
            reaped: AtomicBool::new(false),
        })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(Errno) -> Error {
        Error::process(action, self.pid.as_raw_nonzero().get().unsigned_abs())
    }

    fn send(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(self.failed("signal")(errno)),
        }
    }

    /// Whether it ended within `limit`.
    fn wait(&self, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed("wait for")(errno)),
            }
        }
    }

    /// Kills what is left of its group. As long as its exit status is not taken, nobody else can have
    /// the group's id.
    fn kill_group(&self) -> Result<()> {
        if self.terminal == Terminal::Shared || self.reaped.load(Ordering::Relaxed) {
            return Ok(());
        }
        match kill_process_group(self.pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(self.failed("kill the group of")(errno)),
        }
    }

    fn end(&self) -> Result<()> {
        self.send(Signal::TERM)?;
        if self.wait(GRACE)? {
            return self.kill_group();
        }
        self.kill_group()?;
        self.send(Signal::KILL)?;
        if self.wait(KILL_WAIT)? {
            Ok(())
        } else {
            Err(self.failed("kill")(Errno::TIMEDOUT))
        }
    }
}

/// Whether a process is there and has not ended: a zombie only waits for its parent.
pub fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

/// Waits until a process has ended that is not our child.
pub fn wait_until_ended(pid: u32, limit: Duration) -> Result<()> {
    poll_until(&format!("process {pid} to end"), limit, || {
        Ok(if is_running(pid) {
            Err("it runs".into())
        } else {
            Ok(())
        })
    })
}

/// The ids of all threads of a process.
pub fn threads(pid: u32) -> Result<Vec<u32>> {
    let path = std::path::PathBuf::from(format!("/proc/{pid}/task"));
    let entries = fs::read_dir(&path).map_err(Error::path("read", &path))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// Looks at a condition every few milliseconds until it holds, at most `limit`. `probe` gives the
/// value, or what it saw instead.
pub fn poll_until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match probe()? {
            Ok(value) => return Ok(value),
            Err(detail) if Instant::now() >= deadline => {
                return Err(Error::Timeout {
                    what: what.into(),
                    after: limit,
                    detail,
                });
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn dropping_ends_the_process() {
        let process = Process::spawn(Command::new("sleep").arg("60"), Terminal::Own).unwrap();
        let path = format!("/proc/{}", process.pid());
        assert!(Path::new(&path).exists());
        drop(process);
        assert!(!Path::new(&path).exists());
    }

    #[test]
    fn children_go_with_it() {
        let script = "sleep 61 & echo $!; wait";
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdout(std::process::Stdio::piped());
        let mut process = Process::spawn(&mut command, Terminal::Own).unwrap();
        let mut line = String::new();
        let output = process.child_mut().stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
        drop(process);
        let child = line.trim().parse().unwrap();
        wait_until_ended(child, Duration::from_secs(5)).unwrap();
    }

    #[test]
    fn waiting_has_a_limit() {
        let mut process = Process::spawn(Command::new("sleep").arg("60"), Terminal::Own).unwrap();
        assert!(matches!(
            process.wait(Duration::from_millis(20)),
            Err(Error::Timeout { .. })
        ));
        assert!(!process.stop().unwrap().success());
    }
}
