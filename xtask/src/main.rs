//! `cargo xtask`: what the workspace is built, tested, shown and measured with.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod consent;
mod demo;
mod docs;
mod ebpf;
mod host;
mod shell;
mod test;
mod vm_test;
mod zig;

use consent::Consent;

/// Builds, tests, shows and measures `profile`.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    /// Install what is missing without asking (also when the variable CI is set).
    #[arg(long, global = true)]
    yes: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the eBPF programs from source into profiler/ebpf.
    BuildEbpf,
    /// Check formatting and lints, build everything, and run every test.
    Test,
    /// Show `profile` on a ship whose disk is slow.
    Demo(demo::Options),
    /// Write what the documentation takes from the code: docs/catalogue.md.
    Docs,
    /// Measure what `profile` costs.
    Bench(bench::Options),
    /// Run `profile` on other kernels, in emulated machines.
    VmTest(vm_test::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let consent = Consent::new(arguments.yes);
    let result = match arguments.task {
        Task::BuildEbpf => ebpf::build(&consent),
        Task::Test => test::run(&consent),
        Task::Demo(options) => demo::run(&options, &consent),
        Task::Docs => docs::run(),
        Task::Bench(options) => bench::run(&options, &consent),
        Task::VmTest(options) => vm_test::run(&options, &consent),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
