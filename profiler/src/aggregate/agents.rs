//! Time and events by agent and vane: which of them to suspend.
//!
//! Whose code ran is told by samples, so all of it is an estimate; only sums are exact. Mars' time on
//! CPU in computations is shared out by all samples in them. What a computation waited for (a CPU, a
//! page) carries no Hoon stack: it counts for the agent that most of the computation's samples were of,
//! as do the computation's event and the events that waited behind it. A computation too short to be
//! sampled is nobody's: the entry without a name holds what is not known.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::events::{EventSpan, EventsSummary, Timeline};
use super::hoon::{events, is_computing, sites};
use crate::hoon::Folding;
use crate::model::{Capture, NS_PER_S, sum};

/// Events from which on it makes sense to speak of the slowest twentieth.
const MIN_EVENTS: usize = 20;

/// All agents and vanes, and what their numbers are parts of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentsSummary {
    /// The most time on CPU first; what is not known comes last.
    pub agents: Vec<AgentSummary>,
    /// Mars' time on CPU in computations: exact where events were followed, else by samples.
    pub computing_ns: u64,
    /// What there is only where events were followed.
    pub events: Option<EventTotals>,
}

/// Events in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTotals {
    /// Events.
    pub events: u64,
    /// Of these, the slowest twentieth; nothing if there are too few to speak of it.
    pub slow_events: Option<u64>,
    /// Computations, those of questions and replays among them.
    pub computations: u64,
    /// Of these, how many were sampled.
    pub sampled_computations: u64,
}

/// One agent or vane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentSummary {
    /// `/app/dojo`, `gall`; nothing for what is not known.
    pub agent: Option<String>,
    /// Samples under its code.
    pub samples: u64,
    /// Mars' time on CPU in its code.
    pub on_cpu_ns: u64,
    /// What depends on following events.
    pub events: AgentEvents,
}

/// Where events were followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentEvents {
    /// Time off the CPU in its computations.
    pub off_cpu_ns: u64,
    /// Events that mostly ran its code.
    pub events: u64,
    /// Of the slowest.
    pub slow_events: u64,
    /// Time that events waited at mars while it computed another of this agent's.
    pub held_up_ns: u64,
}

/// Sums them up; nothing if no Hoon stack was taken under a computation.
pub fn summarise(capture: &Capture, followed: Option<&EventsSummary>) -> Option<AgentsSummary> {
    let samples: Vec<(u64, Option<String>)> = events(capture)
        .filter(|event| is_computing(event))
        .map(|event| {
            let owner = sites(event, &capture.hoon, Folding::Owner).pop();
            (event.ktime_ns, owner)
        })
        .collect();
    if samples.is_empty() {
        return None;
    }
    let mut agents: BTreeMap<Option<String>, AgentSummary> = BTreeMap::new();
    for (_, owner) in &samples {
        entry(&mut agents, owner).samples += 1;
    }
    let followed = followed.map(|followed| (followed, Runs::of(followed, &samples)));
    let followed = followed.as_ref();
    let totals = followed.map(|(events, runs)| follow(events, runs, &samples, &mut agents));
    let computing_ns = match followed {
        Some((_, runs)) => runs.on_cpu_ns(),
        None => NS_PER_S / capture.meta.sample_hz.max(1) * samples.len() as u64,
    };
    share_out(computing_ns, &mut agents);
    let mut agents: Vec<AgentSummary> = agents.into_values().collect();
    agents.sort_by_key(|one| {
        (
            one.agent.is_none(),
            Reverse(one.on_cpu_ns),
            one.agent.clone(),
        )
    });
    Some(AgentsSummary {
        agents,
        computing_ns,
        events: totals,
    })
}

fn entry<'a>(
    agents: &'a mut BTreeMap<Option<String>, AgentSummary>,
    owner: &Option<String>,
) -> &'a mut AgentSummary {
    agents.entry(owner.clone()).or_insert_with(|| AgentSummary {
        agent: owner.clone(),
        ..AgentSummary::default()
    })
}

