//! How mars, or a serf, comes up.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::ValueEnum as _;
use noun::Ship;
use rustix::fs::OFlags;
use rustix::process::Resource;
use serde_json::json;

use super::event::Kernel;
use super::snapshot::Snapshots;
use super::{Mars, State};
use crate::disk::Disk;
use crate::loom::{self, Loom};
use crate::options::{Hints, MarsOptions, SerfOptions, env};
use crate::pier::{Lock, Pier};
use crate::spin;
use crate::stream::{Inbox, Outbox};
use crate::sys::monotonic_ns;
use crate::task::Gift;
use crate::truth::{self, Truth};

/// Pages of the heap that a new pier gets if the king says nothing.
const DEFAULT_HEAP_PAGES: u32 = 1024;

/// Runs mars to its end.
pub fn run(options: &MarsOptions) -> anyhow::Result<u8> {
    let streams = take_over_streams()?;
    let pier = Pier::open(&options.snap_dir);
    let lock = pier.lock()?;
    let name: Ship = variable(env::SHIP)
        .and_then(|name| name.to_str()?.parse().ok())
        .unwrap_or(Ship(0));
    let (disk, ship) = Disk::open(&pier, name, options.lmdb_map_size, "4.6")?;
    let king_pid = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
    let spin = spin::map(ship, king_pid, true).context("cannot make the spin stack in /dev/shm")?;
    let mut mars = start(
        &pier,
        streams,
        Some((disk, lock)),
        (options.loom, loom::HOME_VERSION),
        Some(spin),
    )?;
    mars.send(&Gift::Ripe {
        who: Some(ship),
        event_number: mars.kernel.loom.event_number(),
    })?;
    mars.run(Some(options.snap_time.max(1) * 1_000_000_000))
}

/// Runs a serf to its end.
pub fn run_serf(options: &SerfOptions) -> anyhow::Result<u8> {
    let streams = take_over_streams()?;
    let pier = Pier::open(&options.pier);
    let mut serf = start(
        &pier,
        streams,
        None,
        (options.loom, loom::UNKNOWN_VERSION),
        None,
    )?;
    serf.send(&Gift::Ripe {
        who: None,
        event_number: serf.kernel.loom.event_number(),
    })?;
    serf.run(None)
}

/// Maps the loom, loads the snapshot, and replays what the log has beyond it.
fn start(
    pier: &Pier,
    (king, outbox): (OwnedFd, Outbox),
    log: Option<(Disk, Lock)>,
    (bex, version): (u32, u64),
    spin: Option<spin::Page>,
) -> anyhow::Result<Mars> {
    // A loom dumped as a core file would fill the disk of a test machine, so unlike vere no such limit is lifted.
    crate::sys::raise_limit(Resource::Nofile, 10240);
    let truth_path = variable(env::TRUTH).map(|path| truth::mars_path(&PathBuf::from(path)));
    let mut truth = Truth::create(truth_path.as_deref())?;
    let snapshots = Snapshots::open(pier)?;
    let heap_pages = variable(env::HEAP_PAGES)
        .and_then(|pages| pages.to_str()?.parse().ok())
        .unwrap_or(DEFAULT_HEAP_PAGES);
    let hints = variable(env::HINTS)
        .and_then(|hints| Hints::from_str(hints.to_str()?, false).ok())
        .unwrap_or_default();
    let mut loom = map_loom(bex, heap_pages, version)?;
    let print_bytes = variable(env::PRINT_BYTES)
        .and_then(|bytes| bytes.to_str()?.parse().ok())
        .unwrap_or(0);
    loom::install_fault_handler();
    let is_old = snapshots.load(&mut loom)?;
    let mut kernel = Kernel::new(loom, hints, spin, print_bytes)?;
    let saved_event = if is_old {
        kernel.loom.event_number()
    } else {
        0
    };
    if !is_old {
        kernel.fill_heap();
    }
    kernel.loom.fit_stack();
    kernel
        .loom
        .guard()
        .context("cannot protect the guard page")?;
    truth.record(
        &json!({"event": "mars", "mars_pid": std::process::id(), "start_ktime_ns": monotonic_ns()}),
    );
    truth.record(&crate::hoon::truth());
    let mut mars = Mars {
        kernel,
        log,
        snapshots,
        saved_event,
        inbox: Inbox::new(),
        king,
        outbox,
        frames: VecDeque::new(),
        gifts: VecDeque::new(),
        state: State::Work,
        truth,
    };
    mars.catch_up(is_old)?;
    Ok(mars)
}

/// Moves the streams to the king off the standard descriptors, so that no stray output gets between the frames.
fn take_over_streams() -> anyhow::Result<(OwnedFd, Outbox)> {
    let duplicate = |fd| {
        rustix::io::fcntl_dupfd_cloexec(fd, 3).context("cannot duplicate the streams to the king")
    };
    let king = duplicate(rustix::stdio::stdin())?;
    let out = duplicate(rustix::stdio::stdout())?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, rustix::fs::Mode::empty())
        .context("cannot open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).context("cannot replace the standard input")?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())
        .context("cannot replace the standard output")?;
    rustix::io::ioctl_fionbio(&king, true).context("cannot set up the stream from the king")?;
    // A king that does not read holds mars up, as in vere.
    rustix::io::ioctl_fionbio(&out, false).context("cannot set up the stream to the king")?;
    Ok((king, Outbox::new(out)))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn map_loom(bex: u32, heap_pages: u32, version: u64) -> anyhow::Result<Loom> {
    let heap_bytes = u64::from(heap_pages) * loom::PAGE_BYTES as u64;
    if heap_bytes > (1 << bex) / 2 {
        bail!(
            "a heap of {heap_pages} pages does not fit into a loom of 2^{bex} bytes: raise --loom"
        );
    }
    Loom::map(bex, heap_pages, version).with_context(|| {
        format!("cannot map a loom of 2^{bex} bytes: lower --loom, or add memory or swap")
    })
}
