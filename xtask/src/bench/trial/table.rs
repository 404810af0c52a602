//! Fixes as a table: what was predicted, what came, and what was said.

use super::{Found, Results, Row, Verdict};
use crate::bench::table::Table;

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Helped => "helped",
            Self::NoEffect => "no effect",
            Self::Worse => "worse",
            Self::NotEnoughData => "not enough data",
        }
    }
}

impl Results {
    /// A row for each fix; below it what was said of those that were judged wrongly.
    pub fn table(&self) -> String {
        let title = format!(
            "Fixes on a running ship, {} windows of {} s without and with each: right of {} in {}",
            self.windows,
            self.window_s,
            self.right,
            self.rows.len()
        );
        let columns = [
            "fix",
            "applied by",
            "predicted %",
            "came %",
            "p95 ms",
            "noise %",
            "stalled %",
            "lost/s",
            "verdict",
            "expected",
            "right",
            "s",
        ];
        let mut table = Table::new(title, &columns);
        self.rows.iter().for_each(|row| table.row(row.cells()));
        let wrong = self.rows.iter().filter(|row| !row.right);
        let wrong: String = wrong.map(|row| format!("{}\n", row.told())).collect();
        format!("{table}{wrong}")
    }
}

impl Row {
    /// What was said of it, or why nothing was.
    pub fn told(&self) -> String {
        let said = match (&self.found, &self.failed) {
            (Some(found), _) => &found.sentence,
            (None, Some(failed)) => failed,
            (None, None) => "nothing was said",
        };
        format!("{}: {said}", self.name)
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.name.to_owned(), self.way.to_owned()];
        match &self.found {
            Some(found) => cells.extend(found.cells()),
            None => cells.extend(["-", "-", "-", "-", "-", "-", "not put here"].map(str::to_owned)),
        }
        cells.extend([
            self.expected.name().to_owned(),
            if self.right { "yes" } else { "NO" }.to_owned(),
            format!("{:.0}", self.seconds),
        ]);
        cells
    }
}

impl Found {
    fn cells(&self) -> [String; 7] {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let percent = |ratio: f64| format!("{:.0}", ratio * 100.0);
        let [before, after] = self.stalled_ratio;
        [
            or_none(
                self.predicted_ratio
                    .map(|(low, high)| format!("{} to {}", percent(low), percent(high))),
            ),
            or_none(self.measured_ratio.map(percent)),
            or_none(
                self.p95_ns
                    .map(|[before, after, _]| format!("{:.1} → {:.1}", before / 1e6, after / 1e6)),
            ),
            or_none(
                self.p95_ns
                    .map(|[before, _, noise]| percent(noise / before)),
            ),
            or_none(
                before
                    .zip(after)
                    .map(|(before, after)| format!("{} → {}", percent(before), percent(after))),
            ),
            or_none(
                self.lost_hz
                    .filter(|lost| lost.iter().any(|hz| *hz > 0.0))
                    .map(|[before, after]| format!("{before:.0} → {after:.0}")),
            ),
            self.verdict.name().to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_said_is_read_and_shown() {
        let diff = json!({
            "outcome": "helped", "sentence": "Helped.",
            "lines": [{"metric": "p50"},
                {"metric": "p95", "before": 2e8, "after": 5e7, "noise": 2e7}],
            "expected": {"predicted_ratio": [0.5, 0.9], "measured_ratio": 0.75},
            "before": {"stalled_ratio": 0.8}, "after": {"stalled_ratio": 0.1},
            "datagrams": {"before_lost_hz": 0.0, "after_lost_hz": 0.0},
        });
        let row = Row {
            name: "cpu-quota",
            fix: "cpu-quota",
            way: "trial",
            expected: Verdict::Helped,
            right: true,
            found: Some(Found::of(&diff).unwrap()),
            failed: None,
            seconds: 80.4,
        };
        let expected = [
            "cpu-quota",
            "trial",
            "50 to 90",
            "75",
            "200.0 → 50.0",
            "10",
            "80 → 10",
            "-",
            "helped",
            "helped",
            "yes",
            "80",
        ];
        assert_eq!(row.cells(), expected);
        assert!(Found::of(&json!({})).is_err());
    }
}
