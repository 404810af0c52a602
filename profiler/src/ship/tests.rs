//! Discovery on small trees of files: one host, with the processes that a test needs.

mod errors;
mod found;
pub(crate) mod tree;