/// Shares time on CPU out by samples. The shares sum to it.
fn share_out(computing_ns: u64, agents: &mut BTreeMap<Option<String>, AgentSummary>) {
    let all: u128 = agents.values().map(|agent| u128::from(agent.samples)).sum();
    let (mut before, mut given_ns) = (0_u128, 0_u64);
    for agent in agents.values_mut() {
        before += u128::from(agent.samples);
        let until_ns = u128::from(computing_ns) * before / all.max(1);
        let until_ns = u64::try_from(until_ns).unwrap_or(computing_ns);
        agent.on_cpu_ns = until_ns - given_ns;
        given_ns = until_ns;
    }
}

/// Computations in the order of their times, with whom they are of.
struct Runs {
    runs: Vec<Run>,
}

struct Run {
    start_ktime_ns: u64,
    end_ktime_ns: u64,
    away_ns: u64,
    owner: Option<String>,
    is_sampled: bool,
}

impl Runs {
    fn of(followed: &EventsSummary, samples: &[(u64, Option<String>)]) -> Self {
        let none = Timeline::default();
        let timeline = followed.mars.and_then(|mars| followed.timelines.get(&mars));
        let timeline = timeline.unwrap_or(&none);
        let mut runs: Vec<Run> = followed
            .computations
            .iter()
            .map(|one| {
                let (start, end) = (one.start_ktime_ns, one.end_ktime_ns);
                let within = range(samples, start, end);
                let away = timeline.within(start, end).iter().map(|absence| {
                    absence.end_ktime_ns.min(end) - absence.start_ktime_ns.max(start)
                });
                Run {
                    start_ktime_ns: start,
                    end_ktime_ns: end,
                    away_ns: sum(away),
                    owner: majority(within),
                    is_sampled: !within.is_empty(),
                }
            })
            .collect();
        runs.sort_by_key(|run| run.start_ktime_ns);
        Self { runs }
    }

    fn on_cpu_ns(&self) -> u64 {
        let on_cpu =
            |run: &Run| (run.end_ktime_ns - run.start_ktime_ns).saturating_sub(run.away_ns);
        sum(self.runs.iter().map(on_cpu))
    }

    /// Those that overlap `[from, to)`.
    fn within(&self, from: u64, to: u64) -> &[Run] {
        let first = self.runs.partition_point(|run| run.end_ktime_ns <= from);
        let rest = &self.runs[first..];
        &rest[..rest.partition_point(|run| run.start_ktime_ns < to)]
    }
}

/// The samples of `[from, to)`.
fn range(samples: &[(u64, Option<String>)], from: u64, to: u64) -> &[(u64, Option<String>)] {
    let first = samples.partition_point(|(at, _)| *at < from);
    let rest = &samples[first..];
    &rest[..rest.partition_point(|(at, _)| *at < to)]
}

/// Of whom most samples are; nothing if there are none, or most tell nobody.
fn majority(samples: &[(u64, Option<String>)]) -> Option<String> {
    let mut counts: BTreeMap<&Option<String>, u64> = BTreeMap::new();
    for (_, owner) in samples {
        *counts.entry(owner).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|(owner, count)| (*count, owner.is_some()))?;
    most.0.clone()
}

/// Adds what following events tells.
fn follow(
    followed: &EventsSummary,
    runs: &Runs,
    samples: &[(u64, Option<String>)],
    agents: &mut BTreeMap<Option<String>, AgentSummary>,
) -> EventTotals {
    for run in &runs.runs {
        entry(agents, &run.owner).events.off_cpu_ns += run.away_ns;
    }
    let slow_from_ns = slow_from_ns(followed);
    let is_slow = |span: &EventSpan| slow_from_ns.is_some_and(|ns| span.duration_ns() >= ns);
    for span in followed.events() {
        let owner = majority(range(
            samples,
            span.work.start_ktime_ns,
            span.work.end_ktime_ns,
        ));
        let own = &mut entry(agents, &owner).events;
        own.events += 1;
        own.slow_events += u64::from(is_slow(span));
        let (sent, begun) = (span.sent_ktime_ns, span.work.start_ktime_ns);
        for run in runs.within(sent, begun) {
            let held_up = run
                .end_ktime_ns
                .min(begun)
                .saturating_sub(run.start_ktime_ns.max(sent));
            entry(agents, &run.owner).events.held_up_ns += held_up;
        }
    }
    let slow_events = followed.events().filter(|span| is_slow(span)).count() as u64;
    EventTotals {
        events: followed.events().count() as u64,
        slow_events: slow_from_ns.map(|_| slow_events),
        computations: runs.runs.len() as u64,
        sampled_computations: runs.runs.iter().filter(|run| run.is_sampled).count() as u64,
    }
}

