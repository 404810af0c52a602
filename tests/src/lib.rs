//! Runs the reference ship, injects faults into its machine, runs `profile` on it, and undoes all of it.
//!
//! Every change to the machine is a guard: dropping it undoes the change, and so do a panic, SIGINT,
//! SIGTERM and SIGHUP ([`undo`]). What a killed run left behind is recognised by name and removed by
//! the next one ([`scratch`]).

pub mod accuracy;
pub mod bpf;
pub mod error;
pub mod faults;
pub mod gate;
pub mod ground_truth;
#[cfg(test)]
mod interrupt;
pub mod peer;
pub mod process;
pub mod profile;
pub mod scratch;
pub mod ship;
pub mod terminal;
pub mod trace;
pub mod undo;
pub mod workspace;
pub mod zig;

pub use error::{Error, Result};
