//! Symbols and tables that were split off an executable, where its makers put them.
//!
//! Such a file is looked for where gdb looks (GDB manual, 22.4), in the file system that the process
//! itself sees, and taken only if it is of this very executable: by its build-id, or by the checksum
//! that the executable names.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ReadCache};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// Where distributions keep them.
const DIRECTORY: &str = "usr/lib/debug";
/// Largest that is read through for its checksum.
const MAX_BYTES: u64 = 1 << 30;

/// The file that holds what was split off `executable`, which the process whose root directory is `root`
/// calls `path`. Nothing if nothing was split off, or it is not there.
pub fn find(executable: &File, root: &File, path: &Path) -> Option<File> {
    let cache = ReadCache::new(executable);
    let elf = ElfFile64::<LittleEndian, _>::parse(&cache).ok()?;
    if elf.symbols().next().is_some() {
        return None;
    }
    let open = |name: &Path| {
        // Links in a container lead to where they do in it.
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(openat2(root, name, flags, Mode::empty(), how).ok()?);
        let metadata = file.metadata().ok()?;
        (metadata.is_file() && metadata.len() <= MAX_BYTES).then_some(file)
    };
    if let Ok(Some(id)) = elf.build_id() {
        let found = by_build_id(id).and_then(|name| open(&name));
        if let Some(file) = found.filter(|file| has_build_id(file, id)) {
            return Some(file);
        }
    }
    let (name, checksum) = elf.gnu_debuglink().ok()??;
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|n| !n.contains('/'))?;
    let directory = path.parent()?;
    let candidates = [
        directory.join(name),
        directory.join(".debug").join(name),
        Path::new(DIRECTORY)
            .join(directory.strip_prefix("/").unwrap_or(directory))
            .join(name),
    ];
    candidates
        .iter()
        .filter_map(|candidate| open(candidate))
        .find(|file| self::checksum(file) == Some(checksum))
}

/// Place of what a build-id names: its first byte is a directory.
fn by_build_id(id: &[u8]) -> Option<PathBuf> {
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (first, rest) = id.split_first().filter(|(_, rest)| !rest.is_empty())?;
    let name = format!("{:02x}/{}.debug", first, hexadecimal(rest));
    Some(Path::new(DIRECTORY).join(".build-id").join(name))
}

fn has_build_id(file: &File, id: &[u8]) -> bool {
    let cache = ReadCache::new(file);
    let elf = ElfFile64::<LittleEndian, _>::parse(&cache);
    elf.is_ok_and(|elf| elf.build_id().ok().flatten() == Some(id))
}

/// The CRC-32 of a file.
fn checksum(mut file: &File) -> Option<u32> {
    let (mut hasher, mut buffer) = (crc32fast::Hasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hasher.finalize()),
            read => hasher.update(buffer.get(..read)?),
        }
    }
}
