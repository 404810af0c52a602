//! System calls in the form that vere's libc, musl, issues them, where glibc or rustix would take another.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::time::{ClockId, clock_gettime};

/// Turns a system call's -1 into the error.
pub fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// `open(2)` on x86_64, as musl does; other machines have only `openat(2)`. The file stays open across `exec`.
pub fn open(path: &CStr, flags: libc::c_int, mode: libc::mode_t) -> io::Result<OwnedFd> {
    // O_LARGEFILE is 0 in glibc's headers for 64-bit machines; musl passes the kernel's bit.
    #[cfg(target_arch = "x86_64")]
    let flags = flags | 0o100_000;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the path is a valid C string, and open writes to no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_open, path.as_ptr(), flags, mode) };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: as above.
    let result =
        unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, mode) };
    let fd = check(result)? as RawFd;
    // SAFETY: the kernel just gave us this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `epoll_pwait(2)` without a signal mask. Being interrupted by a signal is no event.
pub fn epoll_pwait<'a>(
    epoll: BorrowedFd<'_>,
    events: &'a mut [libc::epoll_event; 1024],
    timeout_ms: i32,
) -> io::Result<&'a [libc::epoll_event]> {
    // SAFETY: the kernel writes at most 1024 events into the array; the mask is absent.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait,
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            events.len(),
            timeout_ms,
            std::ptr::null::<libc::sigset_t>(),
            8,
        )
    };
    match check(result) {
        Ok(count) => Ok(&events[..count as usize]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
        Err(error) => Err(error),
    }
}

/// CLOCK_MONOTONIC in nanoseconds, the clock of all ground truth.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// CPU time of the calling thread in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A handler of a signal: its address, `SIG_IGN` or `SIG_DFL`.
pub fn set_signal(signal: libc::c_int, handler: libc::sighandler_t, flags: libc::c_int) {
    // SAFETY: an all-zero sigaction is valid, and the handlers of this program only do what is safe in one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// A write to a closed socket must be an error, not the end of the process.
pub fn ignore_broken_pipes() {
    set_signal(libc::SIGPIPE, libc::SIG_IGN, 0);
}

/// Raises a limit as far as it may go, up to `wanted`. vere ignores a refusal as well.
pub fn raise_limit(resource: rustix::process::Resource, wanted: u64) {
    let mut limit = rustix::process::getrlimit(resource);
    limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
    let _refused = rustix::process::setrlimit(resource, limit);
}
