//! Trying a fix out on the running host: its steps made and taken back again and again, with a measurement
//! each time. This is the only part of the profiler that changes a host, and only by the command that asks
//! for it.
//!
//! What is changed is a list of [`Change`]s: a place, the value that was there, and the value that is put
//! there. The list is on disk ([`UndoDirectory`]) before the first value is written, and goes when the last
//! one is back or is to stay. Taking back touches a value only where it still is the one that was put there.

mod change;
mod error;
mod file;
mod host;
mod journal;
mod mount;
mod outcome;
mod plan;
mod replay;
mod rounds;
#[cfg(test)]
mod tests;
mod threads;

pub use change::{Change, Place, Property, Undone};
pub use error::TrialError;
pub use host::{Calls, Host, Kernel};
pub use journal::{DIRECTORY, Journal, Lock, Owner, UndoDirectory};
pub use outcome::{Intent, Outcome, Predicted, SCHEMA_VERSION, StepLine, Timeline};
pub use plan::{Plan, check_entry};
pub use replay::{Applied, Left, replay};
pub use rounds::{Slot, slots};
