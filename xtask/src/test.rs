//! `cargo xtask test`: everything that has to hold before a change is merged.

use std::time::Instant;

use anyhow::Result;
use harness::workspace;

use crate::consent::{self, Consent};
use crate::{ebpf, host, shell, zig};

/// Runs all of it; the first failure ends it.
pub fn run(consent: &Consent) -> Result<()> {
    let start = Instant::now();
    // Without root the live tests say that they are skipped; in CI that is a failure.
    if consent::in_ci() || rustix::process::geteuid().is_root() {
        host::prepare(&host::FAULT_TOOLS, consent)?;
        zig::prepare(consent)?;
    }
    // Elsewhere the test that needs it says that it is skipped.
    if consent::in_ci() {
        host::prepare(&host::BROWSER, consent)?;
    }
    add_components(consent)?;
    if consent::in_ci() || ebpf::is_available() {
        shell::heading("eBPF programs from source");
        ebpf::build(consent)?;
    } else {
        shell::heading("eBPF programs: the committed object, as no toolchain for them is here");
    }
    shell::heading("formatting");
    cargo(&["fmt", "--all", "--check"])?;
    shell::run(
        workspace::cargo()
            .current_dir(workspace::root().join("profiler-ebpf"))
            .args(["fmt", "--check"]),
    )?;
    shell::heading("lints");
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])?;
    shell::heading("reference ship and profile");
    shell::run(&mut workspace::ship_build())?;
    shell::run(&mut workspace::profile_build())?;
    shell::heading("tests");
    cargo(&["test", "--workspace", "--no-fail-fast"])?;
    eprintln!("\nEverything passed in {} s.", start.elapsed().as_secs());
    Ok(())
}

fn cargo(words: &[&str]) -> Result<()> {
    shell::run(workspace::cargo().args(words))
}

/// A minimal rustup profile has neither formatter nor lints.
fn add_components(consent: &Consent) -> Result<()> {
    let missing: Vec<_> = [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")]
        .into_iter()
        .filter(|(program, _)| {
            let subcommand = program.trim_start_matches("cargo-");
            shell::output_of(workspace::cargo().args([subcommand, "--version"])).is_none()
        })
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let words = [&["rustup", "component", "add"], missing.as_slice()].concat();
    consent.ask("The formatter or the lints are missing", &[words.join(" ")])?;
    shell::run(&mut shell::command(&words))
}
