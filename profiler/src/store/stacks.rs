//! Stacks: what they share is stored once, and a ship's stacks share nearly everything from one
//! minute to the next.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;

use rusqlite::{Connection, OptionalExtension as _};

use super::checksum::{self, StacksChecksum};
use super::error::Fault;
use super::row::{int, unsigned};
use crate::model::{StackSum, TopStack, TopStacks, Window};

/// A node's last use is written again once it is this many windows old, which keeps that from
/// being a write for each stack of each window.
pub(super) const REFRESH_WINDOWS: i64 = 4096;

/// The stacks of the last windows, of every ship, by what is stored of them.
#[derive(Debug, Default)]
pub(super) struct Known {
    ids: BTreeMap<Vec<String>, i64>,
    before: BTreeMap<Vec<String>, i64>,
    since_window_id: i64,
}

/// Stacks to remember: about a megabyte.
const KNOWN_LIMIT: usize = 1_000;

impl Known {
    /// Forgets all: ids may be gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn get(&mut self, frames: &[String]) -> Option<i64> {
        if let Some(id) = self.ids.get(frames) {
            return Some(*id);
        }
        let (frames, id) = self.before.remove_entry(frames)?;
        self.insert(frames, id);
        Some(id)
    }

    fn insert(&mut self, frames: Vec<String>, id: i64) {
        if self.ids.len() >= KNOWN_LIMIT {
            self.before = mem::take(&mut self.ids);
        }
        self.ids.insert(frames, id);
    }
}

/// Writes the stacks of a window.
pub(super) fn insert(
    connection: &Connection,
    known: &mut Known,
    window_id: i64,
    window: &Window,
) -> Result<(), Fault> {
    // What is remembered is not looked at, so its last use would not be written.
    if window_id - known.since_window_id >= REFRESH_WINDOWS {
        known.clear();
        known.since_window_id = window_id;
    }
    for (kind, stacks) in &window.stacks {
        let kind_id = name_id(connection, "stack_kind", kind)?;
        let mut weights: BTreeMap<&[String], u64> = BTreeMap::new();
        for stack in &stacks.top {
            let weight_ns = weights.entry(&stack.frames).or_default();
            *weight_ns = weight_ns.saturating_add(stack.weight_ns);
        }
        let mut sum = StacksChecksum::default();
        for (frames, weight_ns) in weights {
            let stack_id = match known.get(frames) {
                Some(id) => id,
                None => {
                    let id = stack_id(connection, frames, window_id)?;
                    known.insert(frames.to_vec(), id);
                    id
                }
            };
            sum.add(checksum::of_frames(frames), weight_ns);
            connection
                .prepare_cached("INSERT INTO stack_weight VALUES (?, ?, ?, ?)")?
                .execute((
                    window_id,
                    kind_id,
                    stack_id,
                    int(weight_ns, "the weight of a stack")?,
                ))?;
        }
        let rest_ns = int(stacks.rest_ns, "the weight of stacks")?;
        connection
            .prepare_cached("INSERT INTO stack_rest VALUES (?, ?, ?, ?)")?
            .execute((
                window_id,
                kind_id,
                rest_ns,
                sum.finish(kind, window_id, stacks.rest_ns),
            ))?;
    }
    Ok(())
}

