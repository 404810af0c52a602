//! The loom: the one mapping, at a fixed address, that holds all nouns of a ship (vere `pkg/noun`).
//!
//! Pages that equal the snapshot are mapped from `image.bin`, private and read-only. The first write to one is a
//! SIGSEGV, whose handler notes the page as dirty and makes it writable.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

use crate::sys;

/// Where the loom lies on 64-bit Linux (vere `pkg/c3/portable.h:150`).
pub const BASE: usize = 0x2_0000_0000;

/// Bytes of a loom page (vere `allocate.h:32`).
pub const PAGE_BYTES: usize = 16384;

/// Words of a loom page.
const PAGE_WORDS: u32 = 4096;

/// Version of the home struct in vere 4.x, and its parameters in 4.6: 32-bit words, 4096 of them a page, references
/// shifted by one bit more than their alignment of 8 (vere `manage.c:_pave_params`).
pub const HOME_VERSION: u64 = 5;
/// What stands there in a loom of vere 3.5, which has its home at the other end: no version.
pub const UNKNOWN_VERSION: u64 = 0;
const HOME_PARAMETERS: u64 = 0x54;

/// Offsets into the home struct, in bytes.
mod home {
    pub const VERSION: usize = 0;
    pub const PARAMETERS: usize = 8;
    pub const EVENT_NUMBER: usize = 16;
    pub const ROAD: usize = 32;
}

/// Offsets into a road, in bytes. All these fields are word offsets into the loom.
mod road {
    pub const PARENT: usize = 0x00;
    pub const KID: usize = 0x04;
    pub const CAP: usize = 0x0c;
    pub const HAT: usize = 0x10;
    pub const MAT: usize = 0x14;
    pub const RUT: usize = 0x18;
    pub const TAX: usize = 0x51c;
    pub const BYTES: usize = 0x558;
}

/// Words at the top of the loom that a 4.6 ship leaves unused, and the distance from there to the kid road and to the
/// stack pointer while an event computes: as recorded on one.
const TOP_WORDS: u32 = 4;
const KID_BELOW_MAT_WORDS: u32 = 0x15c;
const CAP_BELOW_MAT_WORDS: u32 = 0x15a;
const _: () = assert!(KID_BELOW_MAT_WORDS as usize * 4 >= road::BYTES);

/// Words between the parent's heap and the kid's stack (vere leaves 2^20 on a loom of 2 GB).
const PAD_WORDS: u32 = 1 << 20;

/// Where the constants of the ship's code lie: behind the home struct, on its page.
const CONSTANTS: usize = 0x800;
const _: () = assert!(CONSTANTS >= home::ROAD + road::BYTES);

/// One bit per loom page, set when the page differs from the snapshot: as many as the largest loom has.
static DIRTY: [AtomicU64; 1 << 14] = [const { AtomicU64::new(u64::MAX) }; 1 << 14];

/// Pages made dirty by a write, since the start of the process.
static FAULTS: AtomicU64 = AtomicU64::new(0);

/// First address after the loom, for the fault handler.
static END: AtomicUsize = AtomicUsize::new(0);

/// The loom of this process. There can be only one, since it has one address.
pub struct Loom {
    bytes: usize,
    image_pages: usize,
    /// What its version word says.
    version: u64,
}