/// The 95th percentile of the events' times, exactly.
fn slow_from_ns(followed: &EventsSummary) -> Option<u64> {
    let mut times: Vec<u64> = followed.events().map(EventSpan::duration_ns).collect();
    times.sort_unstable();
    let at = (times.len() * 95).div_ceil(100).saturating_sub(1);
    times.get(at).copied().filter(|_| times.len() >= MIN_EVENTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::events::{Computation, EventKind, Work};

    fn owned(list: &[(u64, &str)]) -> Vec<(u64, Option<String>)> {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        list.iter().map(|(at, name)| (*at, named(name))).collect()
    }

    #[test]
    fn most_samples_decide_whose_a_computation_is() {
        let owner = |list| majority(&owned(list));
        assert_eq!(owner(&[(1, "a"), (2, "b"), (3, "b")]).as_deref(), Some("b"));
        assert_eq!(owner(&[(1, ""), (2, ""), (3, "b")]), None);
        assert_eq!(owner(&[(1, ""), (2, "b")]).as_deref(), Some("b"));
        assert_eq!(owner(&[]), None);
    }

    /// Events of 100 each, computed one after the other; `a` has every second one.
    fn followed() -> EventsSummary {
        let span = |i: u64| EventSpan {
            kind: Some(EventKind::Timer),
            is_mass: false,
            arrived_ktime_ns: i * 100,
            sent_ktime_ns: i * 100,
            work: Work {
                // Begun when the one before has ended.
                start_ktime_ns: i * 100 + 50,
                end_ktime_ns: i * 100 + 150,
                succeeded: true,
                event_number: Some(i),
            },
            commit: None,
            answered_ktime_ns: i * 100 + 155,
            released_ktime_ns: i * 100 + 160 + if i == 5 { 1000 } else { 0 },
        };
        let spans: Vec<EventSpan> = (0..40).map(span).collect();
        let computations = spans.iter().map(|span| Computation {
            start_ktime_ns: span.work.start_ktime_ns,
            computed_ktime_ns: span.work.end_ktime_ns,
            end_ktime_ns: span.work.end_ktime_ns,
            succeeded: true,
            event_number: 0,
        });
        EventsSummary {
            computations: computations.collect(),
            spans,
            ..EventsSummary::default()
        }
    }

    #[test]
    fn events_and_those_behind_them_are_charged_to_agents() {
        let followed = followed();
        // Every fourth was not sampled.
        let samples: Vec<(u64, Option<String>)> = (0..40)
            .filter(|i| i % 4 != 3)
            .map(|i| {
                (
                    i * 100 + 60,
                    Some(if i % 2 == 0 { "a" } else { "b" }.to_owned()),
                )
            })
            .collect();
        let mut agents = BTreeMap::new();
        let runs = Runs::of(&followed, &samples);
        let totals = follow(&followed, &runs, &samples, &mut agents);
        assert_eq!((totals.events, totals.slow_events), (40, Some(40)));
        assert_eq!((totals.computations, totals.sampled_computations), (40, 30));
        let of = |name: &str| agents[&(!name.is_empty()).then(|| name.to_owned())].events;
        assert_eq!(
            (of("a").events, of("b").events, of("").events),
            (20, 10, 10)
        );
        // Each but the first waits 50 behind the one before.
        let held_up = [of("a"), of("b"), of("")].map(|one| one.held_up_ns);
        assert_eq!(held_up, [20 * 50, 10 * 50, 9 * 50]);
    }

    #[test]
    fn time_on_cpu_is_shared_out_to_the_last_nanosecond() {
        let mut agents = BTreeMap::new();
        for (name, samples) in [("a", 1), ("b", 1), ("c", 1)] {
            entry(&mut agents, &Some(name.to_owned())).samples = samples;
        }
        share_out(100, &mut agents);
        let shares: Vec<u64> = agents.values().map(|agent| agent.on_cpu_ns).collect();
        assert_eq!(shares, [33, 33, 34]);
    }
}
