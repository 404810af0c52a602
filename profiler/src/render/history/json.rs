//! The history as JSON. A field that is `null` was not measured.

use std::collections::BTreeMap;

use serde::Serialize;

use super::time;
use crate::history::{History, Row, RowState, verdict_word};
use crate::model::{
    Budget, Covered, DiskSpace, EventRange, Faults, Histogram, Latest, LeafTime, Loom, OwnCostSum,
    ProcessMemory, ShipKey, StackSum, Udp, WindowSum,
};
use crate::ship::Role;

/// Version of the JSON. Raised when a field changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;
/// Stacks of a kind that are shown; all others are summed.
const STACKS: usize = 50;

#[derive(Serialize)]
struct HistoryJson<'a> {
    schema_version: u32,
    ship: &'a ShipKey,
    from: String,
    to: String,
    every_ns: u64,
    gaps: Vec<GapJson>,
    rows: Vec<RowJson<'a>>,
    total: SumJson<'a>,
    stacks: BTreeMap<&'a str, StacksJson<'a>>,
}

#[derive(Serialize)]
struct GapJson {
    from: String,
    to: String,
    duration_ns: u64,
}

#[derive(Serialize)]
struct RowJson<'a> {
    from: String,
    to: String,
    state: &'static str,
    covered_ratio: f64,
    /// Nothing where no window begins.
    sum: Option<SumJson<'a>>,
}

#[derive(Serialize)]
struct SumJson<'a> {
    windows: u64,
    duration_ns: u64,
    clock_steps_ns: u64,
    vere_versions: &'a BTreeMap<String, u64>,
    verdict: String,
    verdicts: Vec<VerdictJson<'a>>,
    findings: Vec<FindingJson<'a>>,
    events: &'a Option<Covered<EventRange>>,
    budgets: &'a BTreeMap<Role, Budget>,
    leaves: &'a BTreeMap<String, LeafTime>,
    histograms: BTreeMap<&'a str, QuantilesJson>,
    udp: &'a Option<Covered<Udp>>,
    faults: &'a Option<Covered<Faults>>,
    loom: &'a Option<Latest<Loom>>,
    memory: &'a Option<Latest<ProcessMemory>>,
    disk_space: &'a Option<Latest<DiskSpace>>,
    own_cost: &'a OwnCostSum,
    losses: &'a BTreeMap<String, u64>,
    not_measured: &'a BTreeMap<String, u64>,
    cut_short: &'a BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct VerdictJson<'a> {
    kind: &'a str,
    cause: Option<&'a str>,
    windows: u64,
    last_sentence: &'a str,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    id: &'a str,
    severity: &'a str,
    windows: u64,
    last_sentence: &'a str,
}

#[derive(Serialize)]
struct QuantilesJson {
    count: u64,
    p50: Option<u64>,
    p95: Option<u64>,
    p99: Option<u64>,
}

#[derive(Serialize)]
struct StacksJson<'a> {
    total_ns: u64,
    top: Vec<StackJson<'a>>,
}

#[derive(Serialize)]
struct StackJson<'a> {
    weight_ns: u64,
    frames: &'a [String],
}

/// The history as indented JSON.
///
/// # Errors
/// Never seen: it holds nothing that JSON cannot.
pub fn render(history: &History) -> Result<String, serde_json::Error> {
    let gaps = history.gaps.iter().map(|gap| GapJson {
        from: time(gap.from_unix_ns),
        to: time(gap.to_unix_ns),
        duration_ns: gap.duration_ns(),
    });
    let stacks = &history.total.stacks;
    super::super::json::pretty(&HistoryJson {
        schema_version: SCHEMA_VERSION,
        ship: &history.ship,
        from: time(history.from_unix_ns),
        to: time(history.to_unix_ns),
        every_ns: history.every_ns,
        gaps: gaps.collect(),
        rows: history.rows.iter().map(row).collect(),
        total: sum(&history.total),
        stacks: stacks
            .iter()
            .map(|(kind, sum)| (kind.as_str(), top(sum)))
            .collect(),
    })
}

fn row(row: &Row) -> RowJson<'_> {
    RowJson {
        from: time(row.from_unix_ns),
        to: time(row.to_unix_ns),
        state: match row.state() {
            RowState::Sampled => "sampled",
            RowState::Covered => "covered",
            RowState::Gap => "gap",
        },
        covered_ratio: row.covered_ratio(),
        sum: (row.sum.windows > 0).then(|| sum(&row.sum)),
    }
}

fn sum(sum: &WindowSum) -> SumJson<'_> {
    let verdicts = sum.verdicts.iter().map(|(key, verdict)| VerdictJson {
        kind: &key.kind,
        cause: key.cause.as_deref(),
        windows: verdict.windows,
        last_sentence: &verdict.sentence.value,
    });
    let findings = sum
        .findings
        .iter()
        .map(|((severity, id), finding)| FindingJson {
            id,
            severity,
            windows: finding.windows,
            last_sentence: &finding.sentence.value,
        });
    let histograms = sum.histograms.iter();
    SumJson {
        windows: sum.windows,
        duration_ns: sum.duration_ns,
        clock_steps_ns: sum.clock_steps_ns,
        vere_versions: &sum.vere_versions,
        verdict: verdict_word(sum),
        verdicts: verdicts.collect(),
        findings: findings.collect(),
        events: &sum.events,
        budgets: &sum.budgets,
        leaves: &sum.leaves,
        histograms: histograms
            .map(|(name, histogram)| (name.as_str(), quantiles(histogram)))
            .collect(),
        udp: &sum.udp,
        faults: &sum.faults,
        loom: &sum.loom,
        memory: &sum.memory,
        disk_space: &sum.disk_space,
        own_cost: &sum.own_cost,
        losses: &sum.losses,
        not_measured: &sum.not_measured,
        cut_short: &sum.cut_short,
    }
}

fn quantiles(histogram: &Histogram) -> QuantilesJson {
    QuantilesJson {
        count: histogram.count(),
        p50: histogram.quantile(500),
        p95: histogram.quantile(950),
        p99: histogram.quantile(990),
    }
}

fn top(sum: &StackSum) -> StacksJson<'_> {
    let mut stacks: Vec<StackJson<'_>> = sum
        .weights_ns
        .iter()
        .map(|(frames, weight_ns)| StackJson {
            weight_ns: *weight_ns,
            frames,
        })
        .collect();
    stacks.sort_by_key(|stack| std::cmp::Reverse(stack.weight_ns));
    stacks.truncate(STACKS);
    StacksJson {
        total_ns: sum.total_ns(),
        top: stacks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::history;
    use crate::model::example::MINUTE_NS;

    #[test]
    fn a_gap_has_no_sum_and_names_are_escaped() {
        let mut history = history(240, 10 * MINUTE_NS);
        history.ship.pier = "/\u{9b}31m".to_owned();
        let text = render(&history).expect("it is plain");
        assert!(text.contains("/\\u009b31m"));
        let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(json["schema_version"], 1);
        assert_eq!(json["rows"][10]["state"], "gap");
        assert!(json["rows"][10]["sum"].is_null());
        assert_eq!(json["rows"][0]["sum"]["windows"], 10);
        assert_eq!(json["total"]["windows"], 190);
        assert_eq!(
            json["stacks"]["on-cpu"]["top"].as_array().map(Vec::len),
            Some(50)
        );
    }
}
