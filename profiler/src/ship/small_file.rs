//! Small text files in a pier. A pier is another user's, and its files may be anything: a pipe that
//! nobody writes to, a link to an endless device, a file of any length.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use crate::host::ReadError;
use crate::host::process::FileId;

/// Most bytes that are read of one.
const MAX_BYTES: u64 = 4096;

/// A small file, as it was read.
pub struct SmallFile {
    /// The very file that the text is of.
    pub id: FileId,
    /// Its text, as far as the limit; bytes that are not UTF-8 become U+FFFD.
    pub text: String,
}

/// Reads a small file without ever waiting, following a link, or reading more than a little.
///
/// # Errors
/// Also when it is not a regular file.
pub fn read_small_file(path: &Path) -> Result<SmallFile, ReadError> {
    let failed = |error| ReadError::io(path, error);
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(SmallFile {
        id: (&metadata).into(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_is_read_and_only_its_head() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("long"), "7".repeat(10_000)).unwrap();
        let long = read_small_file(&path("long")).unwrap();
        assert_eq!(long.text.len(), 4096);
        assert_eq!(long.id, FileId::of(&path("long")).unwrap());

        std::os::unix::fs::symlink("/dev/zero", path("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path("pipe"), 0o644.into()).unwrap();
        for name in ["link", "pipe", "."] {
            assert!(read_small_file(&path(name)).is_err(), "{name}");
        }
        assert!(read_small_file(&path("none")).is_err_and(|error| error.is_absent()));
    }
}
