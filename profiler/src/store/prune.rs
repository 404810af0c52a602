//! Retention by age and by size, oldest windows first.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use super::connection::pragma;
use super::error::Fault;
use super::stacks::REFRESH_WINDOWS;

/// Windows that one call removes at most.
const BATCH: u64 = 64;
/// Stacks that nobody uses are looked for once in this many removed windows.
const SWEEP_WINDOWS: i64 = 1_024;
/// Room that the log and the index beside the store may take of its limit.
const BESIDE_BYTES: u64 = 3 << 20;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Windows that ended longer ago than this go.
    pub max_age: Duration,
    /// The oldest go while the store is larger. The files that SQLite keeps beside it are
    /// reckoned in, with 3 MiB.
    pub max_bytes: u64,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Windows that went.
    pub windows: u64,
    /// Whether there are more to go.
    pub remains: bool,
}

/// Also says whether stacks were removed.
pub(super) fn prune(
    connection: &mut Connection,
    now_unix_ns: u64,
    retention: &Retention,
) -> Result<(Pruned, bool), Fault> {
    let max_age_ns = u64::try_from(retention.max_age.as_nanos()).unwrap_or(u64::MAX);
    let oldest_unix_ns = i64::try_from(now_unix_ns.saturating_sub(max_age_ns)).unwrap_or(i64::MAX);
    let max_bytes = retention.max_bytes.saturating_sub(BESIDE_BYTES);
    let transaction = connection.transaction()?;
    let mut pruned = Pruned {
        windows: 0,
        remains: false,
    };
    let mut swept = false;
    while let Some(oldest) = oldest(&transaction)? {
        // The newest window stays whatever its size.
        let too_large = !oldest.is_last && used_bytes(&transaction)? > max_bytes;
        if oldest.end_unix_ns >= oldest_unix_ns && !too_large {
            break;
        }
        if pruned.windows == BATCH {
            pruned.remains = true;
            break;
        }
        remove(&transaction, &oldest)?;
        pruned.windows += 1;
        if oldest.id % SWEEP_WINDOWS == 0 {
            sweep(&transaction, oldest.id)?;
            swept = true;
        }
    }
    transaction.commit()?;
    if pruned.windows > 0 {
        give_back(connection)?;
    }
    Ok((pruned, swept))
}

struct Oldest {
    id: i64,
    ship_id: i64,
    end_unix_ns: i64,
    is_last: bool,
}

/// The window that was written first. Not the one with the earliest clock: that may have been
/// wrong.
fn oldest(connection: &Connection) -> Result<Option<Oldest>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, ship_id, start_unix_ns, duration_ns, clock_step_ns,
            id = (SELECT max(id) FROM window) AS is_last
        FROM window ORDER BY id LIMIT 1",
    )?;
    let oldest = statement.query_row([], |row| {
        let start: i64 = row.get("start_unix_ns")?;
        let end = start
            .saturating_add(row.get("duration_ns")?)
            .saturating_add(row.get("clock_step_ns")?);
        Ok(Oldest {
            id: row.get("id")?,
            ship_id: row.get("ship_id")?,
            end_unix_ns: end,
            is_last: row.get("is_last")?,
        })
    });
    Ok(oldest.optional()?)
}

fn used_bytes(connection: &Connection) -> Result<u64, Fault> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    let bytes = pages.saturating_mul(pragma(connection, "page_size")?);
    Ok(u64::try_from(bytes).unwrap_or(0))
}

fn remove(connection: &Connection, oldest: &Oldest) -> Result<(), Fault> {
    const LISTS: [&str; 8] = [
        "budget",
        "leaf",
        "histogram",
        "finding",
        "loss",
        "not_measured",
        "stack_weight",
        "stack_rest",
    ];
    for table in LISTS {
        connection
            .prepare_cached(&format!("DELETE FROM {table} WHERE window_id = ?"))?
            .execute([oldest.id])?;
    }
    connection
        .prepare_cached("DELETE FROM window WHERE id = ?")?
        .execute([oldest.id])?;
    connection
        .prepare_cached("UPDATE ship SET window_count = window_count - 1 WHERE id = ?")?
        .execute([oldest.ship_id])?;
    Ok(())
}

/// Removes what only removed windows named. The last use of a node may be recorded as much earlier
/// as it takes to be written again: twice, because what is remembered in memory is not looked at.
/// The inner part of a stack may stay until the next time; its outer part goes only when no window
/// leads to either.
fn sweep(connection: &Connection, removed_id: i64) -> Result<(), Fault> {
    connection.execute(
        "DELETE FROM stack_node WHERE last_window_id < ?",
        [removed_id - 2 * REFRESH_WINDOWS],
    )?;
    connection.execute(
        "DELETE FROM frame WHERE id NOT IN (SELECT frame_id FROM stack_node)",
        [],
    )?;
    Ok(())
}

/// Cuts the pages that became free off the end of the file.
fn give_back(connection: &Connection) -> Result<(), Fault> {
    let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = statement.query([])?;
    // Each step frees a page.
    while rows.next()?.is_some() {}
    Ok(())
}
