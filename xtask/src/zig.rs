//! zig's C compiler, which live tests build a program with that is like vere.

use anyhow::{Result, bail};
use harness::zig;

use crate::consent::Consent;
use crate::host::{self, Tool};
use crate::shell;

/// What its Python package is installed with.
const PYTHON: Tool = Tool::new("python3", "python3");
/// What makes environments for packages, which Debian has apart from Python.
const VENV: &str = "python3-venv";

/// Installs it below the target directory, if it is not there.
pub fn prepare(consent: &Consent) -> Result<()> {
    if zig::is_installed() {
        return Ok(());
    }
    host::install(&[PYTHON], consent)?;
    let environment = zig::environment().display().to_string();
    let python = zig::python().display().to_string();
    let make = ["python3", "-m", "venv", "--clear", &environment];
    let fill = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    let fill = [&[python.as_str()], fill.as_slice(), &[zig::PACKAGE]].concat();
    consent.ask(
        "zig's C compiler is missing, which live tests need",
        &[make.join(" "), fill.join(" ")],
    )?;
    if shell::run(&mut shell::command(&make)).is_err() {
        host::install_packages("Python cannot make environments", &[VENV], consent)?;
        shell::run(&mut shell::command(&make))?;
    }
    shell::run(&mut shell::command(&fill))?;
    if !zig::is_installed() {
        bail!("{} was installed, but does not run", zig::PACKAGE);
    }
    Ok(())
}
