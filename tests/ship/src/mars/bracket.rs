//! The bracket of system calls around every top-level computation (vere `manage.c:374-443,1480-1559`).
//!
//! Its start is `sigaltstack` with a stack. Its end is `sigaltstack` with `SS_DISABLE` and an `ITIMER_VIRTUAL` of 0,
//! twice after success, once after failure.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use anyhow::Context;

use crate::compute::INTERRUPTED;
use crate::sys;

/// Bytes of the signal stack (vere asks for 8192 bytes as the kernel sees it).
const STACK_BYTES: usize = 0x2000;

/// Write end of the pipe by which SIGUSR1 reaches the loop.
static SIGNAL_PIPE: OnceLock<OwnedFd> = OnceLock::new();

/// The signals that end a computation.
const INTERRUPTS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGVTALRM];

/// The signal set-up of mars.
pub struct Bracket {
    stack: Box<[u8; STACK_BYTES]>,
    /// The pipe with one byte in it that libuv uses as a lock on its table of signals.
    lock: (OwnedFd, OwnedFd),
    signals: OwnedFd,
}

impl Bracket {
    /// Sets the signals up as they are while mars is idle.
    pub fn new() -> anyhow::Result<Self> {
        let pipe = || {
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("cannot make a pipe")
        };
        let (signals, wake) = pipe()?;
        let lock = pipe()?;
        rustix::io::write(&lock.1, &[0]).context("cannot write to a pipe")?;
        SIGNAL_PIPE
            .set(wake)
            .ok()
            .context("the signals are set up twice")?;
        for signal in INTERRUPTS {
            sys::set_signal(signal, libc::SIG_IGN, 0);
        }
        let bracket = Self {
            stack: Box::new([0; STACK_BYTES]),
            lock,
            signals,
        };
        bracket.watch_usr1();
        Ok(bracket)
    }

    /// Becomes readable when SIGUSR1 asks for the status.
    pub fn signals(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Begins a computation.
    pub fn enter(&mut self) {
        // From here to the end of the computation SIGUSR1 kills the process, as it does in vere.
        self.lock_signal_table();
        sys::set_signal(libc::SIGUSR1, libc::SIG_DFL, 0);
        set_signal_stack(&libc::stack_t {
            ss_sp: self.stack.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: STACK_BYTES,
        });
        let handler: extern "C" fn(libc::c_int) = on_interrupt;
        for signal in INTERRUPTS {
            sys::set_signal(signal, handler as usize, 0);
        }
    }

    /// Ends a computation. After success this is done twice, with the copying of the result between.
    pub fn leave(&mut self) {
        for signal in INTERRUPTS {
            sys::set_signal(signal, libc::SIG_IGN, 0);
        }
        set_signal_stack(&libc::stack_t {
            ss_sp: std::ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        });
        stop_virtual_timer();
    }

    /// Lets SIGUSR1 ask for the status again.
    pub fn watch_usr1(&self) {
        self.lock_signal_table();
        let handler: extern "C" fn(libc::c_int) = on_usr1;
        sys::set_signal(libc::SIGUSR1, handler as usize, libc::SA_RESTART);
    }

    /// Takes libuv's lock and gives it back: its table of signals is per process, and is changed under it.
    fn lock_signal_table(&self) {
        let mut token = [0];
        let _one_byte = rustix::io::read(&self.lock.0, &mut token);
        let _one_byte = rustix::io::write(&self.lock.1, &token);
    }
}

fn set_signal_stack(stack: &libc::stack_t) {
    // SAFETY: a stack that is enabled lives in the bracket, which lives as long as mars computes.
    unsafe { libc::sigaltstack(stack, std::ptr::null_mut()) };
}

fn stop_virtual_timer() {
    const ITIMER_VIRTUAL: libc::c_int = 1;
    let stopped = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    let timer = libc::itimerval {
        it_interval: stopped,
        it_value: stopped,
    };
    // SAFETY: the kernel reads the struct, and writes no old value.
    unsafe {
        libc::syscall(
            libc::SYS_setitimer,
            ITIMER_VIRTUAL,
            &timer,
            std::ptr::null_mut::<libc::itimerval>(),
        )
    };
}

extern "C" fn on_interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

extern "C" fn on_usr1(_signal: libc::c_int) {
    if let Some(pipe) = SIGNAL_PIPE.get() {
        let _full_pipe_is_readable = rustix::io::write(pipe, &[1]);
    }
}
