//! Running other programs in view of the user.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use harness::error::command_line;

/// Says what is being done.
pub fn heading(text: &str) {
    eprintln!("\n== {text}");
}

/// Runs a command with our terminal; an error unless it succeeds.
pub fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let status = command
        .status()
        .with_context(|| format!("could not start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs a command and takes its output, if it succeeds.
pub fn output_of(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// A command from words, the first being the program.
pub fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words.first().copied().unwrap_or_default());
    command.args(words.iter().skip(1));
    command
}

/// Every executable of that name, in the order of `PATH`; then where system tools are, which not
/// every root's `PATH` has.
pub fn find_all(program: &str) -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(program))
        .filter(|file| file.is_file())
        .collect::<Vec<_>>()
        .into_iter()
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    find_all(program).next().is_some()
}

/// `PATH` with a directory before all others.
pub fn path_with(first: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(first.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).context("could not extend PATH")
}
