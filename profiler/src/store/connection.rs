//! Opening the file, and knowing it for a store.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::Fault;
use super::{StoreError, place};

/// Version of the schema. Raised with every change of it.
pub const SCHEMA_VERSION: i64 = 1;

/// What tells a store from other SQLite files ("UrbP").
const APPLICATION_ID: i64 = 0x5572_6250;
const SCHEMA: &str = include_str!("schema.sql");
/// How long to wait for somebody who writes by hand.
const BUSY: Duration = Duration::from_secs(5);
/// Pages of changes after which they are moved from the log to the store.
const CHECKPOINT_PAGES: i64 = 256;
/// The log is cut to this once it has been moved.
const LOG_LIMIT_BYTES: i64 = 2 << 20;
/// Cached statements: more than all there are.
const STATEMENTS: usize = 64;

/// Opens the store to write, and makes it one if it is empty.
pub(super) fn open_to_write(path: &Path) -> Result<Connection, StoreError> {
    // Before SQLite opens it and mends it.
    let has_log = place::has_log(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let prepare = || -> Result<Connection, Fault> {
        let connection = Connection::open_with_flags(path, flags)?;
        harden(&connection)?;
        Ok(connection)
    };
    let mut connection = prepare().map_err(|fault| fault.at(path))?;
    let pages: i64 = pragma(&connection, "page_count").map_err(|fault| fault.at(path))?;
    if pages == 0 && place::is_empty(path) {
        create(&mut connection).map_err(|fault| fault.at(path))?;
    } else {
        check(&connection, path)?;
        if has_log {
            quick_check(&connection).map_err(|fault| fault.at(path))?;
        }
    }
    let tune = || -> Result<(), Fault> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES)?;
        Ok(())
    };
    tune().map_err(|fault| fault.at(path))?;
    Ok(connection)
}

/// Opens the store to read, whether or not a sampler writes to it.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let open = |name: &Path, flags| -> Result<Connection, Fault> {
        let connection = Connection::open_with_flags(name, flags)?;
        harden(&connection)?;
        pragma(&connection, "schema_version")?;
        Ok(connection)
    };
    let connection = open(path, flags).or_else(|fault| match fault.at(path) {
        // Where no file can be made beside it, SQLite cannot share it; a copy on a medium that is
        // read-only is shared with nobody.
        StoreError::Denied { .. } if !place::has_log(path) => {
            let name = format!("file:{}?immutable=1", uri_path(path));
            open(Path::new(&name), flags | OpenFlags::SQLITE_OPEN_URI)
                .map_err(|fault| fault.at(path))
        }
        error => Err(error),
    })?;
    check(&connection, path)?;
    Ok(connection)
}

/// Takes from the connection what a store made with ill intent could use.
fn harden(connection: &Connection) -> Result<(), Fault> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // Temporary files would lie in a folder that others write to.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

/// Makes the tables. The file is no write-ahead one yet, so that it holds either nothing or all
/// of it, its mark included.
fn create(connection: &mut Connection) -> Result<(), Fault> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Whether it is a store whose schema we know.
fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let at = |fault: Fault| fault.at(path);
    if pragma(connection, "application_id").map_err(at)? != APPLICATION_ID {
        return Err(StoreError::NotAStore(path.to_owned()));
    }
    let found = pragma(connection, "user_version").map_err(at)?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known: SCHEMA_VERSION,
        });
    }
    let whole = || -> Result<bool, Fault> {
        let ours = Connection::open_in_memory()?;
        ours.execute_batch(SCHEMA)?;
        let (ours, theirs) = (definitions(&ours)?, definitions(connection)?);
        // Views and indices of the operator's own are nobody's harm.
        Ok(ours.is_subset(&theirs))
    };
    if found == SCHEMA_VERSION && whole().map_err(at)? {
        Ok(())
    } else {
        Err(StoreError::Damaged {
            path: path.to_owned(),
            detail: "its tables are not those of a store".to_owned(),
        })
    }
}

fn definitions(connection: &Connection) -> Result<BTreeSet<(String, String)>, Fault> {
    let mut statement =
        connection.prepare("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Looks the whole file through, as is proper after a writer that did not close it.
fn quick_check(connection: &Connection) -> Result<(), Fault> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(Fault::Value(found))
    }
}

/// A number that SQLite keeps of the file.
pub(super) fn pragma(connection: &Connection, name: &str) -> Result<i64, Fault> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

/// A path as the path of a URI.
fn uri_path(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
