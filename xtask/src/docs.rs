//! `cargo xtask docs`: writes what the documentation takes from the code.

use std::process::Command;

use anyhow::{Context as _, Result};
use harness::workspace;

use crate::shell;

/// Writes `docs/catalogue.md`; a test of `profiler` says when it is not current.
pub fn run() -> Result<()> {
    let mut catalogue = Command::new(workspace::profile_binary()?);
    catalogue.args(["catalogue", "--format", "markdown"]);
    let text = shell::output_of(&mut catalogue).context("profile catalogue does not run")?;
    let directory = workspace::root().join("docs");
    std::fs::create_dir_all(&directory)?;
    let path = directory.join("catalogue.md");
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
