//! Recorded stacks, made-up ones, and both of them damaged.

mod fuzz;
mod loom;
mod made;
mod recorded;
