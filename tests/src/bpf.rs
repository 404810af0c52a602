//! The few calls of `bpf(2)` that are made by hand: the smallest program, and the numbers of what is loaded
//! (include/uapi/linux/bpf.h).

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// `enum bpf_cmd`.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_GET_NEXT_ID: libc::c_int = 11;
const BPF_MAP_GET_NEXT_ID: libc::c_int = 12;
/// `enum bpf_prog_type`.
const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// Attributes of `BPF_PROG_LOAD`, as far as the smallest program needs them (the kernel takes what is left
/// out as zero).
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
}

/// Attributes of the commands that give numbers: after `start`, the one that comes `next`.
#[repr(C)]
#[derive(Default)]
struct NumberAttributes {
    start: u32,
    next: u32,
    open_flags: u32,
}

/// Makes the call.
///
/// # Safety
/// The attributes are those of the command, and what they point to lives until the call returns.
unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the attributes live until the call returns, the size is theirs, and the rest is the caller's.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) };
    let done = libc::c_int::try_from(done).unwrap_or(-1);
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(done)
}

/// Loads `return 0` as a raw tracepoint program, the kind that ours need the most rights for.
///
/// # Errors
/// What the kernel says if it does not take it.
pub fn load_program() -> io::Result<()> {
    // r0 = 0 (BPF_ALU64 | BPF_MOV | BPF_K); exit (BPF_JMP | BPF_EXIT).
    let instructions: [u64; 2] = [0xb7, 0x95];
    let license = c"GPL";
    let mut attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
        instruction_count: 2,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
    };
    // SAFETY: instructions and license live until the call returns, and the kernel only reads them.
    let fd = unsafe { call(BPF_PROG_LOAD, &mut attributes)? };
    // SAFETY: the call made this descriptor and nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

/// The numbers of all programs in the kernel. None is opened for it.
///
/// # Errors
/// If the right to list them is missing.
pub fn program_numbers() -> io::Result<BTreeSet<u32>> {
    numbers(BPF_PROG_GET_NEXT_ID)
}

/// The same of all maps.
///
/// # Errors
/// If the right to list them is missing.
pub fn map_numbers() -> io::Result<BTreeSet<u32>> {
    numbers(BPF_MAP_GET_NEXT_ID)
}

fn numbers(command: libc::c_int) -> io::Result<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    let mut attributes = NumberAttributes::default();
    loop {
        // SAFETY: they point to nothing, and the kernel writes nothing but `next`.
        match unsafe { call(command, &mut attributes) } {
            Ok(_) => {
                numbers.insert(attributes.next);
                attributes.start = attributes.next;
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(numbers),
            Err(error) => return Err(error),
        }
    }
}
