//! Where the workspace is, and the two programs that are built from it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::error::run;
use crate::{Error, Result};

/// File name of the reference ship's executable.
pub const SHIP_PROGRAM: &str = "reference-ship";

/// As vere is built: static, at fixed addresses, with frame pointers.
const SHIP_RUSTFLAGS: &str =
    "-C target-feature=+crt-static -C relocation-model=static -C force-frame-pointers=yes";

/// The workspace's root directory.
pub fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    // A relative path is meant from where cargo was called, which for us is the root.
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || root().join("target"),
        |dir| root().join(PathBuf::from(dir)),
    )
}

/// A command for cargo in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The host's target; the ship is for glibc, whose static libraries every compiler installs.
fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// A target directory of the ship's own: other flags in a shared one would rebuild everything.
fn ship_target_dir() -> PathBuf {
    target_dir().join(SHIP_PROGRAM)
}

/// The command that builds the reference ship.
pub fn ship_build() -> Command {
    let mut command = cargo();
    command
        .args([
            "build",
            "--release",
            "--package",
            SHIP_PROGRAM,
            "--target",
            &triple(),
        ])
        .arg("--target-dir")
        .arg(ship_target_dir())
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", SHIP_RUSTFLAGS);
    command
}

/// The command that builds `profile`.
pub fn profile_build() -> Command {
    let mut command = cargo();
    command.args(["build", "--release", "--package", "profiler"]);
    command
}

/// The reference ship's executable, built if it is not up to date, once per process.
pub fn ship_binary() -> Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let path = ship_target_dir()
        .join(triple())
        .join("release")
        .join(SHIP_PROGRAM);
    built(&BINARY, ship_build(), path)
}

/// The executable `profile`, built if it is not up to date, once per process.
pub fn profile_binary() -> Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    built(
        &BINARY,
        profile_build(),
        target_dir().join("release").join("profile"),
    )
}

fn built(
    cell: &'static OnceLock<PathBuf>,
    mut build: Command,
    binary: PathBuf,
) -> Result<&'static Path> {
    if let Some(path) = cell.get() {
        return Ok(path);
    }
    run(build.arg("--quiet"))?;
    if !binary.exists() {
        return Err(Error::Missing {
            what: binary.display().to_string(),
            remedy: "cargo built without an error, so its package no longer makes it".into(),
        });
    }
    Ok(cell.get_or_init(|| binary))
}
