//! Brings the machine to where tests, demo and benchmarks can run.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::consent::Consent;
use crate::shell;

/// A program and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    program: &'static str,
    package: &'static str,
}

impl Tool {
    /// A program and its package.
    pub const fn new(program: &'static str, package: &'static str) -> Self {
        Self { program, package }
    }
}

/// What injecting faults takes.
pub const FAULT_TOOLS: [Tool; 2] = [
    Tool::new("mkfs.ext4", "e2fsprogs"),
    Tool::new("mount", "mount"),
];

/// What flamegraphs are opened in.
pub const BROWSER: [Tool; 1] = [Tool::new("chromium", "chromium")];

/// Where the kernel describes its tracepoints.
const TRACEFS: &str = "/sys/kernel/tracing";

/// Makes a live run possible: root, the tools, and tracefs.
pub fn prepare(tools: &[Tool], consent: &Consent) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("eBPF programs and faults need root; run it as root");
    }
    install(tools, consent)?;
    // An ordinary boot mounts it; a container or a bare machine may not have.
    if !Path::new(TRACEFS).join("events").exists() {
        consent.ask(
            "tracefs is not mounted",
            &[format!("mount -t tracefs nodev {TRACEFS}")],
        )?;
        shell::run(Command::new("mount").args(["-t", "tracefs", "nodev", TRACEFS]))?;
    }
    Ok(())
}

/// Installs the packages of those tools that are not here.
pub fn install(tools: &[Tool], consent: &Consent) -> Result<()> {
    let missing: Vec<_> = tools
        .iter()
        .filter(|tool| !shell::has(tool.program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    let programs: Vec<_> = missing.iter().map(|tool| tool.program).collect();
    let reason = format!("Missing here: {}", programs.join(", "));
    install_packages(&reason, &packages, consent)
}

/// Installs Debian packages.
pub fn install_packages(reason: &str, packages: &[&str], consent: &Consent) -> Result<()> {
    if !shell::has("apt-get") {
        bail!(
            "{reason}; install what these Debian packages have with this system's package \
             manager: {}",
            packages.join(" ")
        );
    }
    let update = "apt-get update".to_owned();
    let install = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    consent.ask(reason, &[update, install])?;
    shell::run(Command::new("apt-get").args(["-q", "update"]))?;
    shell::run(
        Command::new("apt-get")
            .args(["-q", "install", "-y", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .context("the packages could not be installed")
}

/// Whether a Debian package can be installed from here. The lists may be older than the package, so
/// they are fetched if it is unknown.
pub fn has_package(package: &str) -> bool {
    let known = || {
        shell::output_of(Command::new("apt-cache").args(["policy", package]))
            .is_some_and(|text| text.contains("Candidate:") && !text.contains("Candidate: (none)"))
    };
    known()
        || (rustix::process::geteuid().is_root()
            && shell::output_of(Command::new("apt-get").args(["-q", "update"])).is_some()
            && known())
}
