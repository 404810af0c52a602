//! A window as rows, and back.

use rusqlite::types::FromSql;
use rusqlite::{Connection, Row, named_params};

use super::error::Fault;
use super::{blob, checksum};
use crate::model::{
    Budget, DiskSpace, EventRange, Faults, LeafTime, Loom, OwnCost, ProcessMemory, ShipKey, Udp,
    Window, WindowFinding, WindowVerdict,
};
use crate::ship::Role;

/// SQLite's integers are signed.
pub(super) fn int(value: u64, what: &'static str) -> Result<i64, Fault> {
    i64::try_from(value).map_err(|_| Fault::TooLarge(what))
}

fn optional(value: Option<u64>, what: &'static str) -> Result<Option<i64>, Fault> {
    value.map(|value| int(value, what)).transpose()
}

/// A number that cannot be negative.
pub(super) fn unsigned(row: &Row<'_>, name: &str) -> Result<u64, Fault> {
    let value: i64 = row.get(name)?;
    u64::try_from(value).map_err(|_| Fault::Value(format!("{name} is {value}")))
}

/// The same, where it may be unknown.
fn maybe(row: &Row<'_>, name: &str) -> Result<Option<u64>, Fault> {
    match row.get::<_, Option<i64>>(name)? {
        Some(value) => u64::try_from(value)
            .map(Some)
            .map_err(|_| Fault::Value(format!("{name} is {value}"))),
        None => Ok(None),
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::King => "king",
        Role::Mars => "mars",
        Role::CommitWorker => "commit_worker",
        Role::Other => "other",
    }
}

fn role(name: &str) -> Result<Role, Fault> {
    [Role::King, Role::Mars, Role::CommitWorker, Role::Other]
        .into_iter()
        .find(|role| role_name(*role) == name)
        .ok_or_else(|| Fault::Value(format!("no role is called {name}")))
}

/// Writes the window without its stacks; its id.
pub(super) fn insert(connection: &Connection, ship_id: i64, window: &Window) -> Result<i64, Fault> {
    let events = window.events.as_ref();
    let udp = window.udp.as_ref();
    let faults = window.faults.as_ref();
    let loom = window.loom.as_ref();
    let memory = window.memory.as_ref();
    let disk = window.disk_space.as_ref();
    let own = &window.own_cost;
    let mut statement = connection.prepare_cached(
        "INSERT INTO window (ship_id, checksum, vere_version, start_unix_ns, duration_ns,
            clock_step_ns, events_before, events_last, events_count, udp_received, udp_sent,
            udp_bytes, udp_dropped, minor_faults, major_faults, swapped_in_pages, refaulted_pages,
            loom_event_number, loom_heap_bytes, loom_free_gap_bytes, rss_bytes, anon_bytes,
            swap_bytes, map_count, disk_total_bytes, disk_available_bytes, log_bytes, verdict_kind,
            verdict_cause, verdict_sentence, process_cpu_ns, programs_cpu_ns, max_resident_bytes,
            thinned, cut_short)
        VALUES (:ship, :checksum, :version, :start, :duration, :step, :before, :last, :count,
            :received, :sent, :bytes, :dropped, :minor, :major, :swapped, :refaulted, :event,
            :heap, :gap, :rss, :anon, :swap, :maps, :total, :available, :log, :kind, :cause,
            :sentence, :process, :programs, :resident, :thinned, :cut)",
    )?;
    statement.execute(named_params! {
        ":ship": ship_id,
        ":checksum": checksum::of_window(window)?,
        ":version": window.vere_version,
        ":start": int(window.start_unix_ns, "the start")?,
        ":duration": int(window.duration_ns, "the duration")?,
        ":step": window.clock_step_ns,
        ":before": optional(events.map(|e| e.before), "an event number")?,
        ":last": optional(events.map(|e| e.last), "an event number")?,
        ":count": optional(events.map(|e| e.count), "a number of events")?,
        ":received": optional(udp.map(|u| u.received), "a number of datagrams")?,
        ":sent": optional(udp.map(|u| u.sent), "a number of datagrams")?,
        ":bytes": optional(udp.map(|u| u.bytes), "the size of datagrams")?,
        ":dropped": optional(udp.map(|u| u.dropped), "a number of datagrams")?,
        ":minor": optional(faults.map(|f| f.minor), "a number of faults")?,
        ":major": optional(faults.map(|f| f.major), "a number of faults")?,
        ":swapped": optional(faults.and_then(|f| f.swapped_in_pages), "a number of pages")?,
        ":refaulted": optional(faults.and_then(|f| f.refaulted_pages), "a number of pages")?,
        ":event": optional(loom.map(|l| l.event_number), "an event number")?,
        ":heap": optional(loom.map(|l| l.heap_bytes), "the size of the heap")?,
        ":gap": optional(loom.map(|l| l.free_gap_bytes), "the size of the gap")?,
        ":rss": optional(memory.map(|m| m.rss_bytes), "a size in memory")?,
        ":anon": optional(memory.map(|m| m.anon_bytes), "a size in memory")?,
        ":swap": optional(memory.map(|m| m.swap_bytes), "a size in swap")?,
        ":maps": optional(memory.and_then(|m| m.map_count), "a number of mappings")?,
        ":total": optional(disk.map(|d| d.total_bytes), "a size on disk")?,
        ":available": optional(disk.map(|d| d.available_bytes), "a size on disk")?,
        ":log": optional(disk.and_then(|d| d.log_bytes), "a size on disk")?,
        ":kind": window.verdict.kind,
        ":cause": window.verdict.cause,
        ":sentence": window.verdict.sentence,
        ":process": int(own.process_cpu_ns, "a CPU time")?,
        ":programs": optional(own.programs_cpu_ns, "a CPU time")?,
        ":resident": int(own.max_resident_bytes, "a size in memory")?,
        ":thinned": own.thinned,
        ":cut": window.cut_short,
    })?;
    let id = connection.last_insert_rowid();
    insert_lists(connection, id, window)?;
    Ok(id)
}

