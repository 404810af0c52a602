//! Windows of a trial: each a deep dive by a process of its own, because a deep dive gives up the rights
//! that taking changes back needs.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::stop::Stop;
use crate::aggregate::aggregate;
use crate::attribute::attribute;
use crate::cli::deep_dive::CAPTURE;
use crate::cli::{DONE, INCOMPLETE, read_capture};
use crate::diff::Window;
use crate::host::Roots;
use crate::model::EndReason;
use crate::report::report_of;
use crate::ship::Ship;

/// What a window may take besides its length: attaching, names, writing.
const OVERHEAD_LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked whether it has ended.
const POLL: Duration = Duration::from_millis(50);

/// Takes windows of a ship.
pub struct Measure<'a> {
    /// The host.
    pub roots: &'a Roots,
    /// The ship.
    pub ship: &'a Ship,
    /// Length of a window.
    pub seconds: u64,
    /// Where their folders go.
    pub directory: PathBuf,
    /// Whether that is root's alone, whoever called sudo.
    pub of_root: bool,
    /// Who may end it; until somebody listens, a signal ends the process.
    pub stop: Option<Stop>,
    child: Option<Child>,
}

impl<'a> Measure<'a> {
    /// Into a directory that is there.
    pub fn new(
        roots: &'a Roots,
        ship: &'a Ship,
        seconds: u64,
        directory: PathBuf,
        of_root: bool,
    ) -> Self {
        Self {
            roots,
            ship,
            seconds,
            directory,
            of_root,
            stop: None,
            child: None,
        }
    }

    /// Waits.
    ///
    /// # Errors
    /// If a signal comes that ends the trial.
    pub fn pause(&mut self, time: Duration) -> anyhow::Result<()> {
        match &mut self.stop {
            Some(stop) => stop.pause(time)?,
            None => std::thread::sleep(time),
        }
        Ok(())
    }

    /// Takes one window.
    ///
    /// # Errors
    /// If a signal comes, the ship ended or was restarted, or the capture fails.
    pub fn take(&mut self, name: &str) -> anyhow::Result<Window> {
        let processes = [Some(&self.ship.king), self.ship.mars.as_ref()];
        if !(processes.into_iter().flatten()).all(|process| process.still_runs(self.roots)) {
            bail!("the ship ended, or was restarted, so the trial ends");
        }
        self.capture(name)?;
        let path = self.directory.join(name).join(CAPTURE);
        let capture = read_capture(&path)?;
        if capture.meta.ended != EndReason::TimeIsUp {
            bail!("the window {name} was cut short, so the trial ends");
        }
        let summaries = aggregate(&capture);
        let attribution = attribute(&capture, &summaries);
        let report = report_of(&capture, &summaries, &attribution);
        Ok(Window::of(name, capture, &attribution, report))
    }

    fn capture(&mut self, name: &str) -> anyhow::Result<()> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["--ship", &self.ship.king.tgid.to_string()]);
        command.args(["--seconds", &self.seconds.to_string()]);
        command.arg("-o").arg(self.directory.join(name));
        if self.of_root {
            command.env_remove("SUDO_UID").env_remove("SUDO_GID");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::piped()).spawn();
        self.child = Some(child.context("cannot start the profiler for a window")?);
        let limit = Instant::now() + Duration::from_secs(self.seconds) + OVERHEAD_LIMIT;
        loop {
            let Some(child) = &mut self.child else {
                bail!("the window {name} was given up");
            };
            if let Some(status) = child.try_wait()? {
                let said = said(child);
                self.child = None;
                return match status.code() {
                    Some(code) if [DONE, INCOMPLETE].map(i32::from).contains(&code) => Ok(()),
                    _ => bail!("the window {name} failed ({status}): {said}"),
                };
            }
            if Instant::now() >= limit {
                bail!("the window {name} does not end, so the trial does");
            }
            self.pause(POLL)?;
        }
    }
}

/// The last line that it wrote to stderr.
fn said(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(stderr) = &mut child.stderr {
        // What is no text is not shown.
        let _ = stderr.read_to_string(&mut text);
    }
    let last = text.lines().last().unwrap_or("it said nothing");
    last.trim_start_matches("profile: ").to_owned()
}

impl Drop for Measure<'_> {
    /// Ends a window that is still under way.
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It is ours until it is waited for.
            let _ = kill_process(pid, Signal::TERM);
        }
        let limit = Instant::now() + Duration::from_secs(10);
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < limit {
            std::thread::sleep(POLL);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
