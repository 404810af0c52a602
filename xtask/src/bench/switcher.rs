//! Tasks that switch, and how often all do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Context switches of the host so far.
pub fn switches() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("ctxt "));
    line.and_then(|count| count.parse().ok())
        .context("/proc/stat names no ctxt")
}

/// Two threads that hand a byte to and fro, a number of times a second.
pub struct Switcher {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Switcher {
    /// Starts them; none for 0. They end when it is dropped.
    pub fn start(switches_per_second: u64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        if switches_per_second > 0 {
            let (ping, pong) = (rustix::pipe::pipe()?, rustix::pipe::pipe()?);
            // Each turn wakes both.
            let turns_per_tick = (switches_per_second / 2 / TICKS_PER_SECOND).max(1);
            let stopped = Arc::clone(&stop);
            threads.push(std::thread::spawn(move || echo(ping.0, pong.1)));
            threads.push(std::thread::spawn(move || {
                serve(ping.1, pong.0, turns_per_tick, &stopped);
            }));
        }
        Ok(Self { stop, threads })
    }
}

/// How finely the turns are spread.
const TICKS_PER_SECOND: u64 = 250;

fn echo(from: OwnedFd, to: OwnedFd) {
    let (mut from, mut to) = (fs::File::from(from), fs::File::from(to));
    let mut byte = [0];
    while from.read_exact(&mut byte).is_ok() && to.write_all(&byte).is_ok() {}
}

fn serve(to: OwnedFd, from: OwnedFd, turns_per_tick: u64, stop: &AtomicBool) {
    let (mut from, mut to) = (fs::File::from(from), fs::File::from(to));
    let tick = Duration::from_secs(1) / TICKS_PER_SECOND as u32;
    let mut byte = [0];
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..turns_per_tick {
            if to.write_all(&byte).is_err() || from.read_exact(&mut byte).is_err() {
                return;
            }
        }
        next += tick;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

impl Drop for Switcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..).rev() {
            // It has nothing to give back.
            let _ = thread.join();
        }
    }
}
