//! A C compiler with the libc of vere: zig's, whose static musl has rules for its functions only in
//! `.debug_frame`, as in vere's releases. It comes as a Python package; `cargo xtask test` installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::run;
use crate::{Error, Result, workspace};

/// The package, as pip names it: the version that vere 4.6 is built with.
pub const PACKAGE: &str = "ziglang==0.15.2";

/// The Python environment that holds it.
pub fn environment() -> PathBuf {
    workspace::target_dir().join("ziglang")
}

/// Its Python, which `-m ziglang` runs the compiler of.
pub fn python() -> PathBuf {
    environment().join("bin/python")
}

/// Whether it is there.
pub fn is_installed() -> bool {
    let mut command = Command::new(python());
    command.args(["-m", "ziglang", "version"]);
    run(&mut command).is_ok()
}

/// Compiles a program of `tests/programs`, static and optimised, with these options.
///
/// # Errors
/// If the compiler is missing or fails.
pub fn compile(program: &str, options: &[&str], to: &Path) -> Result<()> {
    if !is_installed() {
        return Err(Error::Missing {
            what: "zig's C compiler in target/ziglang".into(),
            remedy: format!(
                "cargo xtask test installs it, or: python3 -m venv {0} && {0}/bin/pip install {PACKAGE}",
                environment().display()
            ),
        });
    }
    let source = workspace::root().join("tests/programs").join(program);
    let target = format!("{}-linux-musl", std::env::consts::ARCH);
    let mut command = Command::new(python());
    command
        .args(["-m", "ziglang", "cc", "-target", &target])
        .args(["-static", "-O2", "-g", "-fno-sanitize=all"])
        .args(options)
        .arg("-o")
        .args([to, &source])
        // Its cache goes where everything else of a build does.
        .env(
            "ZIG_GLOBAL_CACHE_DIR",
            workspace::target_dir().join("zig-cache"),
        )
        .env(
            "ZIG_LOCAL_CACHE_DIR",
            workspace::target_dir().join("zig-cache"),
        );
    run(&mut command).map(drop)
}
