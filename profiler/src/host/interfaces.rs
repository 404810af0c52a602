//! Network interfaces of this host: what they carried, and how fast they say that they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::process::Process;
use super::{ReadError, Roots, read_text, read_value};

/// Bytes through an interface since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceBytes {
    /// Received.
    pub received_bytes: u64,
    /// Sent.
    pub sent_bytes: u64,
}

/// Reads `net/dev` of a process: the interfaces of its network namespace, the loopback left out.
///
/// # Errors
/// If it cannot be read, or has lines of another form.
pub fn interface_bytes(process: &Process) -> Result<BTreeMap<String, InterfaceBytes>, ReadError> {
    let path = process.path("net/dev");
    let text = read_text(&path)?;
    let mut all = BTreeMap::new();
    // Two lines of headings; then `eth0: RX-bytes packets … (8 columns) TX-bytes …`.
    for line in text.lines().skip(2).filter(|line| !line.trim().is_empty()) {
        let parsed = || {
            let (name, rest) = line.split_once(':')?;
            let columns: Vec<&str> = rest.split_whitespace().collect();
            let bytes = InterfaceBytes {
                received_bytes: columns.first()?.parse().ok()?,
                sent_bytes: columns.get(8)?.parse().ok()?,
            };
            Some((name.trim().to_owned(), bytes))
        };
        let (name, bytes) = parsed().ok_or_else(|| ReadError::malformed(&path, line.trim()))?;
        if name != "lo" {
            all.insert(name, bytes);
        }
    }
    Ok(all)
}

/// Speeds in bits a second of the interfaces that say one. Those of virtual machines mostly do not.
pub fn speeds(roots: &Roots) -> BTreeMap<String, u64> {
    let directory = roots.sys.join("class/net");
    let names = super::entry_names(&directory).unwrap_or_default();
    let speed = |name: &std::ffi::OsString| {
        // In megabits; -1 where it is not known (kernel Documentation/ABI/testing/sysfs-class-net).
        let megabits: i64 = read_value(&directory.join(name).join("speed")).ok()?;
        let megabits = u64::try_from(megabits).ok().filter(|speed| *speed > 0)?;
        Some((name.to_string_lossy().into_owned(), megabits * 1_000_000))
    };
    names.iter().filter_map(speed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_with_their_bytes_and_speeds() {
        let tree = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put(
            "proc/7/net/dev",
            "Inter-| Receive | Transmit\n face |bytes packets\n\
             lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0:1234 5 0 0 0 0 0 0 678 9 0 0 0 0 0 0\n",
        );
        put("sys/class/net/eth0/speed", "1000\n");
        put("sys/class/net/eth1/speed", "-1\n");
        let roots = Roots::under(tree.path());
        let bytes = interface_bytes(&Process::new(&roots, 7)).unwrap();
        let eth0 = InterfaceBytes {
            received_bytes: 1234,
            sent_bytes: 678,
        };
        assert_eq!(bytes, BTreeMap::from([("eth0".to_owned(), eth0)]));
        assert_eq!(
            speeds(&roots),
            BTreeMap::from([("eth0".to_owned(), 1_000_000_000)])
        );
        put("proc/7/net/dev", "a\nb\nnonsense\n");
        assert!(interface_bytes(&Process::new(&roots, 7)).is_err());
    }
}
