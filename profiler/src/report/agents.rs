//! Agents and vanes as a report shows them.

use serde::Serialize;

use crate::aggregate::agents::{AgentSummary, AgentsSummary, EventTotals};
use crate::attribute::ratio;

/// One agent or vane. All numbers are estimates from samples.
#[derive(Debug, Clone, Serialize)]
pub struct AgentLine {
    /// `/app/dojo`, `gall`; nothing for what no sample tells.
    pub agent: Option<String>,
    /// Samples under its code.
    pub samples: u64,
    /// Mars' time on CPU in its code.
    pub on_cpu_ns: u64,
    /// Of the time on CPU in all computations.
    pub on_cpu_ratio: f64,
    /// Time off the CPU in its computations; nothing if events were not followed, as all that follows.
    pub off_cpu_ns: Option<u64>,
    /// Events that mostly ran its code.
    pub events: Option<u64>,
    /// Their share.
    pub events_ratio: Option<f64>,
    /// Of the slowest twentieth of events; nothing if there are too few to speak of it.
    pub slow_events: Option<u64>,
    /// Their share.
    pub slow_events_ratio: Option<f64>,
    /// Time that events waited at mars while it computed another of this agent's.
    pub held_up_ns: Option<u64>,
}

/// What the numbers of agents are parts of.
#[derive(Debug, Clone, Serialize)]
pub struct AgentsBasis {
    /// What told whose code ran: `hints`, the lists in mars' memory.
    pub source: &'static str,
    /// Mars' time on CPU in computations.
    pub computing_ns: u64,
    /// Whether that was measured, and not counted in samples.
    pub computing_is_exact: bool,
    /// Events; nothing if they were not followed.
    pub events: Option<u64>,
    /// The slowest of them.
    pub slow_events: Option<u64>,
    /// Computations.
    pub computations: Option<u64>,
    /// Of these, how many were sampled: the others are nobody's.
    pub sampled_computations: Option<u64>,
}

/// The table, what is not known last.
pub fn agents(summary: &AgentsSummary) -> Vec<AgentLine> {
    let lines = summary.agents.iter();
    lines.map(|agent| line(agent, summary)).collect()
}

fn line(agent: &AgentSummary, summary: &AgentsSummary) -> AgentLine {
    let totals = summary.events.as_ref();
    let slow = totals.and_then(|totals| totals.slow_events);
    let own = agent.events;
    AgentLine {
        agent: agent.agent.clone(),
        samples: agent.samples,
        on_cpu_ns: agent.on_cpu_ns,
        on_cpu_ratio: ratio(agent.on_cpu_ns, summary.computing_ns),
        off_cpu_ns: totals.map(|_| own.off_cpu_ns),
        events: totals.map(|_| own.events),
        events_ratio: totals.map(|totals| ratio(own.events, totals.events)),
        slow_events: slow.map(|_| own.slow_events),
        slow_events_ratio: slow.map(|slow| ratio(own.slow_events, slow)),
        held_up_ns: totals.map(|_| own.held_up_ns),
    }
}

/// What they are parts of.
pub fn basis(summary: &AgentsSummary) -> AgentsBasis {
    let of = |of: fn(&EventTotals) -> u64| summary.events.as_ref().map(of);
    AgentsBasis {
        source: "hints",
        computing_ns: summary.computing_ns,
        computing_is_exact: summary.events.is_some(),
        events: of(|totals| totals.events),
        slow_events: summary.events.and_then(|totals| totals.slow_events),
        computations: of(|totals| totals.computations),
        sampled_computations: of(|totals| totals.sampled_computations),
    }
}
