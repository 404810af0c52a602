//! Values in files of the kernel. What is read is not always what is written: lists with a choice show all
//! that there is, and limits of devices have one line for each device.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::error::TrialError;
use crate::host::{ReadError, Roots};

/// No setting is longer.
const MAX_BYTES: u64 = 1 << 16;

/// The file on this host that a fix means. Names of control groups come from the host, so they may hold
/// anything.
pub fn checked(roots: &Roots, path: &str) -> Result<PathBuf, TrialError> {
    let below = |root: &str| path.starts_with(root);
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let is_setting = (below("/proc/sys/") || below("/sys/"))
        && Path::new(path).components().all(plain)
        && !path.contains('\0');
    match is_setting {
        true => Ok(roots.host_path(Path::new(path))),
        false => Err(TrialError::NoSetting(path.to_owned())),
    }
}

/// The value now, in the form in which `like` would be written; nothing if there is no such file.
pub fn read(path: &Path, like: &str) -> Result<Option<String>, TrialError> {
    let failed = |error| TrialError::Read(ReadError::io(path, error));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    let mut bytes = Vec::new();
    match file.take(MAX_BYTES).read_to_end(&mut bytes) {
        // Of a control group that was removed in between.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
        read => read.map_err(failed)?,
    };
    Ok(Some(value(path, &String::from_utf8_lossy(&bytes), like)))
}

/// Writes a value. The file must be there.
pub fn write(path: &Path, value: &str) -> std::io::Result<()> {
    // As a shell opens it; files of the kernel have no length.
    let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = flags | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    // One call: the kernel takes each for a whole value.
    let text = format!("{value}\n");
    match file.write(text.as_bytes())? {
        written if written == text.len() => Ok(()),
        _ => Err(std::io::ErrorKind::WriteZero.into()),
    }
}

fn value(path: &Path, text: &str, like: &str) -> String {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.unwrap_or_default();
    if name == "io.max" {
        return device_limit(text, like, "max");
    }
    if name.starts_with("blkio.throttle.") {
        return device_limit(text, like, "0");
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let chosen = words
        .iter()
        .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
    match chosen {
        Some(chosen) => chosen.to_owned(),
        None => words.join(" "),
    }
}

/// The limit of the device and kind that `like` is about: `254:0 40`, or of version 2 `254:0 wiops=40`.
fn device_limit(text: &str, like: &str, none: &str) -> String {
    let (device, kind) = like.split_once(' ').unwrap_or((like, ""));
    let key = kind.split_once('=').map(|(key, _)| key);
    let line = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(device)).then(|| words.collect::<Vec<_>>())
    });
    let words = line.unwrap_or_default();
    match key {
        Some(key) => {
            let of = |word: &&str| word.split_once('=').is_some_and(|(name, _)| name == key);
            let found = words.iter().find(|word| of(word)).copied();
            let found = found.map_or_else(|| format!("{key}={none}"), str::to_owned);
            format!("{device} {found}")
        }
        None => format!("{device} {}", words.first().unwrap_or(&none)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        let cases = [
            ("/x/swappiness", "60\n", "10", "60"),
            (
                "/x/tcp_rmem",
                "4096\t131072\t6291456\n",
                "1 2 3",
                "4096 131072 6291456",
            ),
            (
                "/x/scheduler",
                "[mq-deadline] none\n",
                "none",
                "mq-deadline",
            ),
            (
                "/x/enabled",
                "always [madvise] never\n",
                "always",
                "madvise",
            ),
            ("/x/cpu.max", "20000 100000\n", "max 100000", "20000 100000"),
            ("/x/io.max", "", "254:0 wiops=max", "254:0 wiops=max"),
            (
                "/x/io.max",
                "8:0 rbps=1 wiops=2\n254:0 rbps=max wiops=40\n",
                "254:0 wiops=max",
                "254:0 wiops=40",
            ),
            (
                "/x/blkio.throttle.write_iops_device",
                "254:0 40\n",
                "254:0 0",
                "254:0 40",
            ),
            (
                "/x/blkio.throttle.write_iops_device",
                "8:0 40\n",
                "254:0 0",
                "254:0 0",
            ),
        ];
        for (path, text, like, expected) in cases {
            assert_eq!(
                value(Path::new(path), text, like),
                expected,
                "{path} {text:?}"
            );
        }
    }

    #[test]
    fn only_settings_of_the_kernel_are_written() {
        let roots = Roots::under(Path::new("/r"));
        let path = checked(&roots, "/sys/fs/cgroup/a b/cpu.max").unwrap();
        assert_eq!(path, Path::new("/r/sys/fs/cgroup/a b/cpu.max"));
        for path in [
            "/etc/passwd",
            "/sys/../etc/passwd",
            "/sys/fs/cgroup/../../../etc/passwd",
            "/sysx/y",
            "proc/sys/vm/swappiness",
            "/proc/1/oom_score_adj",
            "/sys/a\0b",
        ] {
            assert!(checked(&roots, path).is_err(), "{path}");
        }
    }
}
