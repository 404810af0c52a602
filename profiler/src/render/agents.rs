//! Which agents and vanes compute.

use super::harmless;
use super::page::Page;
use crate::attribute::Leaf;
use crate::report::units::{duration, percent};
use crate::report::{AgentLine, Report};

/// Most agents that are shown; all are in the JSON.
const SHOWN: usize = 3;
/// Longest name of an agent.
const NAME: usize = 24;
/// What is not known is shown from this share of the time or of the events on.
const UNKNOWN_RATIO: f64 = 0.05;
/// Computing matters from this share of the time on.
const MATTERS_RATIO: f64 = 0.25;

/// The table, where computing matters and is not one agent's alone.
pub fn agents(page: &mut Page, report: &Report) {
    let Some(agents) = &report.agents else { return };
    let known: Vec<&AgentLine> = agents.iter().filter(|one| one.agent.is_some()).collect();
    let parts = report.shares.iter().flat_map(|share| &share.parts);
    let computing = parts.filter(|part| part.leaf == Leaf::Computing);
    let computing: f64 = computing.map(|part| part.ratio).sum();
    if known.len() < 2 || computing < MATTERS_RATIO {
        return;
    }
    page.line(&format!(
        "{:<25}{:>9}{:>9}{:>9}{:>10}{:>17}",
        "WHO COMPUTES (all ~)", "on CPU", "off CPU", "events", "slowest", "held others up"
    ));
    let unknown = agents.iter().filter(|one| {
        let events = one.events_ratio.unwrap_or(0.0);
        one.agent.is_none() && one.on_cpu_ratio.max(events) >= UNKNOWN_RATIO
    });
    for agent in known.into_iter().chain(unknown).take(SHOWN) {
        let unknown = || "-".to_owned();
        let share = |ratio: Option<f64>| ratio.map_or_else(unknown, percent);
        let time = |ns: Option<u64>| ns.map_or_else(unknown, duration);
        let name = harmless(agent.agent.as_deref().unwrap_or("not sampled"));
        page.line(&format!(
            "{:<25}{:>9}{:>9}{:>9}{:>10}{:>17}",
            name.chars().take(NAME).collect::<String>(),
            percent(agent.on_cpu_ratio),
            time(agent.off_cpu_ns),
            share(agent.events_ratio),
            share(agent.slow_events_ratio),
            time(agent.held_up_ns)
        ));
    }
}
