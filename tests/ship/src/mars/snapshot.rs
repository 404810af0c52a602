//! Snapshots: the dirty pages of the loom go to a patch, from there to `image.bin`, which is then mapped over the loom
//! (vere `events.c`). Every page is written twice, so that a crash at any point leaves a whole snapshot.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, bail};
use noun::murmur3;
use rustix::fs::{SeekFrom, fdatasync, ftruncate, seek};
use rustix::io::{Errno, pread, pwrite, read, write};

use crate::loom::{Loom, PAGE_BYTES};
use crate::pier::{Pier, c_path};
use crate::sys;

/// Version of the control file.
const PATCH_VERSION: u32 = 1;

/// Bytes of the control file before its lines: version, checksum of the rest, pages of the image, pages of the patch.
const CONTROL_HEADER_BYTES: usize = 16;

/// A line of the control file: page number and checksum of the page.
const CONTROL_LINE_BYTES: usize = 8;

/// The snapshot of a pier.
pub struct Snapshots {
    pier: Pier,
    image: OwnedFd,
}

impl Snapshots {
    /// Opens `image.bin`, or makes an empty one, and finishes or drops what a crash left unfinished.
    pub fn open(pier: &Pier) -> anyhow::Result<Self> {
        let path = pier.checkpoint("image.bin");
        let image = sys::open(&c_path(&path)?, libc::O_RDWR | libc::O_CREAT, 0o600)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let snapshots = Self {
            pier: pier.clone(),
            image,
        };
        snapshots.recover()?;
        Ok(snapshots)
    }

    /// Maps the snapshot into the loom. False if there is none yet.
    pub fn load(&self, loom: &mut Loom) -> anyhow::Result<bool> {
        let path = self.pier.checkpoint("image.bin");
        let bytes = rustix::fs::fstat(&self.image)
            .with_context(|| format!("cannot stat {}", path.display()))?
            .st_size;
        let pages = bytes as usize / PAGE_BYTES;
        if pages == 0 {
            return Ok(false);
        }
        loom.map_image(&self.image, pages)
            .with_context(|| format!("cannot map {}", path.display()))?;
        if !loom.has_known_layout() || loom.used_pages() != pages {
            bail!(
                "{} is not a snapshot of this program: start with another pier",
                path.display()
            );
        }
        Ok(true)
    }

    /// Writes a snapshot and returns how many pages it took. With nothing dirty, nothing is done.
    pub fn save(&self, loom: &mut Loom) -> anyhow::Result<usize> {
        let pages = loom.dirty_pages();
        if pages.is_empty() {
            return Ok(0);
        }
        self.write(loom, &pages)
            .context("cannot write the snapshot")?;
        Ok(pages.len())
    }

    fn write(&self, loom: &mut Loom, pages: &[usize]) -> anyhow::Result<()> {
        let directory = self.pier.checkpoint("");
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make {}", directory.display()));
            }
            _ => {}
        }
        let [control_path, memory_path] = self.patch_paths();
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let control = sys::open(&c_path(&control_path)?, flags, 0o600)
            .with_context(|| format!("cannot make {}", control_path.display()))?;
        let memory = sys::open(&c_path(&memory_path)?, flags, 0o600)
            .with_context(|| format!("cannot make {}", memory_path.display()))?;

        let lines = write_patch(loom, &memory, pages)?;
        write_all(&control, &control_file(loom.used_pages(), &lines))?;
        fdatasync(&control)?;
        fdatasync(&memory)?;
        if !patch_is_whole(&memory, &lines)? {
            bail!(
                "{} does not hold what was written to it: check the disk",
                memory_path.display()
            );
        }
        self.truncate_image(loom.used_pages())?;
        self.apply(&memory, &lines)?;
        fdatasync(&self.image)?;
        drop(control);
        drop(memory);
        fs::remove_file(control_path)?;
        fs::remove_file(memory_path)?;

        let used = loom.used_pages();
        loom.map_freed_tail(used)?;
        loom.map_image(&self.image, used)?;
        loom.drop_gap()?;
        Ok(())
    }

    fn patch_paths(&self) -> [PathBuf; 2] {
        ["control.bin", "memory.bin"].map(|name| self.pier.checkpoint(name))
    }

    fn truncate_image(&self, used_pages: usize) -> anyhow::Result<()> {
        let bytes = (used_pages * PAGE_BYTES) as u64;
        if rustix::fs::fstat(&self.image)?.st_size as u64 > bytes {
            ftruncate(&self.image, bytes)?;
        }
        Ok(())
    }

    fn apply(&self, memory: &OwnedFd, lines: &[Line]) -> anyhow::Result<()> {
        let mut page = [0; PAGE_BYTES];
        seek(memory, SeekFrom::Start(0))?;
        for line in lines {
            if read(memory, &mut page)? != PAGE_BYTES {
                bail!("the patch of the snapshot ends too early");
            }
            pwrite_all(&self.image, &page, line.page as u64 * PAGE_BYTES as u64)?;
        }
        Ok(())
    }

    /// After a crash: a whole patch is applied, any other dropped.
    fn recover(&self) -> anyhow::Result<()> {
        let [control_path, memory_path] = self.patch_paths();
        let Ok(control) = fs::read(&control_path) else {
            // Without a control file a patch was never finished.
            let _may_be_absent = fs::remove_file(&memory_path);
            return Ok(());
        };
        let memory = File::open(&memory_path).map(OwnedFd::from).ok();
        if let (Some((used_pages, lines)), Some(memory)) = (parse_control(&control), memory)
            && patch_is_whole(&memory, &lines)?
        {
            self.truncate_image(used_pages)?;
            self.apply(&memory, &lines)?;
            fdatasync(&self.image)?;
            eprintln!("loom: patch applied: {} pages\r", lines.len());
        }
        fs::remove_file(&control_path)
            .with_context(|| format!("cannot remove {}", control_path.display()))?;
        let _may_be_absent = fs::remove_file(&memory_path);
        Ok(())
    }
}