fn insert_lists(connection: &Connection, id: i64, window: &Window) -> Result<(), Fault> {
    for (role, budget) in &window.budgets {
        let ns = |value| int(value, "a time in a budget");
        connection
            .prepare_cached("INSERT INTO budget VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute((
                id,
                role_name(*role),
                ns(budget.wall_ns)?,
                ns(budget.on_cpu_ns)?,
                ns(budget.run_queue_ns)?,
                ns(budget.throttled_ns)?,
                ns(budget.blocked_ns)?,
                ns(budget.idle_ns)?,
                ns(budget.unexplained_ns)?,
            ))?;
    }
    for (name, leaf) in &window.leaves {
        let total_ns = int(leaf.total_ns, "the time of a leaf")?;
        connection
            .prepare_cached("INSERT INTO leaf VALUES (?, ?, ?, ?)")?
            .execute((id, name, &leaf.cause, total_ns))?;
    }
    for (name, histogram) in &window.histograms {
        connection
            .prepare_cached("INSERT INTO histogram VALUES (?, ?, ?)")?
            .execute((id, name, blob::encode(histogram)))?;
    }
    for (position, finding) in (0_i64..).zip(&window.findings) {
        connection
            .prepare_cached("INSERT INTO finding VALUES (?, ?, ?, ?, ?)")?
            .execute((
                id,
                position,
                &finding.id,
                &finding.severity,
                &finding.sentence,
            ))?;
    }
    for (reason, count) in &window.losses {
        connection
            .prepare_cached("INSERT INTO loss VALUES (?, ?, ?)")?
            .execute((id, reason, int(*count, "a number of losses")?))?;
    }
    for (position, what) in (0_i64..).zip(&window.not_measured) {
        connection
            .prepare_cached("INSERT INTO not_measured VALUES (?, ?, ?)")?
            .execute((id, position, what))?;
    }
    Ok(())
}

/// Columns that [`read`] needs, from `window` joined with `ship`.
pub(super) const COLUMNS: &str = "window.*, ship.label, ship.pier";

/// Reads a window without its stacks, and checks it against its checksum.
pub(super) fn read(connection: &Connection, row: &Row<'_>) -> Result<(i64, Window), Fault> {
    let id: i64 = row.get("id")?;
    let mut window = read_scalars(row)?;
    read_lists(connection, id, &mut window)?;
    let stored: i64 = row.get("checksum")?;
    if stored == i64::from(checksum::of_window(&window)?) {
        Ok((id, window))
    } else {
        Err(Fault::Value(format!(
            "the values of window {id} do not match their checksum"
        )))
    }
}