/// The id of a name in `frame` or `stack_kind`, which is entered if it is new.
fn name_id(connection: &Connection, table: &str, name: &str) -> Result<i64, Fault> {
    let found = connection
        .prepare_cached(&format!("SELECT id FROM {table} WHERE name = ?"))?
        .query_row([name], |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    connection
        .prepare_cached(&format!("INSERT INTO {table} (name) VALUES (?)"))?
        .execute([name])?;
    Ok(connection.last_insert_rowid())
}

fn stack_id(connection: &Connection, frames: &[String], window_id: i64) -> Result<i64, Fault> {
    let mut parent_id = 0_i64;
    for frame in frames {
        let frame_id = name_id(connection, "frame", frame)?;
        let found: Option<(i64, i64)> = connection
            .prepare_cached(
                "SELECT id, last_window_id FROM stack_node WHERE parent_id = ? AND frame_id = ?",
            )?
            .query_row([parent_id, frame_id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        parent_id = match found {
            Some((id, last_window_id)) => {
                if window_id - last_window_id >= REFRESH_WINDOWS {
                    connection
                        .prepare_cached("UPDATE stack_node SET last_window_id = ? WHERE id = ?")?
                        .execute([window_id, id])?;
                }
                id
            }
            None => {
                connection
                    .prepare_cached(
                        "INSERT INTO stack_node (parent_id, frame_id, last_window_id)
                        VALUES (?, ?, ?)",
                    )?
                    .execute([parent_id, frame_id, window_id])?;
                connection.last_insert_rowid()
            }
        };
    }
    Ok(parent_id)
}

/// A stack that was looked up.
#[derive(Debug)]
struct Resolved {
    frames: Vec<String>,
    checksum: u32,
}

/// Stacks of one kind by their ids.
#[derive(Debug, Default)]
struct IdSum {
    weights_ns: BTreeMap<i64, u64>,
    rest_ns: u64,
}

/// Adds stacks up, and looks each one up once: by their ids, because to compare their names for
/// each window would take most of the time.
#[derive(Debug, Default)]
pub(super) struct Lookup {
    resolved: BTreeMap<i64, Resolved>,
    sums: BTreeMap<String, IdSum>,
}

impl Lookup {
    /// Adds the stacks of a window.
    pub(super) fn add(&mut self, connection: &Connection, window_id: i64) -> Result<(), Fault> {
        let mut kinds = connection.prepare_cached(
            "SELECT kind_id, name, rest_ns, checksum
            FROM stack_rest JOIN stack_kind ON id = kind_id WHERE window_id = ?",
        )?;
        let mut kinds = kinds.query([window_id])?;
        while let Some(row) = kinds.next()? {
            let kind_id: i64 = row.get("kind_id")?;
            let name: String = row.get("name")?;
            let rest_ns = unsigned(row, "rest_ns")?;
            let stored: i64 = row.get("checksum")?;
            let mut sum = self.sums.remove(&name).unwrap_or_default();
            sum.rest_ns = sum.rest_ns.saturating_add(rest_ns);
            let found = self.add_weights(connection, [window_id, kind_id], &mut sum)?;
            if stored != i64::from(found.finish(&name, window_id, rest_ns)) {
                return Err(Fault::Value(format!(
                    "the stacks of window {window_id} do not match their checksum"
                )));
            }
            self.sums.insert(name, sum);
        }
        Ok(())
    }

    fn add_weights(
        &mut self,
        connection: &Connection,
        key: [i64; 2],
        sum: &mut IdSum,
    ) -> Result<StacksChecksum, Fault> {
        let mut weights = connection.prepare_cached(
            "SELECT stack_id, weight_ns FROM stack_weight WHERE window_id = ? AND kind_id = ?",
        )?;
        let mut weights = weights.query(key)?;
        let mut found = StacksChecksum::default();
        while let Some(row) = weights.next()? {
            let stack_id = row.get("stack_id")?;
            let weight_ns = unsigned(row, "weight_ns")?;
            found.add(self.resolve(connection, stack_id)?.checksum, weight_ns);
            let of_stack = sum.weights_ns.entry(stack_id).or_default();
            *of_stack = of_stack.saturating_add(weight_ns);
        }
        Ok(found)
    }

    /// The sums of what was added since the last time, by names.
    pub(super) fn take(&mut self) -> BTreeMap<String, StackSum> {
        let sums = mem::take(&mut self.sums);
        let named = sums.into_iter().map(|(kind, sum)| {
            let mut named = StackSum {
                rest_ns: sum.rest_ns,
                ..StackSum::default()
            };
            for (id, weight_ns) in sum.weights_ns {
                if let Some(stack) = self.resolved.get(&id) {
                    named.add_stack(&stack.frames, weight_ns);
                }
            }
            (kind, named)
        });
        named.collect()
    }

    fn resolve(&mut self, connection: &Connection, stack_id: i64) -> Result<&Resolved, Fault> {
        match self.resolved.entry(stack_id) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(vacant) => {
                let frames = frames(connection, stack_id)?;
                let checksum = checksum::of_frames(&frames);
                Ok(vacant.insert(Resolved { frames, checksum }))
            }
        }
    }
}

/// Names, outermost first.
fn frames(connection: &Connection, stack_id: i64) -> Result<Vec<String>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT parent_id, name FROM stack_node JOIN frame ON frame.id = frame_id
        WHERE stack_node.id = ?",
    )?;
    let mut frames = Vec::new();
    let mut id = stack_id;
    while id != 0 {
        let (parent_id, name): (i64, String) =
            statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        // A parent is always older: so a damaged chain ends too.
        if parent_id >= id {
            return Err(Fault::Value("a stack leads in a circle".to_owned()));
        }
        frames.push(name);
        id = parent_id;
    }
    frames.reverse();
    Ok(frames)
}

/// The stacks of one window, as a window holds them.
pub(super) fn read(
    connection: &Connection,
    lookup: &mut Lookup,
    window_id: i64,
) -> Result<BTreeMap<String, TopStacks>, Fault> {
    lookup.add(connection, window_id)?;
    let stacks = lookup.take().into_iter().map(|(kind, sum)| {
        let mut top: Vec<TopStack> = sum
            .weights_ns
            .into_iter()
            .map(|(frames, weight_ns)| TopStack { frames, weight_ns })
            .collect();
        top.sort_by_key(|stack| std::cmp::Reverse(stack.weight_ns));
        let stacks = TopStacks {
            top,
            rest_ns: sum.rest_ns,
        };
        (kind, stacks)
    });
    Ok(stacks.collect())
}
