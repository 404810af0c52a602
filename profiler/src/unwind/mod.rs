//! C stacks made whole: the frames that frame pointers do not show.
//!
//! Frame pointers lead from function to function, except through those that keep none: musl's, and
//! assembler. Where one of these is innermost, its caller is missing, and if it uses the register for
//! something else, everything is. The programs copy a short piece of the stack (`profiler_common::stack`);
//! here the executable's own tables (`.eh_frame`, `.debug_frame`) say how each function keeps its
//! caller in it, until a function is met that the frame pointers lead through as well.
//!
//! This is done when a capture is written, as names are looked up then: the tables are in the ship's
//! executable, which nobody needs to read a capture.

mod join;
mod record;
mod tables;

pub use join::{Code, Location};
pub use record::complete;
pub use tables::{Row, Section, Tables, Value};

#[cfg(test)]
mod tests;
