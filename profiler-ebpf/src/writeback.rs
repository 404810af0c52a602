//! Whose the pages are that a bio writes.
//!
//! The inode tells: a bio leads to its first page, the page to the file's mapping, the mapping to its
//! inode. Who made its pages dirty last is learnt where that happens, in the thread that does it; so no
//! file has to be found by its path, and one that a snapshot makes and removes again has a name too.
//! Files of ships that were dirty before are named by user space.
//!
//! Memory of direct I/O, of swap and of kernel threads is no file's, and is charged to who queued it.
//! The pages of a file system's metadata, which its journal is written from, belong to the inode of the
//! block device: nobody's in particular.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{HashMap, LruHashMap, PerCpuArray};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use profiler_common::block::{Bio, OP_MASK, OP_READ, OP_WRITE};
use profiler_common::loss as reason;
use profiler_common::neighbour::KERNEL_THREAD;
use profiler_common::offsets::ABSENT;
use profiler_common::writeback::{
    FILE_READ, FILE_WRITTEN, FILE_WRITTEN_BACK, File, FileIo, FileIoKey, FileKey, JOURNAL,
    MAX_FILES, MAX_OWNERS, METADATA, NAME_BYTES, NO_DATA, Owner, WRITTEN_BACK,
};

use crate::kernel::{load, offset, read};
use crate::{atomic, loss, ship};

/// Files that a ship made dirty, or that user space named.
#[map]
static WRITEBACK_FILES: HashMap<FileKey, File> = HashMap::with_max_entries(MAX_FILES, 0);

/// Who made other files dirty.
#[map]
static WRITEBACK_OWNERS: LruHashMap<FileKey, Owner> = LruHashMap::with_max_entries(MAX_OWNERS, 0);

/// The ship's I/O by file.
#[map]
static WRITEBACK_IO: HashMap<FileIoKey, FileIo> = HashMap::with_max_entries(MAX_FILES, 0);

/// What made pages dirty last on this CPU: nearly always it is the next one, too.
#[map]
static WRITEBACK_LAST: PerCpuArray<Last> = PerCpuArray::with_max_entries(1, 0);

/// Where a [`File`] is built, which is too large for the stacks of a program and a function together (512
/// bytes). One for each caller: a page may become dirty in an interrupt of the other.
#[map]
static WRITEBACK_SCRATCH: PerCpuArray<File> = PerCpuArray::with_max_entries(2, 0);
const FOR_DIRTIED: u32 = 0;
const FOR_ORIGIN: u32 = 1;

struct Last {
    inode: u64,
    ino: u64,
    generation: u32,
    tgid: u32,
}

/// Type of a file (`S_IFMT`, `include/uapi/linux/stat.h`).
const TYPE: u16 = 0o170_000;
/// A block device.
const BLOCK_DEVICE: u16 = 0o060_000;
/// A regular file.
const REGULAR: u16 = 0o100_000;
/// In `page.mapping`: not a mapping, but memory that is no file's (`PAGE_MAPPING_FLAGS`,
/// `include/linux/page-flags.h`).
const NO_MAPPING: u64 = 3;

/// `writeback:writeback_dirty_folio(folio, mapping)`: a page becomes dirty, in the thread that writes to
/// it. Kernels before 5.18 have `writeback_dirty_page`.
#[btf_tracepoint(function = "writeback_dirty_folio")]
pub fn writeback_dirty_folio(ctx: BtfTracePointContext) -> i32 {
    dirtied(ctx.arg(1));
    0
}

/// `writeback:writeback_dirty_page(page, mapping)`.
#[btf_tracepoint(function = "writeback_dirty_page")]
pub fn writeback_dirty_page(ctx: BtfTracePointContext) -> i32 {
    dirtied(ctx.arg(1));
    0
}

/// A page of a mapping becomes dirty.
#[inline(always)]
fn dirtied(mapping: *const c_void) -> Option<()> {
    if mapping.is_null() {
        return None;
    }
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let last = WRITEBACK_LAST.get_ptr_mut(0)?;
    // SAFETY: a tracepoint's argument, what it points to, and this CPU's value; the kernel keeps
    // interrupts off here.
    unsafe {
        let inode: *const c_void = load(mapping, offset!(mapping_host));
        let ino: u64 = load(inode, offset!(inode_ino));
        let generation: u32 = load(inode, offset!(inode_generation));
        let same = (*last).ino == ino && (*last).inode == inode as u64;
        if same && (*last).tgid == tgid && (*last).generation == generation {
            return None;
        }
        (*last).inode = inode as u64;
        (*last).ino = ino;
        (*last).generation = generation;
        (*last).tgid = tgid;
        let mode: u16 = load(inode, offset!(inode_mode));
        if mode & TYPE == REGULAR {
            learn(inode as u64, tgid, FOR_DIRTIED);
        }
    }
    Some(())
}