/// A page of a patch.
struct Line {
    page: u32,
    checksum: u32,
}

fn write_patch(loom: &Loom, memory: &OwnedFd, pages: &[usize]) -> anyhow::Result<Vec<Line>> {
    pages
        .iter()
        .enumerate()
        .map(|(index, &page)| {
            let bytes = loom.page(page);
            let checksum = murmur3::x86_32(bytes, PAGE_SEED);
            pwrite_all(memory, bytes, (index * PAGE_BYTES) as u64)?;
            Ok(Line {
                page: u32::try_from(page)?,
                checksum,
            })
        })
        .collect()
}

/// Seed of all checksums here, the one of `mug`.
const PAGE_SEED: u32 = 0xcafe_babe;

fn patch_is_whole(memory: &OwnedFd, lines: &[Line]) -> anyhow::Result<bool> {
    let mut page = [0; PAGE_BYTES];
    for (index, line) in lines.iter().enumerate() {
        let length = pread(memory, &mut page, (index * PAGE_BYTES) as u64)?;
        if length != PAGE_BYTES || murmur3::x86_32(&page, PAGE_SEED) != line.checksum {
            return Ok(false);
        }
    }
    Ok(true)
}

fn control_file(used_pages: usize, lines: &[Line]) -> Vec<u8> {
    let mut body = Vec::with_capacity(CONTROL_HEADER_BYTES + lines.len() * CONTROL_LINE_BYTES);
    body.extend((used_pages as u32).to_le_bytes());
    body.extend((lines.len() as u32).to_le_bytes());
    for line in lines {
        body.extend(line.page.to_le_bytes());
        body.extend(line.checksum.to_le_bytes());
    }
    let checksum = murmur3::x86_32(&body, PAGE_SEED);
    [
        &PATCH_VERSION.to_le_bytes()[..],
        &checksum.to_le_bytes(),
        &body,
    ]
    .concat()
}

/// Pages of the image and lines of the patch, if the control file is whole.
fn parse_control(control: &[u8]) -> Option<(usize, Vec<Line>)> {
    let (words, []) = control.as_chunks::<4>() else {
        return None;
    };
    let numbers: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    let [version, checksum, used_pages, count, rest @ ..] = numbers.as_slice() else {
        return None;
    };
    let (pairs, []) = rest.as_chunks::<2>() else {
        return None;
    };
    let is_whole = *version == PATCH_VERSION
        && pairs.len() == *count as usize
        && murmur3::x86_32(&control[8..], PAGE_SEED) == *checksum;
    let lines = pairs
        .iter()
        .map(|&[page, checksum]| Line { page, checksum });
    is_whole.then(|| (*used_pages as usize, lines.collect()))
}

fn pwrite_all(fd: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = match pwrite(fd, bytes, offset) {
            Err(Errno::INTR) => 0,
            result => result?,
        };
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = match write(fd, bytes) {
            Err(Errno::INTR) => 0,
            result => result?,
        };
        bytes = &bytes[written..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_file_is_whole_or_nothing() {
        let lines = [
            Line {
                page: 0,
                checksum: 7,
            },
            Line {
                page: 9,
                checksum: 8,
            },
        ];
        let control = control_file(10, &lines);
        // As long as the one recorded from a 4.6 ship: 16 bytes and 8 for each page.
        assert_eq!(control.len(), CONTROL_HEADER_BYTES + 2 * CONTROL_LINE_BYTES);
        let (used_pages, parsed) = parse_control(&control).expect("a whole control file");
        assert_eq!((used_pages, parsed.len(), parsed[1].page), (10, 2, 9));
        for byte in 0..control.len() {
            let mut corrupt = control.clone();
            corrupt[byte] ^= 1;
            assert!(parse_control(&corrupt).is_none(), "byte {byte}");
            assert!(parse_control(&control[..byte]).is_none());
        }
    }
}
