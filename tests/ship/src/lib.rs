//! The reference ship: two processes that show the kernel what the king and mars of vere 4.6 show, or the king and serf
//! of 3.5, around work whose amount is known. It is what the profiler is tried on where no real ship can run; the profiler must not know it.
//!
//! `reference-ship PIER` is the king, which starts `reference-ship work …` as mars (`serf …` for 3.5); `reference-ship peer …` sends it
//! Ames packets from another process.

mod compute;
mod disk;
mod hoon;
mod king;
mod loom;
mod mars;
mod options;
mod ovum;
mod packet;
mod peer;
mod pier;
mod reactor;
mod spin;
mod stream;
mod sys;
mod task;
mod truth;

use clap::Parser;

pub use sys::ignore_broken_pipes;

/// Runs the part of the ship that the command line asks for, and returns the exit status. Like vere, it tells its parts
/// apart by the first argument.
///
/// # Errors
/// What stopped the ship, for the operator to read.
pub fn run() -> anyhow::Result<u8> {
    match std::env::args().nth(1).as_deref() {
        Some("work") => mars::run(&options::MarsOptions::parse_from(std::env::args().skip(1))),
        Some("serf") => mars::run_serf(&options::SerfOptions::parse_from(std::env::args().skip(1))),
        Some("peer") => peer::run(&options::PeerOptions::parse_from(std::env::args().skip(1))),
        _ => king::run(options::KingOptions::parse()),
    }
}