/// The current process makes an inode's pages dirty. Not inlined: two programs and `origin` need it, and
/// each has a stack of its own.
#[inline(never)]
fn learn(inode: u64, tgid: u32, scratch: u32) -> u32 {
    try_learn(inode as *const c_void, tgid, scratch);
    0
}

#[inline(always)]
fn try_learn(inode: *const c_void, tgid: u32, scratch: u32) -> Option<()> {
    let flags = current_flags();
    if flags & KERNEL_THREAD != 0 {
        // The loop device, say: for whom, it does not tell.
        return None;
    }
    let file = key(inode)?;
    let entry = WRITEBACK_SCRATCH.get_ptr_mut(scratch)?;
    // SAFETY: this CPU's and this caller's scratch.
    let entry = unsafe { &mut *entry };
    entry.owner.tgid = tgid;
    entry.owner.flags = flags;
    entry.owner.comm = bpf_get_current_comm().unwrap_or_default();
    if let Some(known) = WRITEBACK_FILES.get_ptr_mut(file) {
        // SAFETY: a live map value; entries are never removed. Of two processes at once, either will do.
        unsafe {
            if (*known).owner.tgid != tgid {
                (*known).owner = entry.owner;
            }
        }
        return Some(());
    }
    if ship::watches(tgid) {
        entry.name = [0; NAME_BYTES];
        entry.directory = [0; NAME_BYTES];
        name(inode, entry);
        if WRITEBACK_FILES.insert(file, &*entry, 0).is_err() {
            loss::count(reason::FILE_SLOT);
        }
        return Some(());
    }
    if let Some(known) = WRITEBACK_OWNERS.get_ptr(file) {
        // SAFETY: a live map value; it may have become another file's, which is then said wrongly once.
        if unsafe { (*known).tgid } == tgid {
            return Some(());
        }
    }
    let _ = WRITEBACK_OWNERS.insert(file, entry.owner, 0);
    Some(())
}

#[inline(always)]
fn current_flags() -> u32 {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() } as *const c_void;
    read(task, offset!(task_flags)).unwrap_or(0)
}

#[inline(always)]
fn key(inode: *const c_void) -> Option<FileKey> {
    let sb = read::<u64>(inode, offset!(inode_sb))? as *const c_void;
    Some(FileKey {
        dev: read(sb, offset!(sb_dev))?,
        generation: read(inode, offset!(inode_generation))?,
        ino: read(inode, offset!(inode_ino))?,
    })
}

/// Names a file as the first of its directory entries does.
#[inline(always)]
fn name(inode: *const c_void, file: &mut File) -> Option<()> {
    if offset!(dentry_alias) == ABSENT || offset!(dentry_name) == ABSENT {
        return None;
    }
    let alias = read::<u64>(inode, offset!(inode_dentry))?;
    if alias == 0 {
        return None;
    }
    let dentry = (alias - u64::from(offset!(dentry_alias))) as *const c_void;
    let parent = read::<u64>(dentry, offset!(dentry_parent))? as *const c_void;
    for (dentry, text) in [(dentry, &mut file.name), (parent, &mut file.directory)] {
        let from = read::<u64>(dentry, offset!(dentry_name))?;
        // SAFETY: the helper checks the address, and writes at most that much.
        unsafe {
            bpf_probe_read_kernel_str(
                text.as_mut_ptr().cast(),
                NAME_BYTES as u32,
                from as *const c_void,
            )
        };
    }
    Some(())
}

/// The inode that the first page of a bio belongs to; nothing for memory that is no file's.
#[inline(always)]
fn inode_of(bio: *const c_void) -> Option<*const c_void> {
    if offset!(page_mapping) == ABSENT {
        return None;
    }
    let index = u64::from(read::<u32>(bio, offset!(bio_index))?);
    let vec = read::<u64>(bio, offset!(bio_vecs))? + index * u64::from(offset!(bvec_bytes));
    let mut page = read::<u64>(vec as *const c_void, offset!(bvec_page))?;
    if offset!(page_compound_head) != ABSENT {
        // Bit 0 says that it is not the first page of its folio, which alone has the mapping.
        let head = read::<u64>(page as *const c_void, offset!(page_compound_head))?;
        if head & 1 != 0 {
            page = head - 1;
        }
    }
    let mapping = read::<u64>(page as *const c_void, offset!(page_mapping))?;
    if mapping == 0 || mapping & NO_MAPPING != 0 {
        return None;
    }
    let inode = read::<u64>(mapping as *const c_void, offset!(mapping_host))? as *const c_void;
    // Pages of the kernel's allocators keep other things in the same place.
    let back = read::<u64>(inode, offset!(inode_mapping))?;
    (back == mapping).then_some(inode)
}

