//! Sampling mode: from the programs' sums, which run on for months, to one window after another.
//!
//! Pure: `cli` wires it to the programs, the host and the store.

pub mod cost;
pub mod labels;
pub mod names;
pub mod reading;
pub mod stacks;
pub mod thinning;
pub mod window;
