//! Reading kernel structures at offsets that user space found in the kernel's BTF.

use aya_ebpf::helpers::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_task_pt_regs,
};
use core::ffi::c_void;
use profiler_common::arch::{KERNEL_STACK_BYTES, NO_SYSCALL};
use profiler_common::offsets::{ABSENT, Offsets};

/// Overridden by the loader with the running kernel's.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets {
    task_pid: ABSENT,
    task_tgid: ABSENT,
    task_state: ABSENT,
    task_stack: ABSENT,
    task_comm: ABSENT,
    task_flags: ABSENT,
    task_sum_exec: ABSENT,
    regs_syscall: ABSENT,
    regs_ip: ABSENT,
    regs_sp: ABSENT,
    regs_fp: ABSENT,
    regs_argument_1: ABSENT,
    regs_argument_2: ABSENT,
    regs_argument_3: ABSENT,
    task_mm: ABSENT,
    mm_start_code: ABSENT,
    task_sighand: ABSENT,
    sighand_restorer: ABSENT,
    regs_bytes: ABSENT,
    has_task_pt_regs: 0,
    switch_has_prev_state: 0,
    request_bio: ABSENT,
    bio_next: ABSENT,
    bio_opf: ABSENT,
    bio_sector: ABSENT,
    bio_size: ABSENT,
    bio_private: ABSENT,
    bio_bdev: ABSENT,
    bdev_disk: ABSENT,
    bio_disk: ABSENT,
    bio_vecs: ABSENT,
    bio_index: ABSENT,
    bvec_bytes: ABSENT,
    bvec_page: ABSENT,
    page_compound_head: ABSENT,
    page_mapping: ABSENT,
    mapping_host: ABSENT,
    inode_mode: ABSENT,
    inode_mapping: ABSENT,
    inode_ino: ABSENT,
    inode_generation: ABSENT,
    inode_sb: ABSENT,
    sb_dev: ABSENT,
    inode_dentry: ABSENT,
    dentry_alias: ABSENT,
    dentry_parent: ABSENT,
    dentry_name: ABSENT,
    disk_major: ABSENT,
    disk_first_minor: ABSENT,
    bio_queue_arg: 0,
    bio_split_arg: 0,
    rq_issue_arg: 0,
    sock_port: ABSENT,
    sock_net: ABSENT,
    sock_protocol: ABSENT,
    net_inum: ABSENT,
    sock_cookie: ABSENT,
    sock_queue_length: ABSENT,
    udp_reader_queue_length: ABSENT,
};

/// The value of a global that the loader overrides. Volatile: the compiler must not see the
/// value below; the verifier sees the loader's and treats it as a constant.
#[inline(always)]
pub fn constant<T: Copy>(global: *const T) -> T {
    // SAFETY: only ever called with addresses of this crate's statics.
    unsafe { core::ptr::read_volatile(global) }
}

/// One of the [`OFFSETS`].
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::constant(&raw const $crate::kernel::OFFSETS.$field)
    };
}
pub(crate) use offset;

/// Loads a field through a pointer that the verifier knows the type of (a `tp_btf` argument, or
/// what was loaded from one): one instruction, and a fault reads as zero.
///
/// # Safety
/// `base` must be such a pointer, and `offset` a field of the size of `T`.
#[inline(always)]
pub unsafe fn load<T: Copy>(base: *const c_void, offset: u32) -> T {
    // SAFETY: by the contract; the verifier holds us to it.
    unsafe { core::ptr::read_volatile(base.cast::<u8>().add(offset as usize).cast::<T>()) }
}

/// Reads a field through any kernel pointer.
#[inline(always)]
pub fn read<T: Copy>(base: *const c_void, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe {
        bpf_probe_read_kernel(base.cast::<u8>().wrapping_add(offset as usize).cast::<T>()).ok()
    }
}

/// A `task_struct` that a tracepoint passed.
#[derive(Clone, Copy)]
pub struct Task(pub *const c_void);

