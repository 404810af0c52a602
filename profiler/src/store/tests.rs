//! A store as a whole.

mod damage;
mod keeping;
mod place;
mod writers;

use std::path::PathBuf;

use tempfile::TempDir;

use super::{Range, Reader, Store};
use crate::model::{Window, example};

/// A folder for a store, and the path in it.
pub(super) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a folder for the test"),
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    pub(super) fn store(&self) -> Store {
        Store::create_or_open(&self.path()).expect("the store opens")
    }

    pub(super) fn reader(&self) -> Reader {
        Store::read_only(&self.path()).expect("the store opens")
    }

    /// A store that was closed, with these minutes in it.
    pub(super) fn filled(minutes: std::ops::Range<u64>) -> Self {
        let scratch = Self::new();
        let mut store = scratch.store();
        for minute in minutes {
            store
                .append(&example::window(minute))
                .expect("there is room");
        }
        store.close().expect("it closes");
        scratch
    }
}

pub(super) fn all(reader: &Reader) -> Vec<Window> {
    reader.windows(Range::ALL, None).expect("it can be read")
}
