//! The product on the live kernel: `profile` runs on the reference ship as an operator runs it, and
//! is held to what was done to that ship and to what the kernel itself counted.
//!
//! Tests that load eBPF programs or change the machine take [`harness::gate`] first, so that they run
//! one at a time, and say why if they cannot run.

// Clippy's exception for tests ends at their helper functions.
#![allow(clippy::unwrap_used)]

mod accuracy;
mod ames;
mod audit;
mod captures;
mod container;
mod errors;
mod events;
mod flamegraph;
mod hoon;
mod invariants;
mod kernel;
mod lifecycle;
mod mass;
mod neighbours;
mod now;
mod oracles;
mod oracles_disk;
mod oracles_memory;
mod ping;
mod replay;
mod sampler;
mod sampler_faults;
mod sampler_stacks;
mod snapshots;
mod stacks;
mod support;
mod symbols;
mod trial;
mod unharmed;
mod units;
mod upkeep;
mod verdicts;
mod writeback;