impl Task {
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        // SAFETY: a tracepoint's argument.
        unsafe { load(self.0, offset!(task_tgid)) }
    }

    #[inline(always)]
    pub fn tid(self) -> u32 {
        // SAFETY: a tracepoint's argument.
        unsafe { load(self.0, offset!(task_pid)) }
    }

    /// Its state now (low 32 bits: the field was a `long` before 5.14).
    #[inline(always)]
    pub fn state(self) -> u32 {
        // SAFETY: a tracepoint's argument.
        unsafe { load(self.0, offset!(task_state)) }
    }

    /// Its time on CPU so far, by the kernel's own count (ns). Up to date when it has just been taken
    /// off the CPU.
    #[inline(always)]
    pub fn sum_exec_ns(self) -> u64 {
        // SAFETY: a tracepoint's argument.
        unsafe { load(self.0, offset!(task_sum_exec)) }
    }

    /// Its `PF_…` flags.
    #[inline(always)]
    pub fn flags(self) -> u32 {
        // SAFETY: a tracepoint's argument.
        unsafe { load(self.0, offset!(task_flags)) }
    }

    /// Its name, by two loads: a quarter of what [`Self::comm`] costs.
    #[inline(always)]
    pub fn comm_words(self) -> [u64; profiler_common::COMM_LEN / 8] {
        // SAFETY: a tracepoint's argument; the name is an array of characters of this length, which the
        // verifier lets be read in larger pieces.
        unsafe {
            [
                load(self.0, offset!(task_comm)),
                load(self.0, offset!(task_comm) + 8),
            ]
        }
    }

    /// Its name.
    #[inline(always)]
    pub fn comm(self) -> [u8; profiler_common::COMM_LEN] {
        read(self.0, offset!(task_comm)).unwrap_or([0; profiler_common::COMM_LEN])
    }

    /// Number of the syscall that it is in, from the registers saved when it entered the kernel.
    /// Right for a blocked thread; for a preempted one it may be of a call just left.
    #[inline(always)]
    pub fn syscall_nr(self) -> i32 {
        if offset!(has_task_pt_regs) != 0 {
            return saved_syscall_nr(self.0);
        }
        // SAFETY: a tracepoint's argument.
        syscall_nr_on_stack(unsafe { load(self.0, offset!(task_stack)) })
    }
}

/// Number of the syscall that the current thread is in, as [`Task::syscall_nr`].
#[inline(always)]
pub fn current_syscall_nr() -> i32 {
    if offset!(has_task_pt_regs) != 0 {
        // SAFETY: no arguments. There since 5.11, and the registers since 5.15.
        return saved_syscall_nr(unsafe { bpf_get_current_task_btf() } as *const c_void);
    }
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() } as *const c_void;
    read(task, offset!(task_stack)).map_or(NO_SYSCALL, syscall_nr_on_stack)
}

#[inline(always)]
fn saved_syscall_nr(task: *const c_void) -> i32 {
    // SAFETY: callers pass a task that the verifier knows the type of.
    let regs = unsafe { bpf_task_pt_regs(task.cast_mut().cast()) } as *const c_void;
    if regs.is_null() {
        return NO_SYSCALL;
    }
    // SAFETY: the helper returns a pointer that the verifier knows the type of.
    unsafe { load::<i64>(regs, offset!(regs_syscall)) as i32 }
}

/// Before 5.15: the registers lie at the top of the kernel stack. Padding above them came with FRED
/// (6.9), where the helper is used.
#[inline(always)]
fn syscall_nr_on_stack(stack: u64) -> i32 {
    read::<i64>(regs_on_stack(stack), offset!(regs_syscall)).map_or(NO_SYSCALL, |nr| nr as i32)
}

#[inline(always)]
fn regs_on_stack(stack: u64) -> *const c_void {
    (stack + KERNEL_STACK_BYTES - offset!(regs_bytes) as u64) as *const c_void
}

/// Instruction, stack and frame pointer that the current thread had in user space.
#[inline(always)]
pub fn user_registers() -> Option<[u64; 3]> {
    saved_registers([offset!(regs_ip), offset!(regs_sp), offset!(regs_fp)])
}

/// Number of the syscall that the current thread is in, its second and its third argument.
#[inline(always)]
pub fn syscall_arguments() -> Option<[u64; 3]> {
    saved_registers([
        offset!(regs_syscall),
        offset!(regs_argument_2),
        offset!(regs_argument_3),
    ])
}

#[inline(always)]
fn saved_registers(places: [u32; 3]) -> Option<[u64; 3]> {
    if offset!(has_task_pt_regs) != 0 {
        // SAFETY: no arguments; the helper takes the task that the other returns.
        let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const c_void;
        if regs.is_null() {
            return None;
        }
        // SAFETY: the helper returns a pointer that the verifier knows the type of.
        return Some(places.map(|place| unsafe { load(regs, place) }));
    }
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() } as *const c_void;
    let regs = regs_on_stack(read(task, offset!(task_stack))?);
    Some([
        read(regs, places[0])?,
        read(regs, places[1])?,
        read(regs, places[2])?,
    ])
}

/// What is known of the current process' code.
pub struct ProcessCode {
    /// Where the executable's begins.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Where handlers of SIGSEGV return to; 0 if there is none.
    pub restorer: u64,
}

/// Code of the current process; nothing if it has no memory.
#[inline(always)]
pub fn process_code() -> Option<ProcessCode> {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() } as *const c_void;
    let mm = read::<u64>(task, offset!(task_mm))?;
    if mm == 0 {
        return None;
    }
    let [start, end] = read::<[u64; 2]>(mm as *const c_void, offset!(mm_start_code))?;
    let restorer = if offset!(sighand_restorer) == ABSENT {
        0
    } else {
        let sighand = read::<u64>(task, offset!(task_sighand))?;
        read(sighand as *const c_void, offset!(sighand_restorer)).unwrap_or(0)
    };
    Some(ProcessCode {
        start,
        end,
        restorer,
    })
}
