//! The sampler's store: a SQLite file that anybody can query with `sqlite3`.
//!
//! One writer, by a lock that the kernel takes back from a process that ends; any number of
//! readers meanwhile. A window is one transaction, so a crash of the sampler loses the window in
//! hand and nothing else. Commits are not synced one by one, because the disk may be the one that
//! the ship commits its events to: after a power failure, the windows since the last checkpoint
//! (a megabyte of changes) may be missing, but what is there is whole.
//!
//! A store may come from anybody: its schema is compared with ours, and every window and every
//! kind of stacks carries a checksum of its values.

mod blob;
mod checksum;
mod connection;
mod error;
mod place;
mod prune;
mod reader;
mod row;
mod stacks;
#[cfg(test)]
mod tests;
mod writer;

pub use connection::SCHEMA_VERSION;
pub use error::StoreError;
pub use prune::{Pruned, Retention};
pub use reader::{Range, Reader};
pub use writer::Store;
