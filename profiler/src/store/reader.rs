//! The reading side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction};

use super::error::Fault;
use super::stacks::{self, Lookup};
use super::{StoreError, connection, place, row};
use crate::model::{ShipKey, StackSum, Window};

/// A store that is read. A sampler may write to it meanwhile.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

/// Windows that begin in `from_unix_ns..to_unix_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first moment.
    pub from_unix_ns: u64,
    /// The first moment after it.
    pub to_unix_ns: u64,
}

impl Range {
    /// Everything.
    pub const ALL: Self = Self {
        from_unix_ns: 0,
        to_unix_ns: u64::MAX,
    };

    fn bounds(self) -> [i64; 2] {
        [self.from_unix_ns, self.to_unix_ns].map(|ns| i64::try_from(ns).unwrap_or(i64::MAX))
    }
}

impl Reader {
    /// Opens a store.
    ///
    /// # Errors
    /// If there is none, it is something else, is damaged, has a newer schema, or may not be
    /// opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let path = place::resolve(path)?;
        if !place::exists(&path)? {
            return Err(StoreError::Missing(path));
        }
        Ok(Self {
            connection: connection::open_to_read(&path)?,
            path,
        })
    }

    /// The ships that there are windows of, in the order of their names.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn ships(&self) -> Result<Vec<ShipKey>, StoreError> {
        let read = || -> Result<Vec<ShipKey>, Fault> {
            let mut statement = self.connection.prepare_cached(
                "SELECT label, pier FROM ship WHERE window_count <> 0 ORDER BY label, pier",
            )?;
            let ships = statement.query_map([], |row| {
                Ok(ShipKey {
                    label: row.get(0)?,
                    pier: row.get(1)?,
                })
            })?;
            Ok(ships.collect::<Result<_, _>>()?)
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// When the first window of a ship begins and the last one does; nothing if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn span(&self, ship: &ShipKey) -> Result<Option<(u64, u64)>, StoreError> {
        let read = || -> Result<Option<(u64, u64)>, Fault> {
            let mut statement = self.connection.prepare_cached(
                "SELECT min(start_unix_ns) AS first, max(start_unix_ns) AS last
                FROM window JOIN ship ON ship.id = ship_id
                WHERE label = ? AND pier = ?",
            )?;
            let mut rows = statement.query((&ship.label, &ship.pier))?;
            match rows.next()? {
                Some(row) if row.get::<_, Option<i64>>("first")?.is_some() => Ok(Some((
                    row::unsigned(row, "first")?,
                    row::unsigned(row, "last")?,
                ))),
                _ => Ok(None),
            }
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// The windows of a ship, or of all, in the order of their beginnings, with their stacks.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn windows(&self, range: Range, ship: Option<&ShipKey>) -> Result<Vec<Window>, StoreError> {
        let mut windows = Vec::new();
        let mut lookup = Lookup::default();
        let mut take = |connection: &Connection, id, mut window: Window| {
            window.stacks = stacks::read(connection, &mut lookup, id)?;
            windows.push(window);
            Ok(())
        };
        self.visit(range, ship, &mut take)
            .map_err(|fault| fault.at(&self.path))?;
        Ok(windows)
    }

    /// Hands the windows over one by one, without their stacks, and returns the stacks of all of
    /// them added up: a year of windows would not fit in memory.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn for_each(
        &self,
        range: Range,
        ship: Option<&ShipKey>,
        mut take: impl FnMut(Window),
    ) -> Result<BTreeMap<String, StackSum>, StoreError> {
        let mut lookup = Lookup::default();
        let mut hand_over = |connection: &Connection, id, window| {
            lookup.add(connection, id)?;
            take(window);
            Ok(())
        };
        self.visit(range, ship, &mut hand_over)
            .map_err(|fault| fault.at(&self.path))?;
        Ok(lookup.take())
    }

    fn visit(
        &self,
        range: Range,
        ship: Option<&ShipKey>,
        take: &mut dyn FnMut(&Connection, i64, Window) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        // All that is read is of one moment, whatever the sampler writes meanwhile.
        let transaction = self.connection.unchecked_transaction()?;
        check_counts(&transaction)?;
        let [from, to] = range.bounds();
        let sql = format!(
            "SELECT {} FROM window JOIN ship ON ship.id = ship_id
            WHERE start_unix_ns >= ?1 AND start_unix_ns < ?2
                AND (?3 IS NULL OR label = ?3 AND pier = ?4)
            ORDER BY start_unix_ns, window.id",
            row::COLUMNS
        );
        let mut statement = transaction.prepare_cached(&sql)?;
        let key = ship.map(|ship| (&ship.label, &ship.pier));
        let mut rows = statement.query((from, to, key.map(|key| key.0), key.map(|key| key.1)))?;
        while let Some(row) = rows.next()? {
            let (id, window) = row::read(&transaction, row)?;
            take(&transaction, id, window)?;
        }
        Ok(())
    }
}

/// A window has its checksum, but one that went missing has none.
fn check_counts(transaction: &Transaction<'_>) -> Result<(), Fault> {
    let wrong: Option<String> = transaction
        .prepare_cached(
            "SELECT min(label) FROM ship WHERE window_count <>
                (SELECT count(*) FROM window WHERE ship_id = ship.id)",
        )?
        .query_row([], |row| row.get(0))?;
    match wrong {
        Some(label) => Err(Fault::Value(format!("windows of {label} are missing"))),
        None => Ok(()),
    }
}