fn read_scalars(row: &Row<'_>) -> Result<Window, Fault> {
    let verdict = WindowVerdict {
        kind: row.get("verdict_kind")?,
        cause: row.get("verdict_cause")?,
        sentence: row.get("verdict_sentence")?,
    };
    // What was measured together has its first column filled.
    let has = |name: &str| row.get::<_, Option<i64>>(name).map(|value| value.is_some());
    let group = |name: &str| -> Result<Option<()>, Fault> { Ok(has(name)?.then_some(())) };
    let n = |name: &str| unsigned(row, name);
    Ok(Window {
        ship: ShipKey {
            label: row.get("label")?,
            pier: row.get("pier")?,
        },
        vere_version: row.get("vere_version")?,
        start_unix_ns: n("start_unix_ns")?,
        duration_ns: n("duration_ns")?,
        clock_step_ns: row.get("clock_step_ns")?,
        events: match group("events_count")? {
            Some(()) => Some(EventRange {
                before: n("events_before")?,
                last: n("events_last")?,
                count: n("events_count")?,
            }),
            None => None,
        },
        budgets: Default::default(),
        leaves: Default::default(),
        histograms: Default::default(),
        stacks: Default::default(),
        udp: match group("udp_received")? {
            Some(()) => Some(Udp {
                received: n("udp_received")?,
                sent: n("udp_sent")?,
                bytes: n("udp_bytes")?,
                dropped: n("udp_dropped")?,
            }),
            None => None,
        },
        faults: match group("minor_faults")? {
            Some(()) => Some(Faults {
                minor: n("minor_faults")?,
                major: n("major_faults")?,
                swapped_in_pages: maybe(row, "swapped_in_pages")?,
                refaulted_pages: maybe(row, "refaulted_pages")?,
            }),
            None => None,
        },
        loom: match group("loom_event_number")? {
            Some(()) => Some(Loom {
                event_number: n("loom_event_number")?,
                heap_bytes: n("loom_heap_bytes")?,
                free_gap_bytes: n("loom_free_gap_bytes")?,
            }),
            None => None,
        },
        memory: match group("rss_bytes")? {
            Some(()) => Some(ProcessMemory {
                rss_bytes: n("rss_bytes")?,
                anon_bytes: n("anon_bytes")?,
                swap_bytes: n("swap_bytes")?,
                map_count: maybe(row, "map_count")?,
            }),
            None => None,
        },
        disk_space: match group("disk_total_bytes")? {
            Some(()) => Some(DiskSpace {
                total_bytes: n("disk_total_bytes")?,
                available_bytes: n("disk_available_bytes")?,
                log_bytes: maybe(row, "log_bytes")?,
            }),
            None => None,
        },
        verdict,
        findings: Vec::new(),
        own_cost: OwnCost {
            process_cpu_ns: n("process_cpu_ns")?,
            programs_cpu_ns: maybe(row, "programs_cpu_ns")?,
            max_resident_bytes: n("max_resident_bytes")?,
            thinned: row.get("thinned")?,
        },
        losses: Default::default(),
        not_measured: Vec::new(),
        cut_short: row.get("cut_short")?,
    })
}

fn read_lists(connection: &Connection, id: i64, window: &mut Window) -> Result<(), Fault> {
    let sql = "SELECT * FROM budget WHERE window_id = ?";
    each(connection, sql, id, |row| {
        let n = |name: &str| unsigned(row, name);
        let budget = Budget {
            wall_ns: n("wall_ns")?,
            on_cpu_ns: n("on_cpu_ns")?,
            run_queue_ns: n("run_queue_ns")?,
            throttled_ns: n("throttled_ns")?,
            blocked_ns: n("blocked_ns")?,
            idle_ns: n("idle_ns")?,
            unexplained_ns: n("unexplained_ns")?,
        };
        window.budgets.insert(role(&text(row, "role")?)?, budget);
        Ok(())
    })?;
    let sql = "SELECT * FROM leaf WHERE window_id = ?";
    each(connection, sql, id, |row| {
        let leaf = LeafTime {
            cause: text(row, "cause")?,
            total_ns: unsigned(row, "total_ns")?,
        };
        window.leaves.insert(text(row, "leaf")?, leaf);
        Ok(())
    })?;
    let sql = "SELECT * FROM histogram WHERE window_id = ?";
    each(connection, sql, id, |row| {
        let histogram = blob::decode(&column::<Vec<u8>>(row, "buckets")?)?;
        window.histograms.insert(text(row, "name")?, histogram);
        Ok(())
    })?;
    let sql = "SELECT * FROM finding WHERE window_id = ? ORDER BY position";
    each(connection, sql, id, |row| {
        window.findings.push(WindowFinding {
            id: text(row, "finding")?,
            severity: text(row, "severity")?,
            sentence: text(row, "sentence")?,
        });
        Ok(())
    })?;
    let sql = "SELECT * FROM loss WHERE window_id = ?";
    each(connection, sql, id, |row| {
        window
            .losses
            .insert(text(row, "reason")?, unsigned(row, "count")?);
        Ok(())
    })?;
    let sql = "SELECT * FROM not_measured WHERE window_id = ? ORDER BY position";
    each(connection, sql, id, |row| {
        window.not_measured.push(text(row, "what")?);
        Ok(())
    })
}

fn each(
    connection: &Connection,
    sql: &str,
    id: i64,
    mut take: impl FnMut(&Row<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn text(row: &Row<'_>, name: &str) -> Result<String, Fault> {
    column(row, name)
}

fn column<T: FromSql>(row: &Row<'_>, name: &str) -> Result<T, Fault> {
    Ok(row.get(name)?)
}
