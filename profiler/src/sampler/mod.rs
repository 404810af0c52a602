//! Sampling mode: from the programs' sums, which run on for months, to one window after another.
//!
//! Pure: `cli` wires it to the programs, the host and the store.

pub mod reading;
pub mod window;
