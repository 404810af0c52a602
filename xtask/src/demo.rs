//! `cargo xtask demo`: a ship on a slow disk, and what `profile` says of it.

use std::fs;

use anyhow::{Context, Result, bail};
use harness::faults::{IopsLimits, LoopDisk, SlowDisk};
use harness::profile::Profile;
use harness::ship::ShipOptions;
use harness::{gate, workspace};

use crate::consent::Consent;
use crate::{host, shell};

/// Size of the ship's disk. The image is sparse.
const DISK_BYTES: u64 = 1 << 30;

/// What a worn or oversold disk does: a sync every 25 ms.
const DISK_IOPS: u32 = 40;

/// Options of `demo`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Length of the capture, s.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// Builds everything, starts the ship, slows its disk and runs the deep dive. All of it is undone at
/// the end, by Ctrl-C too.
pub fn run(options: &Options, consent: &Consent) -> Result<()> {
    host::prepare(&host::FAULT_TOOLS, consent)?;
    let _live = gate::bpf()?;
    shell::heading("building the reference ship and profile");
    shell::run(&mut workspace::ship_build())?;
    shell::run(&mut workspace::profile_build())?;

    let directory = workspace::target_dir().join("demo");
    if directory.exists() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("could not remove {}", directory.display()))?;
    }
    let disk = LoopDisk::new(DISK_BYTES)?;
    let workload = ShipOptions {
        events_per_second: Some(20.0),
        compute_us: Some(2_000),
        dirty_pages: Some(4),
        // Longer than the demo, if nothing ends the ship before.
        seconds: Some(options.seconds + 120),
        ..ShipOptions::default()
    };
    let ship = workload.start_in(disk.path())?;
    let limits = IopsLimits {
        read: None,
        write: Some(DISK_IOPS),
    };
    let _slow = SlowDisk::start(&disk, limits, &ship.pids())?;
    shell::heading(&format!(
        "profile --ship {} --seconds {}   (its disk does {DISK_IOPS} writes a second)",
        ship.pier().display(),
        options.seconds
    ));
    let status = Profile::deep_dive(ship.pier(), options.seconds)
        .output(&directory)
        .run_on_terminal()?;
    show_flamegraphs(&directory)?;
    // Status 3 is a whole report of an incomplete capture.
    if !matches!(status.code(), Some(0 | 3)) {
        bail!("profile ended with {status}");
    }
    Ok(())
}

fn show_flamegraphs(directory: &std::path::Path) -> Result<()> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("profile wrote nothing to {}", directory.display()))?;
    let mut graphs: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "svg"))
        .collect();
    graphs.sort();
    if graphs.is_empty() {
        bail!("profile wrote no flamegraph to {}", directory.display());
    }
    println!("\nFlamegraphs, for a browser:");
    for path in graphs {
        println!("  {}", path.display());
    }
    Ok(())
}
