//! CSV for spreadsheets: one line per bucket, units in the header. An empty field was not measured.

use super::time;
use crate::history::{History, Row, RowState, Series, verdict_word};
use crate::model::{WindowSum, histogram_name};

/// Columns, in order.
const HEADER: [&str; 31] = [
    "from_utc",
    "to_utc",
    "ship",
    "state",
    "covered_ratio",
    "windows",
    "events",
    "events_per_s",
    "mars_on_cpu_ratio",
    "event_p95_ns",
    "commit_p95_ns",
    "run_queue_p95_ns",
    "datagrams_received",
    "datagrams_dropped",
    "minor_faults",
    "major_faults",
    "swapped_in_pages",
    "refaulted_pages",
    "heap_bytes",
    "free_gap_bytes",
    "rss_bytes",
    "swap_bytes",
    "disk_available_bytes",
    "log_bytes",
    "disk_ns",
    "cpu_ns",
    "memory_ns",
    "ames_ns",
    "unexplained_ns",
    "lost",
    "verdict",
];

/// The rows as CSV (RFC 4180, with plain line ends).
pub fn render(history: &History) -> String {
    let mut text = HEADER.join(",");
    text.push('\n');
    for row in &history.rows {
        let fields = fields(history, row);
        let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

fn fields(history: &History, row: &Row) -> [String; 31] {
    let sum = &row.sum;
    let state = match row.state() {
        RowState::Sampled => "sampled",
        RowState::Covered => "covered by an earlier window",
        RowState::Gap => "gap",
    };
    let number = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
    let ratio = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.6}"));
    let quantile = |name| number(sum.histograms.get(name).and_then(|h| h.quantile(950)));
    let udp = sum.udp.as_ref().map(|udp| udp.sum);
    let faults = sum.faults.as_ref().map(|faults| faults.sum);
    let loom = sum.loom.as_ref().map(|loom| loom.value);
    let memory = sum.memory.as_ref().map(|memory| memory.value);
    let disk = sum.disk_space.as_ref().map(|disk| disk.value);
    let sampled = sum.windows > 0;
    [
        time(row.from_unix_ns),
        time(row.to_unix_ns),
        history.ship.label.clone(),
        state.to_owned(),
        format!("{:.4}", row.covered_ratio()),
        sum.windows.to_string(),
        number(sum.events.as_ref().map(|events| events.sum.count)),
        ratio(Series::EventRate.of(sum)),
        ratio(Series::MarsOnCpu.of(sum)),
        quantile(histogram_name::EVENT),
        quantile(histogram_name::COMMIT),
        quantile(histogram_name::RUN_QUEUE),
        number(udp.map(|udp| udp.received)),
        number(udp.map(|udp| udp.dropped)),
        number(faults.map(|faults| faults.minor)),
        number(faults.map(|faults| faults.major)),
        number(faults.and_then(|faults| faults.swapped_in_pages)),
        number(faults.and_then(|faults| faults.refaulted_pages)),
        number(loom.map(|loom| loom.heap_bytes)),
        number(loom.map(|loom| loom.free_gap_bytes)),
        number(memory.map(|memory| memory.rss_bytes)),
        number(memory.map(|memory| memory.swap_bytes)),
        number(disk.map(|disk| disk.available_bytes)),
        number(disk.and_then(|disk| disk.log_bytes)),
        number(cause(sum, "disk")),
        number(cause(sum, "cpu")),
        number(cause(sum, "memory")),
        number(cause(sum, "ames")),
        number(cause(sum, "unexplained")),
        number(sampled.then(|| crate::model::sum(sum.losses.values().copied()))),
        verdict_word(sum),
    ]
}

/// Time of a cause; nothing if no window attributed any time.
fn cause(sum: &WindowSum, name: &str) -> Option<u64> {
    let of_cause = sum.leaves.values().filter(|leaf| leaf.cause == name);
    (!sum.leaves.is_empty()).then(|| crate::model::sum(of_cause.map(|leaf| leaf.total_ns)))
}

/// A field that neither breaks the line nor is taken for a formula by a spreadsheet.
fn quoted(field: &str) -> String {
    let mut safe = super::super::harmless(field);
    if safe.starts_with(['=', '+', '-', '@']) {
        safe.insert(0, '\'');
    }
    if safe.contains([',', '"', '\'', ';', ' ']) {
        safe = format!("\"{}\"", safe.replace('"', "\"\""));
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::history;
    use crate::model::example::MINUTE_NS;

    #[test]
    fn a_gap_is_empty_and_never_zero() {
        let text = render(&history(240, 10 * MINUTE_NS));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 25);
        assert!(lines.iter().all(|line| line.split(',').count() == 31));
        let gap = lines[11];
        assert!(
            gap.starts_with("2026-03-01T01:40:00Z,2026-03-01T01:50:00Z,~sampel-palnet,gap,"),
            "{gap}"
        );
        assert!(
            gap.ends_with("gap,0.0000,0,,,,,,,,,,,,,,,,,,,,,,,,,"),
            "{gap}"
        );
        assert!(lines[1].contains(",sampled,1.0000,10,360,"), "{}", lines[1]);
    }

    #[test]
    fn names_can_do_nothing() {
        for (name, field) in [
            ("=1+2", "\"'=1+2\""),
            ("@x", "\"'@x\""),
            ("-x,\"y\"", "\"'-x,\"\"y\"\"\""),
            ("a\nb", "a\\u{a}b"),
            ("~zod", "~zod"),
        ] {
            assert_eq!(quoted(name), field);
        }
    }
}
