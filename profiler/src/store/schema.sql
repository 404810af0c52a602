-- One row per sampling window, with what belongs to it in the tables below. Times are nanoseconds;
-- NULL is "not measured".
CREATE TABLE ship (
    id INTEGER PRIMARY KEY,
    label TEXT NOT NULL,
    pier TEXT NOT NULL,
    window_count INTEGER NOT NULL,
    UNIQUE (label, pier)
);
CREATE TABLE window (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ship_id INTEGER NOT NULL REFERENCES ship,
    checksum INTEGER NOT NULL,
    vere_version TEXT,
    start_unix_ns INTEGER NOT NULL,
    duration_ns INTEGER NOT NULL,
    clock_step_ns INTEGER NOT NULL,
    events_before INTEGER,
    events_last INTEGER,
    events_count INTEGER,
    udp_received INTEGER,
    udp_sent INTEGER,
    udp_bytes INTEGER,
    udp_dropped INTEGER,
    minor_faults INTEGER,
    major_faults INTEGER,
    swapped_in_pages INTEGER,
    refaulted_pages INTEGER,
    loom_event_number INTEGER,
    loom_heap_bytes INTEGER,
    loom_free_gap_bytes INTEGER,
    rss_bytes INTEGER,
    anon_bytes INTEGER,
    swap_bytes INTEGER,
    map_count INTEGER,
    disk_total_bytes INTEGER,
    disk_available_bytes INTEGER,
    log_bytes INTEGER,
    verdict_kind TEXT NOT NULL,
    verdict_cause TEXT,
    verdict_sentence TEXT NOT NULL,
    process_cpu_ns INTEGER NOT NULL,
    programs_cpu_ns INTEGER,
    max_resident_bytes INTEGER NOT NULL,
    thinned INTEGER NOT NULL,
    cut_short TEXT
);
CREATE INDEX window_time ON window (ship_id, start_unix_ns);
CREATE TABLE budget (
    window_id INTEGER NOT NULL REFERENCES window,
    role TEXT NOT NULL,
    wall_ns INTEGER NOT NULL,
    on_cpu_ns INTEGER NOT NULL,
    run_queue_ns INTEGER NOT NULL,
    throttled_ns INTEGER NOT NULL,
    blocked_ns INTEGER NOT NULL,
    idle_ns INTEGER NOT NULL,
    unexplained_ns INTEGER NOT NULL,
    PRIMARY KEY (window_id, role)
) WITHOUT ROWID;
CREATE TABLE leaf (
    window_id INTEGER NOT NULL REFERENCES window,
    leaf TEXT NOT NULL,
    cause TEXT NOT NULL,
    total_ns INTEGER NOT NULL,
    PRIMARY KEY (window_id, leaf)
) WITHOUT ROWID;
-- Pairs of LEB128 numbers: buckets skipped since the last one, count.
CREATE TABLE histogram (
    window_id INTEGER NOT NULL REFERENCES window,
    name TEXT NOT NULL,
    buckets BLOB NOT NULL,
    PRIMARY KEY (window_id, name)
) WITHOUT ROWID;
CREATE TABLE finding (
    window_id INTEGER NOT NULL REFERENCES window,
    position INTEGER NOT NULL,
    finding TEXT NOT NULL,
    severity TEXT NOT NULL,
    sentence TEXT NOT NULL,
    PRIMARY KEY (window_id, position)
) WITHOUT ROWID;
CREATE TABLE loss (
    window_id INTEGER NOT NULL REFERENCES window,
    reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (window_id, reason)
) WITHOUT ROWID;
CREATE TABLE not_measured (
    window_id INTEGER NOT NULL REFERENCES window,
    position INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (window_id, position)
) WITHOUT ROWID;
-- Stacks share what they have in common: a stack is its innermost node, and leads outwards through
-- parent_id to 0. last_window_id is at most a few thousand windows behind its last use.
CREATE TABLE frame (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE stack_node (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    parent_id INTEGER NOT NULL,
    frame_id INTEGER NOT NULL REFERENCES frame,
    last_window_id INTEGER NOT NULL,
    UNIQUE (parent_id, frame_id)
);
CREATE TABLE stack_kind (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE stack_weight (
    window_id INTEGER NOT NULL REFERENCES window,
    kind_id INTEGER NOT NULL REFERENCES stack_kind,
    stack_id INTEGER NOT NULL REFERENCES stack_node,
    weight_ns INTEGER NOT NULL,
    PRIMARY KEY (window_id, kind_id, stack_id)
) WITHOUT ROWID;
CREATE TABLE stack_rest (
    window_id INTEGER NOT NULL REFERENCES window,
    kind_id INTEGER NOT NULL REFERENCES stack_kind,
    rest_ns INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (window_id, kind_id)
) WITHOUT ROWID;
-- For people: SELECT s.text, sum(w.weight_ns) FROM stack_weight w JOIN stack s ON s.id = w.stack_id …
CREATE VIEW stack (id, text) AS
    WITH RECURSIVE path (id, text) AS (
        SELECT n.id, f.name FROM stack_node n JOIN frame f ON f.id = n.frame_id WHERE n.parent_id = 0
        UNION ALL
        SELECT n.id, path.text || ';' || f.name
        FROM path JOIN stack_node n ON n.parent_id = path.id JOIN frame f ON f.id = n.frame_id
    )
    SELECT id, text FROM path;
