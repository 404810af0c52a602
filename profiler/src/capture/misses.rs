//! Runs that a program missed because the kernel was in it already on that CPU: a thread that was preempted
//! in it, or an interrupt. The kernel counts them for each program (`recursion_misses`, 5.12 and later), and
//! shows them where the program's descriptor is.

use std::fs::File;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt as _;

/// The counter of one program, held open: once privileges are given up, it could not be opened any more.
#[derive(Debug)]
pub struct Misses(File);

impl Misses {
    /// The counter of the program with this descriptor of ours; nothing if the kernel does not count.
    pub fn open(program: RawFd) -> Option<Self> {
        let file = File::open(format!("/proc/self/fdinfo/{program}")).ok()?;
        let counter = Self(file);
        counter.read().map(|_| counter)
    }

    /// The count so far.
    pub fn read(&self) -> Option<u64> {
        let mut bytes = [0; 1024];
        let length = self.0.read_at(&mut bytes, 0).ok()?;
        parse(&bytes[..length])
    }
}

/// `recursion_misses:\tN` (kernel `kernel/bpf/syscall.c`, `bpf_prog_show_fdinfo`).
fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let count = |line: &str| line.strip_prefix("recursion_misses:")?.trim().parse().ok();
    text.lines().find_map(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_where_the_kernel_has_one() {
        let text =
            b"pos:\t0\nprog_type:\t26\nrun_cnt:\t7\nrecursion_misses:\t12\nverified_insns:\t3\n";
        assert_eq!(parse(text), Some(12));
        assert_eq!(parse(b"pos:\t0\nprog_type:\t26\nrun_cnt:\t7\n"), None);
        assert_eq!(parse(b"recursion_misses:\tmany\n"), None);
    }
}
