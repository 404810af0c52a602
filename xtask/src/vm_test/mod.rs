//! `cargo xtask vm-test`: `profile` on other kernels than this machine's.
//!
//! Debian's kernels are booted in an emulated machine with a ship in it; nothing of them is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use harness::workspace;

use crate::consent::Consent;
use crate::{host, shell};

mod kernel;
mod machine;
mod outcome;

use kernel::{KERNELS, Kernel};
use machine::Programs;

/// Programs that are needed, and their Debian packages.
const TOOLS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("mkfs.ext4", "e2fsprogs"),
];

/// What the programs and the kernels are for.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Options of `vm-test`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Kernel series to test; may be given several times [default: all of them]
    #[arg(long = "kernel", value_name = "SERIES", value_parser = PossibleValuesParser::new(KERNELS.map(|kernel| kernel.series)))]
    kernels: Vec<String>,
    /// Length of the captures, s.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// Tests all kernels that were asked for, also after one has failed.
pub fn run(options: &Options, consent: &Consent) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!(
            "the virtual machines are of x86_64 and run this machine's programs; use an x86_64 host"
        );
    }
    let programs = programs(consent)?;
    let mut failed = Vec::new();
    for kernel in &KERNELS {
        if !options.kernels.is_empty() && !options.kernels.iter().any(|s| s == kernel.series) {
            continue;
        }
        shell::heading(&format!("Linux {} of {}", kernel.series, kernel.suite));
        let wrong = test(kernel, &programs, options.seconds)
            .unwrap_or_else(|error| vec![format!("{error:#}")]);
        for sentence in &wrong {
            println!("  WRONG         {sentence}");
        }
        if !wrong.is_empty() {
            failed.push(kernel.series);
        }
    }
    if !failed.is_empty() {
        bail!("profile fails on Linux {}", failed.join(", "));
    }
    Ok(())
}

/// Tests one kernel and says what is wrong.
fn test(kernel: &Kernel, programs: &Programs, seconds: u64) -> Result<Vec<String>> {
    let directory = directory().join(kernel.series);
    fs::create_dir_all(&directory)
        .with_context(|| format!("could not create {}", directory.display()))?;
    let unpacked = kernel.fetch(&directory)?;
    let results = machine::run(&unpacked, programs, seconds, &directory)?;
    outcome::judge(kernel, &programs.profile, &results)
}

/// Where everything goes.
fn directory() -> PathBuf {
    workspace::target_dir().join("vm-test")
}

/// Installs the tools that are missing and builds what runs in the machines.
fn programs(consent: &Consent) -> Result<Programs> {
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|(program, _)| match *program {
            "busybox" => busybox().is_none(),
            program => !shell::has(program),
        })
        .collect();
    if !missing.is_empty() {
        let (programs, packages): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
        let reason = format!("Missing here: {}", programs.join(", "));
        host::install_packages(&reason, &packages, consent)?;
    }
    shell::heading("static profile and reference ship");
    let target_dir = directory().join("static");
    shell::run(
        workspace::cargo()
            .args([
                "build",
                "--release",
                "--package",
                "profiler",
                "--target",
                TRIPLE,
            ])
            .arg("--target-dir")
            .arg(&target_dir)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    Ok(Programs {
        busybox: busybox().context("busybox was installed, and still no static one is found")?,
        profile: target_dir.join(TRIPLE).join("release/profile"),
        ship: workspace::ship_binary()?.to_owned(),
    })
}

/// A busybox that needs no libraries: `ldd` finds none to name.
fn busybox() -> Option<PathBuf> {
    let is_static = |file: &Path| shell::output_of(Command::new("ldd").arg(file)).is_none();
    shell::find_all("busybox").find(|file| is_static(file))
}
