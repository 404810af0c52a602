//! Finds the compiled eBPF programs for the loader, and refuses an object that does not fit its sources.
//!
//! The object is committed, so that stable Rust alone builds `profile`. `PROFILER_BPF_OBJECT` names
//! another one, which is taken as it is.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "build/source_hash.rs"]
mod source_hash;

const VARIABLE: &str = "PROFILER_BPF_OBJECT";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    match object() {
        Ok(path) => println!("cargo::rustc-env={VARIABLE}={}", path.display()),
        Err(message) => println!("cargo::error={message}"),
    }
}

fn object() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os(VARIABLE) {
        let path = PathBuf::from(path);
        println!("cargo::rerun-if-changed={}", path.display());
        return Ok(path);
    }
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .ok_or("cargo does not say where the package is; build it with cargo")?;
    let object = package.join("ebpf/profiler.bpf.o");
    println!("cargo::rerun-if-changed={}", package.join("ebpf").display());
    let workspace = package.parent().unwrap_or(&package);
    // A packaged crate has no sources to compare with.
    if workspace.join("profiler-ebpf/Cargo.toml").exists() {
        compare(workspace, &package.join("ebpf/sources.sha256"))?;
    }
    if !object.exists() {
        return Err(format!(
            "{} is missing; run `cargo xtask build-ebpf`",
            object.display()
        ));
    }
    Ok(object)
}

fn compare(workspace: &Path, recorded: &Path) -> Result<(), String> {
    for package in source_hash::PACKAGES {
        for input in source_hash::INPUTS {
            let path = workspace.join(package).join(input);
            // Of a path that is not there cargo thinks that it always changes.
            if path.exists() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
    let current = source_hash::source_hash(workspace)
        .map_err(|error| format!("the sources of the eBPF programs cannot be read: {error}"))?;
    let built_from = fs::read_to_string(recorded).map_err(|error| {
        format!(
            "{}: {error}; run `cargo xtask build-ebpf`",
            recorded.display()
        )
    })?;
    if built_from.trim() == current {
        return Ok(());
    }
    Err(
        "profiler/ebpf/profiler.bpf.o was built from other sources than profiler-ebpf and \
         profiler-common have now; run `cargo xtask build-ebpf`"
            .into(),
    )
}