/// Says in `entry` whose a bio is: `tgid`, `owned`, `via`, `file`. The thread that queues it is there
/// already, as the one to be charged. Gives the name of the one to be charged, if that is another: a live
/// map value, since a copy is too much for the stack.
#[inline(always)]
pub fn origin(bio: *const c_void, entry: &mut Bio) -> Option<*const Owner> {
    let op = entry.opf & OP_MASK;
    let moves = op == OP_READ || op == OP_WRITE;
    if !moves || entry.bytes == 0 {
        entry.file = NO_DATA;
        return None;
    }
    let inode = inode_of(bio)?;
    let mode = read::<u16>(inode, offset!(inode_mode))? & TYPE;
    let watched = entry.watched != 0;
    let kernel = !watched && current_flags() & KERNEL_THREAD != 0;
    if mode == BLOCK_DEVICE {
        entry.file = METADATA;
        if kernel && op == OP_WRITE {
            entry.via = JOURNAL;
        }
        return None;
    }
    let file = key(inode)?;
    if watched {
        if WRITEBACK_FILES.get_ptr(file).is_none() && mode == REGULAR {
            learn(inode as u64, entry.tgid, FOR_ORIGIN);
        }
        entry.file = file;
        return None;
    }
    // A process that reads, reads for itself. A kernel thread does for whoever's the page is: below a
    // device that is made of others it passes requests on.
    if op == OP_READ && !kernel {
        return None;
    }
    let owner = owner(file)?;
    // SAFETY: a live map value; an owner that changes meanwhile is either.
    let tgid = unsafe { (*owner).tgid };
    if tgid == entry.tgid {
        return None;
    }
    entry.tgid = tgid;
    entry.via = WRITTEN_BACK;
    if ship::watches(tgid) {
        entry.owned = 1;
        entry.file = file;
    }
    Some(owner)
}

/// Who made a file dirty last.
#[inline(always)]
fn owner(mut file: FileKey) -> Option<*const Owner> {
    if let Some(known) = WRITEBACK_FILES.get_ptr(file) {
        // SAFETY: the address of a field of a live map value.
        return Some(unsafe { &raw const (*known).owner });
    }
    if let Some(owner) = WRITEBACK_OWNERS.get_ptr(file) {
        return Some(owner);
    }
    // As user space named it.
    file.generation = 0;
    let known = WRITEBACK_FILES.get_ptr(file)?;
    // SAFETY: as above.
    Some(unsafe { &raw const (*known).owner })
}

/// Adds one of the ship's bios, which is done, to the sums of its file.
#[inline(always)]
pub fn bio_done(bio: &Bio, bytes: u64, queue_ns: u64, device_ns: u64, busy_ns: u64) -> Option<()> {
    let op = bio.opf & OP_MASK;
    let key = FileIoKey {
        file: bio.file,
        dev: bio.dev,
        how: match (op, bio.watched) {
            (OP_READ, _) => FILE_READ,
            (_, 0) => FILE_WRITTEN_BACK,
            _ => FILE_WRITTEN,
        },
    };
    let sums = match WRITEBACK_IO.get_ptr_mut(key) {
        Some(sums) => sums,
        None => {
            let zeroes = FileIo {
                count: 0,
                bytes: 0,
                queue_ns: 0,
                device_ns: 0,
                busy_ns: 0,
            };
            // `BPF_NOEXIST`: another CPU may have been first, and counted already.
            let _ = WRITEBACK_IO.insert(key, zeroes, 1);
            let Some(sums) = WRITEBACK_IO.get_ptr_mut(key) else {
                loss::count(reason::FILE_SLOT);
                return None;
            };
            sums
        }
    };
    // SAFETY: a live map value; entries are never removed. Completions run on several CPUs at once.
    unsafe {
        atomic::add(&raw mut (*sums).count, 1);
        atomic::add(&raw mut (*sums).bytes, bytes);
        atomic::add(&raw mut (*sums).queue_ns, queue_ns);
        atomic::add(&raw mut (*sums).device_ns, device_ns);
        atomic::add(&raw mut (*sums).busy_ns, busy_ns);
    }
    Some(())
}