impl Loom {
    /// Maps an empty loom of 2^`bex` bytes, with a home road whose heap is `heap_pages` long.
    pub fn map(bex: u32, heap_pages: u32, version: u64) -> io::Result<Self> {
        let bytes = 1_usize << bex;
        // Without MAP_NORESERVE, as in vere: a loom beyond RAM and swap is refused.
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: nothing else of this process lies there: the program is linked below, the kernel places libraries,
        // stacks and heaps far above.
        unsafe {
            rustix::mm::mmap_anonymous(
                pointer(0).cast(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )?
        };
        END.store(BASE + bytes, Ordering::Relaxed);
        let loom = Self {
            bytes,
            image_pages: 0,
            version,
        };
        loom.pave(heap_pages);
        Ok(loom)
    }

    /// Writes the home struct of an empty ship.
    fn pave(&self, heap_pages: u32) {
        let mat = self.words() - TOP_WORDS;
        self.set_u64(home::VERSION, self.version);
        self.set_u64(home::PARAMETERS, HOME_PARAMETERS);
        self.set_u32(home::ROAD + road::CAP, mat);
        self.set_u32(home::ROAD + road::MAT, mat);
        self.set_u32(home::ROAD + road::RUT, PAGE_WORDS);
        self.set_u32(home::ROAD + road::HAT, PAGE_WORDS * (1 + heap_pages));
    }

    /// Makes the version word that of this program, or of none.
    pub fn set_known(&self, known: bool) {
        let version = if known { self.version } else { UNKNOWN_VERSION };
        self.set_u64(home::VERSION, version);
    }

    /// Whether the home struct is one that this program wrote.
    pub fn has_known_layout(&self) -> bool {
        self.u64_at(home::VERSION) == self.version
            && self.u64_at(home::PARAMETERS) == HOME_PARAMETERS
    }

    /// Moves the top of the stack to where this loom ends: it may have been larger or smaller at the snapshot.
    pub fn fit_stack(&self) {
        let mat = self.words() - TOP_WORDS;
        if self.u32_at(home::ROAD + road::MAT) != mat {
            self.set_u32(home::ROAD + road::MAT, mat);
            self.set_u32(home::ROAD + road::CAP, mat);
        }
    }

    /// The last event computed.
    pub fn event_number(&self) -> u64 {
        self.u64_at(home::EVENT_NUMBER)
    }

    /// Notes that an event was computed.
    pub fn set_event_number(&self, number: u64) {
        self.set_u64(home::EVENT_NUMBER, number);
    }

    /// Loom pages from the base to the end of the home heap, the home page included.
    pub fn used_pages(&self) -> usize {
        (self.u32_at(home::ROAD + road::HAT) / PAGE_WORDS) as usize
    }

    /// The home heap: address of the first byte, and length in bytes.
    pub fn heap(&self) -> (*mut u32, usize) {
        (pointer(PAGE_BYTES), (self.used_pages() - 1) * PAGE_BYTES)
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// What is free in one piece, between heap and stack.
    pub fn open_bytes(&self) -> u64 {
        let [mat, hat] = [road::MAT, road::HAT].map(|field| self.u32_at(home::ROAD + field));
        u64::from(mat - hat) * 4
    }

    /// Opens the road of an event below the top of the loom: its heap grows down, its stack up (vere `u3m_leap`).
    pub fn leap(&self) -> Kid {
        let hat = self.u32_at(home::ROAD + road::HAT);
        let mat = self.u32_at(home::ROAD + road::MAT);
        let kid = mat - KID_BELOW_MAT_WORDS;
        let rut = kid / PAGE_WORDS * PAGE_WORDS;
        let pad = PAD_WORDS.min((rut - hat) / 4 / PAGE_WORDS * PAGE_WORDS);
        let at = kid as usize * 4;
        self.set_u32(at + road::PARENT, (home::ROAD / 4) as u32);
        self.set_u32(at + road::KID, 0);
        self.set_u32(at + road::TAX, 0);
        self.set_u32(at + road::CAP, hat + pad);
        self.set_u32(at + road::MAT, hat + pad);
        self.set_u32(at + road::RUT, rut);
        self.set_u32(at + road::HAT, rut);
        self.set_u32(home::ROAD + road::CAP, mat - CAP_BELOW_MAT_WORDS);
        self.set_u32(home::ROAD + road::KID, kid);
        Kid { at, rut }
    }

    /// Closes the road of an event (vere `u3m_fall`).
    pub fn fall(&self, _kid: Kid) {
        self.set_u32(home::ROAD + road::KID, 0);
        self.set_u32(home::ROAD + road::CAP, self.u32_at(home::ROAD + road::MAT));
    }

    /// Puts one inaccessible page into the middle of the free gap, which no road may grow over.
    pub fn guard(&self) -> io::Result<()> {
        let middle = (self.used_pages() + self.bytes / PAGE_BYTES) / 2;
        // SAFETY: the gap holds nothing that this program accesses.
        unsafe {
            Ok(rustix::mm::mprotect(
                pointer(middle * PAGE_BYTES).cast(),
                PAGE_BYTES,
                MprotectFlags::empty(),
            )?)
        }
    }

    /// Lays the first `pages` of the snapshot over the loom. They are clean from now on.
    pub fn map_image(&mut self, image: impl AsFd, pages: usize) -> io::Result<()> {
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        // SAFETY: the file holds what these pages hold, or the pages are not read yet; no reference into them exists.
        unsafe {
            rustix::mm::mmap(
                pointer(0).cast(),
                pages * PAGE_BYTES,
                ProtFlags::READ,
                flags,
                image,
                0,
            )?
        };
        for page in 0..pages {
            let (word, bit) = dirty_bit(page);
            word.fetch_and(!bit, Ordering::Relaxed);
        }
        self.image_pages = pages;
        Ok(())
    }

    /// Maps empty memory over pages that were part of the last snapshot and are not of this one.
    pub fn map_freed_tail(&self, used_pages: usize) -> io::Result<()> {
        let Some(pages) = self
            .image_pages
            .checked_sub(used_pages)
            .filter(|&pages| pages > 0)
        else {
            return Ok(());
        };
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        let start = pointer(used_pages * PAGE_BYTES).cast();
        // SAFETY: the pages lie above the heap, where nothing is kept between events.
        unsafe {
            rustix::mm::mmap_anonymous(
                start,
                pages * PAGE_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )?;
        }
        Ok(())
    }

    /// Gives the memory of the gap back, up to the page of the kid road.
    pub fn drop_gap(&self) -> io::Result<()> {
        let start = self.used_pages() * PAGE_BYTES;
        let end = self.bytes - PAGE_BYTES;
        // SAFETY: nothing in the gap is kept between events.
        unsafe {
            Ok(rustix::mm::madvise(
                pointer(start).cast(),
                end - start,
                Advice::LinuxDontNeed,
            )?)
        }
    }

    /// Whether the page differs from the snapshot.
    pub fn is_dirty(&self, page: usize) -> bool {
        let (word, bit) = dirty_bit(page);
        word.load(Ordering::Relaxed) & bit != 0
    }

    /// Pages of home struct and heap that differ from the snapshot.
    pub fn dirty_pages(&self) -> Vec<usize> {
        (0..self.used_pages())
            .filter(|&page| self.is_dirty(page))
            .collect()
    }

    /// The bytes of a page of home struct or heap.
    pub fn page(&self, page: usize) -> &[u8] {
        assert!(
            page < self.used_pages(),
            "loom page {page} lies above the heap"
        );
        // SAFETY: the page is mapped and readable, and the borrow of the loom keeps safe code from writing to it.
        unsafe { std::slice::from_raw_parts(pointer(page * PAGE_BYTES).cast::<u8>(), PAGE_BYTES) }
    }

    fn words(&self) -> u32 {
        (self.bytes / 4) as u32
    }

    /// Offset of the room for constants of the ship's code.
    pub fn constants(&self) -> usize {
        CONSTANTS
    }

    fn u32_at(&self, offset: usize) -> u32 {
        debug_assert!(offset + 4 <= self.bytes);
        // SAFETY: the offset lies within the loom and is aligned; volatile, since the profiler's view is the purpose.
        unsafe { pointer(offset).read_volatile() }
    }

    /// Writes one word.
    pub fn set_u32(&self, offset: usize, value: u32) {
        debug_assert!(offset + 4 <= self.bytes);
        // SAFETY: as above; a read-only page is made writable by the fault handler.
        unsafe { pointer(offset).write_volatile(value) }
    }

    fn u64_at(&self, offset: usize) -> u64 {
        // SAFETY: as above, and all 64-bit fields are aligned to 8.
        unsafe { pointer(offset).cast::<u64>().read_volatile() }
    }

    fn set_u64(&self, offset: usize, value: u64) {
        // SAFETY: as above.
        unsafe { pointer(offset).cast::<u64>().write_volatile(value) }
    }
}

/// The road of an event that computes.
pub struct Kid {
    at: usize,
    rut: u32,
}

impl Kid {
    /// Copies bytes to the road's heap and returns where they are. They last until the road falls.
    pub fn allocate(&self, loom: &Loom, bytes: &[u8]) -> *const u8 {
        let words = (bytes.len().div_ceil(16) * 4) as u32;
        let hat = loom.u32_at(self.at + road::HAT) - words;
        debug_assert!(
            self.rut - hat < PAD_WORDS,
            "an event's result outgrew its road"
        );
        loom.set_u32(self.at + road::HAT, hat);
        let start = pointer(hat as usize * 4).cast::<u8>();
        // SAFETY: the range is free heap of this road: above its stack, below what was allocated before.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        start
    }
}

impl Kid {
    /// Frees all that was allocated.
    pub fn free(&self, loom: &Loom) {
        loom.set_u32(self.at + road::HAT, self.rut);
    }

    /// Opens a road inside of the innermost, on this one's heap (vere `u3m_leap`).
    pub fn leap(&self, loom: &Loom) {
        let parent = self.innermost(loom);
        self.allocate(loom, &[0; road::BYTES]);
        let inside = loom.u32_at(self.at + road::HAT);
        loom.set_u32(inside as usize * 4 + road::PARENT, (parent / 4) as u32);
        loom.set_u32(parent + road::KID, inside);
    }

    /// Closes all roads inside of this one.
    pub fn fall(&self, loom: &Loom) {
        loom.set_u32(self.at + road::KID, 0);
    }

    /// What the innermost road's computing is under: a list of hints.
    pub fn hints(&self, loom: &Loom) -> u32 {
        loom.u32_at(self.innermost(loom) + road::TAX)
    }

    /// Replaces it.
    pub fn set_hints(&self, loom: &Loom, list: u32) {
        loom.set_u32(self.innermost(loom) + road::TAX, list);
    }

    /// Replaces what the innermost road's list has behind its first hint.
    pub fn set_rest(&self, loom: &Loom, rest: u32) {
        let first = self.hints(loom) & 0x3fff_ffff;
        loom.set_u32(((first as usize) << 4) + 12, rest);
    }

    /// The cell that was allocated last.
    pub fn newest(&self, loom: &Loom) -> u32 {
        loom.u32_at(self.at + road::HAT) >> 2 | 0xc000_0000
    }

    fn innermost(&self, loom: &Loom) -> usize {
        let mut road = self.at;
        loop {
            match loom.u32_at(road + road::KID) {
                0 => return road,
                inside => road = inside as usize * 4,
            }
        }
    }
}

/// A pointer to a byte of the loom by its offset.
fn pointer(offset: usize) -> *mut u32 {
    std::ptr::with_exposed_provenance_mut(BASE + offset)
}

/// Clean pages written to so far: as many as there were SIGSEGVs and `mprotect`s.
pub fn faults() -> u64 {
    FAULTS.load(Ordering::Relaxed)
}

fn dirty_bit(page: usize) -> (&'static AtomicU64, u64) {
    (&DIRTY[page / 64 % DIRTY.len()], 1 << (page % 64))
}

/// Lets the first write to a clean page make it dirty. The handler runs on the signal stack while an event computes.
pub fn install_fault_handler() {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_fault;
    sys::set_signal(
        libc::SIGSEGV,
        handler as usize,
        libc::SA_SIGINFO | libc::SA_ONSTACK,
    );
}

/// vere's `u3m_fault` and `u3e_fault`.
extern "C" fn on_fault(
    _signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid siginfo to a handler that was set with SA_SIGINFO.
    let address = unsafe { (*info).si_addr() } as usize;
    let in_loom = (BASE..END.load(Ordering::Relaxed)).contains(&address);
    let page = address.wrapping_sub(BASE) / PAGE_BYTES;
    if !in_loom
        || dirty_bit(page)
            .0
            .fetch_or(dirty_bit(page).1, Ordering::Relaxed)
            & dirty_bit(page).1
            != 0
    {
        // Not a clean page: let the fault happen again, and end the process.
        sys::set_signal(libc::SIGSEGV, libc::SIG_DFL, 0);
        return;
    }
    FAULTS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: mprotect is a bare system call, and the page lies in the loom.
    let result = unsafe {
        libc::mprotect(
            pointer(page * PAGE_BYTES).cast(),
            PAGE_BYTES,
            libc::PROT_READ | libc::PROT_WRITE,
        )
    };
    if result != 0 {
        const MESSAGE: &[u8] =
            b"loom: fault mprotect: the page cannot be made writable; raise vm.max_map_count\r\n";
        // SAFETY: write and abort may be called in a signal handler.
        unsafe {
            libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::abort();
        }
    }
}
