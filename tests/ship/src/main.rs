//! The reference ship's program: see the library for what it does.
#![no_main]

use std::ffi::{c_char, c_int};

/// The process's entry, called by the C runtime.
///
/// Not Rust's usual `main`: that one turns a signal stack on for the main thread and for every thread started later,
/// and each `sigaltstack` of the main thread must mean the start or the end of a computation, as it does in vere.
///
/// # Safety
/// Nothing is asked of the caller: the arguments are not used, `std::env::args` gets them from the C runtime.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    reference_ship::ignore_broken_pipes();
    let status = match reference_ship::run() {
        Ok(status) => status,
        Err(error) => {
            eprintln!("reference-ship: {error:#}");
            1
        }
    };
    status.into()
}
