//! Which tests can run on this machine, and that live ones run one at a time.
//!
//! Where the variable `CI` is set, a test that cannot run is a failure. Elsewhere it says why it is
//! skipped:
//!
//! ```no_run
//! let Some(_live) = harness::gate::need_bpf() else { return };
//! ```

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::{Error, Result, bpf, undo};

/// Held by whoever changes or measures the machine. The kernel lets go of it when its holder ends.
#[derive(Debug)]
pub struct Live {
    _lock: File,
}

/// For tests that change the machine: root. `None` after having said why not.
pub fn need_root() -> Option<Live> {
    skip_or_fail(root())
}

/// For tests that load eBPF programs: what [`need_root`] needs, and a kernel that takes them.
pub fn need_bpf() -> Option<Live> {
    skip_or_fail(bpf())
}

/// Waits for the machine to be free and takes it, if we are root.
pub fn root() -> Result<Live> {
    if !rustix::process::geteuid().is_root() {
        return Err(missing("root", "run it as root"));
    }
    undo::prepare();
    // One name for all users and checkouts: they share the machine.
    let path = std::env::temp_dir().join("profile-harness.lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::path("open", &path))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|errno| Error::path("lock", &path)(errno.into()))?;
    Ok(Live { _lock: lock })
}

/// As [`root`], if eBPF programs can be loaded too.
pub fn bpf() -> Result<Live> {
    let live = root()?;
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(missing(
            "/sys/kernel/btf/vmlinux",
            "use a kernel of 5.10 or later that was built with CONFIG_DEBUG_INFO_BTF",
        ));
    }
    if !Path::new("/sys/kernel/tracing/events/sched").exists() {
        return Err(missing(
            "tracefs",
            "mount -t tracefs nodev /sys/kernel/tracing",
        ));
    }
    bpf::load_program().map_err(|error| {
        missing(
            &format!("the right to load eBPF programs ({error})"),
            "give CAP_BPF and CAP_PERFMON, or leave the container",
        )
    })?;
    Ok(live)
}

fn missing(what: &str, remedy: &str) -> Error {
    Error::Missing {
        what: what.into(),
        remedy: remedy.into(),
    }
}

/// What a test needs beside the machine; `None` after having said why it is not there.
pub fn need<T>(what: Result<T>) -> Option<T> {
    skip_or_fail(what)
}

fn skip_or_fail<T>(gate: Result<T>) -> Option<T> {
    match gate {
        Ok(there) => Some(there),
        Err(error) if std::env::var_os("CI").is_some() => {
            panic!("CI is set, so every test has to run: {error}")
        }
        Err(error) => {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("test");
            // Not eprintln!, which the test runner swallows when a test passes.
            let line = format!("{name} skipped: {error}\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_is_taken_by_one() {
        let Some(live) = need_bpf() else { return };
        let path = std::env::temp_dir().join("profile-harness.lock");
        let other = File::open(path).unwrap();
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(live);
    }
}
