//! The writing side.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

use super::error::Fault;
use super::place::{self, WriteLock};
use super::prune::{self, Pruned, Retention};
use super::reader::Reader;
use super::stacks::{self, Known};
use super::{StoreError, connection, row};
use crate::model::{ShipKey, Window};

/// A store that windows are written to. There is one at a time of a file, on the whole host.
#[derive(Debug)]
pub struct Store {
    // Dropped before the lock: the last changes are still moved under it.
    connection: Connection,
    known: Known,
    path: PathBuf,
    _lock: WriteLock,
}

impl Store {
    /// Opens the store at `path`, or makes an empty one that only its owner may read.
    ///
    /// # Errors
    /// If it is no store, is damaged, has a newer schema, is written by another, or may not be
    /// opened.
    pub fn create_or_open(path: &Path) -> Result<Self, StoreError> {
        let path = place::resolve(path)?;
        // Refused before a lock is put beside it.
        place::exists(&path)?;
        place::check_folder(&path)?;
        let lock = WriteLock::take(&path)?;
        if !place::exists(&path)? {
            place::create(&path)?;
        }
        Ok(Self {
            connection: connection::open_to_write(&path)?,
            known: Known::default(),
            path,
            _lock: lock,
        })
    }

    /// Opens a store to read it, also while a sampler writes.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn read_only(path: &Path) -> Result<Reader, StoreError> {
        Reader::open(path)
    }

    /// Adds a window, wholly or not at all.
    ///
    /// # Errors
    /// If it cannot be written; the store is then as it was before.
    pub fn append(&mut self, window: &Window) -> Result<(), StoreError> {
        self.try_append(window).map_err(|fault| {
            // What was entered for the window is gone with it.
            self.known.clear();
            fault.at(&self.path)
        })
    }

    fn try_append(&mut self, window: &Window) -> Result<(), Fault> {
        let transaction = self.connection.transaction()?;
        let ship_id = ship_id(&transaction, &window.ship)?;
        let window_id = row::insert(&transaction, ship_id, window)?;
        stacks::insert(&transaction, &mut self.known, window_id, window)?;
        transaction
            .prepare_cached("UPDATE ship SET window_count = window_count + 1 WHERE id = ?")?
            .execute([ship_id])?;
        Ok(transaction.commit()?)
    }

    /// Removes the oldest windows as far as `retention` says, and gives their room back to the
    /// file system. One call removes a limited number, so that it never takes long, and so that a
    /// wall clock that is wrong for some minutes does not cost the history of months: call it
    /// after every window, or until nothing [`Pruned::remains`].
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn prune(&mut self, now_unix_ns: u64, retention: &Retention) -> Result<Pruned, StoreError> {
        match prune::prune(&mut self.connection, now_unix_ns, retention) {
            Ok((pruned, false)) => Ok(pruned),
            Ok((pruned, true)) => {
                self.known.clear();
                Ok(pruned)
            }
            Err(fault) => {
                self.known.clear();
                Err(fault.at(&self.path))
            }
        }
    }

    /// Closes it. Dropping does so too, but cannot tell of an error.
    ///
    /// # Errors
    /// If the last changes could not be moved into the file; they are still beside it.
    pub fn close(self) -> Result<(), StoreError> {
        let Self {
            connection,
            path,
            known: _,
            _lock: lock,
        } = self;
        let closed = connection
            .close()
            .map_err(|(_, error)| Fault::from(error).at(&path));
        drop(lock);
        closed
    }

    /// The connection, for tests that limit what it may do.
    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

fn ship_id(connection: &Connection, ship: &ShipKey) -> Result<i64, Fault> {
    let key = (&ship.label, &ship.pier);
    let found = connection
        .prepare_cached("SELECT id FROM ship WHERE label = ? AND pier = ?")?
        .query_row(key, |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    connection
        .prepare_cached("INSERT INTO ship (label, pier, window_count) VALUES (?, ?, 0)")?
        .execute(key)?;
    Ok(connection.last_insert_rowid())
}
