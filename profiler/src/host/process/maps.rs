//! `/proc/PID/maps`. The file is written by the process it describes, as far as names go: a
//! container may map a file of any name, so no name may be more than a name here. (procfs-core 0.18
//! slices at fixed bytes of one that begins with `/SYSV`, and panics where there are none.)

use std::ffi::OsString;
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::host::ReadError;

/// One mapping of a process' memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// First address, and the first one after it.
    pub address: (u64, u64),
    /// Whether code may run there.
    pub executable: bool,
    /// Where it begins in its file.
    pub offset: u64,
    /// Device of its file as `st_dev` has it, 0 without a file. On btrfs and overlayfs `stat` may
    /// show another one.
    pub device: u64,
    /// Inode of its file, 0 without a file.
    pub inode: u64,
    /// What is mapped.
    pub name: MapName,
}

/// A mapping of code whose file could be opened.
#[derive(Debug)]
pub struct MappedCode {
    /// Where it is mapped.
    pub addresses: Range<u64>,
    /// Where that begins in its file.
    pub file_offset: u64,
    /// The very file that is mapped.
    pub file: File,
    /// Its path as the process sees it; not of use for more than a search beside it.
    pub path: PathBuf,
}

/// What a mapping is of, by the name that the kernel gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapName {
    /// A file, as the process sees its path; ends in ` (deleted)` when the name is gone. System V
    /// shared memory looks like one: `/SYSV00000000 (deleted)`.
    Path(PathBuf),
    /// `[heap]`.
    Heap,
    /// `[stack]`.
    Stack,
    /// `[vdso]`.
    Vdso,
    /// Memory without a name.
    Anonymous,
    /// Any other name: `[vvar]`, `[anon:…]`, `anon_inode:…`.
    Other(String),
}

/// Parses the file `path`, whose content is `bytes`.
///
/// # Errors
/// [`ReadError::Malformed`] with the first line that is not in the kernel's form.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Map>, ReadError> {
    bytes
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            map(line).ok_or_else(|| ReadError::malformed(path, String::from_utf8_lossy(line)))
        })
        .collect()
}

/// `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE   NAME` (kernel `fs/proc/task_mmu.c`,
/// `show_map_vma`); all numbers but the inode are hexadecimal.
fn map(line: &[u8]) -> Option<Map> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut field = || std::str::from_utf8(fields.next()?).ok();
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = field()?.split_once('-')?;
    let permissions = field()?;
    let offset = hexadecimal(field()?)?;
    let (major, minor) = field()?.split_once(':')?;
    let device_number = |text: &str| u32::from_str_radix(text, 16).ok();
    let device = rustix::fs::makedev(device_number(major)?, device_number(minor)?);
    let inode = field()?.parse().ok()?;
    Some(Map {
        address: (hexadecimal(start)?, hexadecimal(end)?),
        executable: permissions.as_bytes().get(2)? == &b'x',
        offset,
        device,
        inode,
        name: name(fields.next().unwrap_or_default().trim_ascii_start()),
    })
}

fn name(text: &[u8]) -> MapName {
    match text {
        b"" => MapName::Anonymous,
        b"[heap]" => MapName::Heap,
        b"[stack]" => MapName::Stack,
        b"[vdso]" => MapName::Vdso,
        [b'/', ..] => MapName::Path(OsString::from_vec(unescape_newlines(text)).into()),
        other => MapName::Other(String::from_utf8_lossy(other).into_owned()),
    }
}

/// The kernel escapes newlines here and, other than in mountinfo, nothing else: neither spaces nor
/// the backslash itself (`seq_path(m, …, "\n")`).
fn unescape_newlines(text: &[u8]) -> Vec<u8> {
    const ESCAPED: &[u8] = b"\\012";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        match rest.strip_prefix(ESCAPED) {
            Some(after) => {
                bytes.push(b'\n');
                rest = after;
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn parsed(text: &[u8]) -> Vec<Map> {
        parse(Path::new("/proc/1/maps"), text).unwrap()
    }

    fn name_of(text: &[u8]) -> MapName {
        let line = [b"7f00-7f01 rw-s 00000000 00:01 5        ", text].concat();
        parsed(&line)[0].name.clone()
    }

    #[test]
    fn mappings_are_read() {
        let maps = parsed(
            b"00400000-0049a000 r-xp 00001000 fd:12 131    /usr/bin/urbit (deleted)\n\
              7f00-7f01 rwxp 00000000 00:00 0 \n\
              7f02-7f03 rw-p 00000000 00:00 0                          [heap]\n\
              7ffd-7ffe rw-p 00000000 00:00 0 [stack]\n\
              7fff-8000 r-xp 00000000 00:00 0 [vdso]\n\
              ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
        );
        assert_eq!(
            maps[0],
            Map {
                address: (0x40_0000, 0x49_a000),
                executable: true,
                offset: 0x1000,
                device: rustix::fs::makedev(0xfd, 0x12),
                inode: 131,
                name: MapName::Path("/usr/bin/urbit (deleted)".into()),
            }
        );
        let names: Vec<&MapName> = maps[1..].iter().map(|map| &map.name).collect();
        let other = MapName::Other("[vsyscall]".to_owned());
        assert_eq!(
            names,
            [
                &MapName::Anonymous,
                &MapName::Heap,
                &MapName::Stack,
                &MapName::Vdso,
                &other
            ]
        );
        assert!(!maps[2].executable);
        assert!(parsed(b"").is_empty());
    }

    #[test]
    fn no_name_is_more_than_a_name() {
        let long = [b"/SYSV".as_slice(), &[b'9'; 4000]].concat();
        for file in [
            b"/SYSV".as_slice(),
            b"/SYSV1",
            "/SYSVé".as_bytes(),
            "/SYSV0000000é".as_bytes(),
            b"/SYSV00000000 (deleted)",
            b"/\xff\xfe",
            b"/name with  spaces ",
            &long,
        ] {
            let name = MapName::Path(std::ffi::OsStr::from_bytes(file).into());
            assert_eq!(name_of(file), name);
        }
        assert_eq!(
            name_of("[anon:é".as_bytes()),
            MapName::Other("[anon:é".to_owned())
        );
    }

    #[test]
    fn only_newlines_are_escaped() {
        assert_eq!(name_of(br"/a\012b"), MapName::Path("/a\nb".into()));
        assert_eq!(name_of(br"/a\040\01"), MapName::Path(r"/a\040\01".into()));
    }

    #[test]
    fn a_line_in_another_form_is_named() {
        for line in ["nonsense", "1-2 r-xp 0 00:00", "1-2 r 0 00:00 0", "é"] {
            let error = parse(Path::new("/proc/1/maps"), line.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(line), "{error}");
        }
    }
}
