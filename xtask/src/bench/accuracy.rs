//! How right the reports are: faults of known size against what is reported of them.

use std::path::PathBuf;

use anyhow::Result;
use harness::accuracy::{Accuracy, LeafShare, Outcome, scenarios};
use serde::Serialize;

use super::table::Table;
use crate::shell;

/// A leaf's share may be this far from what was injected, points.
const GOAL_POINTS: f64 = 5.0;
/// Stalled time without an explanation, per cent.
const GOAL_UNEXPLAINED_PERCENT: f64 = 3.0;

/// Options of `bench accuracy`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Only the scenarios whose names contain this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Keep captures and reports in this directory, which must be new.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Everything measured.
#[derive(Debug, Serialize)]
pub struct Results {
    goal_points: f64,
    goal_unexplained_percent: f64,
    scenarios: Vec<Outcome>,
    /// Scenarios that could not be run, and why.
    failed: Vec<(String, String)>,
}

impl Results {
    /// A row for each scenario, with its largest leaf and the leaf that is most off.
    pub fn table(&self) -> String {
        let right = self.scenarios.iter().filter(|one| one.top_cause_right);
        let near = self.scenarios.iter().filter(|one| {
            one.worst_error_points
                .is_some_and(|points| points <= GOAL_POINTS)
        });
        let title = format!(
            "Injected and reported shares of event time, points less the quiet ship's: {} of {} \
             scenarios named right, {} within {GOAL_POINTS} points; could not be run: {}",
            right.count(),
            self.scenarios.len(),
            near.count(),
            self.failed.len()
        );
        let columns = [
            "scenario",
            "verdict",
            "right",
            "events",
            "largest leaf",
            "injected",
            "reported",
            "most off",
            "injected",
            "reported",
            "error",
            "unexplained %",
            "played p95 %",
        ];
        let mut table = Table::new(title, &columns);
        for one in &self.scenarios {
            table.row(row(one));
        }
        let failed = self.failed.iter();
        let failed = failed.map(|(name, error)| format!("{name}: {error}\n"));
        format!("{table}{}", failed.collect::<String>())
    }
}

fn row(one: &Outcome) -> Vec<String> {
    let verdict = match &one.cause {
        Some(cause) => format!("{} {cause}", one.verdict),
        None => one.verdict.clone(),
    };
    let largest = one
        .leaves
        .iter()
        .max_by(|a, b| a.injected_points.total_cmp(&b.injected_points));
    let worst = one.worst_leaf.as_deref();
    let worst = one.leaves.iter().find(|share| Some(&*share.leaf) == worst);
    let points = |value: f64| format!("{value:.1}");
    let cells = |share: Option<&LeafShare>| match share {
        Some(share) => [
            share.leaf.clone(),
            points(share.injected_points),
            points(share.reported_points),
        ],
        None => ["-"; 3].map(str::to_owned),
    };
    let mut row = vec![
        one.name.clone(),
        verdict,
        if one.top_cause_right { "yes" } else { "NO" }.into(),
        format!("{}/{}", one.events.1, one.events.0),
    ];
    row.extend(cells(largest));
    row.extend(cells(worst));
    row.push(one.worst_error_points.map_or("-".into(), points));
    row.push(points(one.unexplained_percent));
    row.push(one.played_p95_percent.map_or("-".into(), points));
    row
}

/// Runs all of them, or those asked for. One that cannot be run is told of, and the next one tried.
pub fn run(options: &Options) -> Result<Results> {
    shell::heading("accuracy: what was injected and what is reported");
    let mut accuracy = Accuracy::default();
    accuracy.keep.clone_from(&options.keep);
    let mut results = Results {
        goal_points: GOAL_POINTS,
        goal_unexplained_percent: GOAL_UNEXPLAINED_PERCENT,
        scenarios: Vec::new(),
        failed: Vec::new(),
    };
    for scenario in scenarios() {
        let name = scenario.name;
        if options
            .only
            .as_ref()
            .is_some_and(|text| !name.contains(text))
        {
            continue;
        }
        match accuracy.run(&scenario) {
            Ok(outcome) => {
                eprintln!("{}", row(&outcome).join("  "));
                results.scenarios.push(outcome);
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                results.failed.push((name.to_owned(), error.to_string()));
            }
        }
    }
    Ok(results)
}
