//! What a blocked thread waits for, from the syscall it is in, how it sleeps, and what it is.

use profiler_common::arch::NO_SYSCALL;
use profiler_common::sched::{
    COMPACTION, RECLAIM, SWAP_IN, TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE,
};

use super::leaf::Leaf;
use crate::ship::Role;

/// What a wait means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitClass {
    /// For work: no cause.
    Idle,
    /// For a page: the page-in rule decides.
    PageIn,
    /// For something that has a leaf.
    Leaf(Leaf),
}

/// Name of a syscall on an architecture, or of what a thread is blocked for instead of one.
pub fn syscall_name(architecture: &str, syscall_nr: i32) -> &'static str {
    match syscall_nr {
        NO_SYSCALL => return "page fault",
        SWAP_IN => return "swap-in",
        RECLAIM => return "reclaim",
        COMPACTION => return "compaction",
        _ => {}
    }
    let Ok(number) = usize::try_from(syscall_nr) else {
        return "?";
    };
    let name = match architecture {
        "x86_64" => syscalls::x86_64::Sysno::new(number).map(|nr| nr.name()),
        "aarch64" => syscalls::aarch64::Sysno::new(number).map(|nr| nr.name()),
        _ => None,
    };
    name.unwrap_or("?")
}

/// Classifies a wait.
pub fn classify(role: Role, syscall: &str, task_state: u32) -> WaitClass {
    match task_state {
        TASK_INTERRUPTIBLE => interruptible(role, syscall),
        TASK_UNINTERRUPTIBLE => uninterruptible(role, syscall),
        // Stopped, or a state that a later kernel has.
        _ => WaitClass::Leaf(Leaf::Unexplained),
    }
}

/// Sleeps that a signal ends: waiting for events, for other threads, for sockets.
fn interruptible(role: Role, syscall: &str) -> WaitClass {
    match syscall {
        "swap-in" | "reclaim" | "compaction" => uninterruptible(role, syscall),
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "poll" | "ppoll" | "select"
        | "pselect6" | "nanosleep" | "clock_nanosleep" => WaitClass::Idle,
        // A pool thread waits for work on a condition variable.
        "futex" if role == Role::CommitWorker || role == Role::Other => WaitClass::Idle,
        // Mars' standard output is a blocking socket to the king (vere `pkg/vere/main.c:1086`).
        "write" | "writev" if role == Role::Mars => WaitClass::Leaf(Leaf::KingHeldUp),
        "sendto" | "sendmsg" | "sendmmsg" | "write" | "writev" if role == Role::King => {
            WaitClass::Leaf(Leaf::SendPath)
        }
        _ => WaitClass::Leaf(Leaf::Unexplained),
    }
}

/// Sleeps that nothing ends but what was waited for: storage, or a lock of the kernel.
fn uninterruptible(role: Role, syscall: &str) -> WaitClass {
    match syscall {
        "page fault" => WaitClass::PageIn,
        "swap-in" => WaitClass::Leaf(Leaf::SwapIn),
        "reclaim" => WaitClass::Leaf(Leaf::Reclaim),
        "compaction" => WaitClass::Leaf(Leaf::Compaction),
        // Mars calls it for each page that it writes to for the first time (vere `events.c`, u3e_fault).
        "mprotect" if role == Role::Mars => WaitClass::Leaf(Leaf::DirtyTracking),
        "mprotect" | "mmap" | "munmap" | "mremap" | "madvise" | "brk" => {
            WaitClass::Leaf(Leaf::MemoryMap)
        }
        "read" | "readv" | "pread64" | "preadv" | "preadv2" | "write" | "writev" | "pwrite64"
        | "pwritev" | "pwritev2" | "lseek" | "fsync" | "fdatasync" | "sync_file_range"
        | "msync" | "sync" | "syncfs" | "ftruncate" | "truncate" | "fallocate" | "open"
        | "openat" | "creat" | "close" | "unlink" | "unlinkat" | "rename" | "renameat"
        | "renameat2" | "link" | "linkat" | "mkdir" | "mkdirat" | "rmdir" | "stat" | "fstat"
        | "newfstatat" | "statx" | "lstat" | "access" | "faccessat" | "getdents64"
        | "copy_file_range" | "sendfile" => WaitClass::Leaf(file_leaf(role)),
        _ => WaitClass::Leaf(Leaf::Unexplained),
    }
}

/// Which file it must be: commits are the only work of the pool threads of the process that owns
/// the log; mars' main thread writes files for snapshots.
fn file_leaf(role: Role) -> Leaf {
    match role {
        Role::CommitWorker => Leaf::LogCommit,
        Role::Mars => Leaf::Snapshot,
        Role::King | Role::Other => Leaf::OtherFile,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_between_architectures() {
        assert_eq!(syscall_name("x86_64", 75), "fdatasync");
        assert_eq!(syscall_name("aarch64", 83), "fdatasync");
        assert_eq!(syscall_name("x86_64", -1), "page fault");
        assert_eq!(syscall_name("x86_64", 999_999), "?");
        assert_eq!(syscall_name("m68k", 1), "?");
    }

    #[test]
    fn the_same_call_means_different_things_on_different_threads() {
        let uninterruptible = TASK_UNINTERRUPTIBLE;
        let class = |role, call| classify(role, call, uninterruptible);
        assert_eq!(
            class(Role::CommitWorker, "fdatasync"),
            WaitClass::Leaf(Leaf::LogCommit)
        );
        assert_eq!(
            class(Role::Mars, "fdatasync"),
            WaitClass::Leaf(Leaf::Snapshot)
        );
        assert_eq!(
            class(Role::King, "fdatasync"),
            WaitClass::Leaf(Leaf::OtherFile)
        );
        assert_eq!(class(Role::Mars, "page fault"), WaitClass::PageIn);
        assert_eq!(
            classify(Role::CommitWorker, "futex", TASK_INTERRUPTIBLE),
            WaitClass::Idle
        );
        assert_eq!(
            classify(Role::Mars, "writev", TASK_INTERRUPTIBLE),
            WaitClass::Leaf(Leaf::KingHeldUp)
        );
    }
}
