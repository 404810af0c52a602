//! One hash over everything that the eBPF object is built from. Shared by the crate's build script,
//! which compares it, and by `cargo xtask build-ebpf`, which writes it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The packages that the object is built from, by directory in the workspace.
pub const PACKAGES: [&str; 2] = ["profiler-common", "profiler-ebpf"];

/// What counts in a package. The rest (targets, editors' files) does not change the object.
pub const INPUTS: [&str; 3] = ["Cargo.lock", "Cargo.toml", "src"];

/// SHA-256, in hexadecimal, over names and contents of the sources below the workspace's root.
pub fn source_hash(workspace: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for package in PACKAGES {
        for input in INPUTS {
            collect(workspace, &Path::new(package).join(input), &mut files)?;
        }
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let content = fs::read(workspace.join(&file)).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?;
        // Lengths keep names and contents apart, so that no two trees hash the same stream.
        let name = file.as_os_str().as_encoded_bytes();
        for part in [name, &content] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Adds a file, or all files below a directory, as paths relative to the workspace.
fn collect(workspace: &Path, relative: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let path = workspace.join(relative);
    if path.is_dir() {
        for entry in fs::read_dir(&path)? {
            collect(workspace, &relative.join(entry?.file_name()), files)?;
        }
    } else if path.is_file() {
        files.push(relative.to_owned());
    }
    Ok(())
}
