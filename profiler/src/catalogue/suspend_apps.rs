//! Agents that nobody needs.

use super::{Assessment, Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::{Cause, Leaf, ratio};
use crate::report::units::{percent, spent};

/// Agents of the desk `%base`, without which a ship does not work (urbit `pkg/arvo/desk.bill`).
const BASE_AGENTS: [&str; 11] = [
    "acme",
    "azimuth",
    "azimuth-tracker",
    "dbug",
    "dojo",
    "eth-watcher",
    "herm",
    "hood",
    "lens",
    "ping",
    "spider",
];
/// Share of the samples under a computation below which an agent is not worth naming.
const MIN_RATIO: f64 = 0.05;
/// Most agents that are named.
const MOST_NAMED: usize = 3;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "suspend-apps",
    title: "suspend apps that nobody uses",
    cause: Cause::Cpu,
    shrinks: &[Leaf::Computing],
    why: "An agent computes whether anybody looks at it or not, and events wait behind it.",
    gain: "At most the computing that holds the ship up, by the share of the Hoon stacks that were in \
           agents which can be suspended; at least nothing: whether they are needed only their user knows.",
    check: "the Hoon stacks of mars: whose code it computed, by agent",
    answers: &[Kind::WouldHelp, Kind::NoEvidence, Kind::CannotTell],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::Medium,
    source: "measured here; |suspend takes a desk, +vats says which agents are of it \
             (docs.urbit.org dojo-tools)",
    apply: &["in the dojo: +vats, to see the agent's desk; then |suspend %DESK"],
    undo: &["in the dojo: |revive %DESK"],
    assess,
};

/// Whether a ship works without an agent.
pub fn can_be_suspended(agent: &str) -> bool {
    !BASE_AGENTS.contains(&agent)
}

fn assess(situation: &Situation<'_>) -> Assessment {
    let setting = Setting::new(None, "only what is used");
    let Some(hoon) = &situation.summaries.hoon else {
        return setting.cannot_tell("no Hoon stack of mars was taken");
    };
    if hoon.computing == 0 {
        return setting.no_evidence("mars was never seen computing (0 samples)");
    }
    let agents: Vec<(&str, f64)> = hoon
        .owners
        .iter()
        .filter_map(|(owner, samples)| {
            let agent = owner.strip_prefix("/app/")?;
            let share = ratio(*samples, hoon.computing);
            (can_be_suspended(agent) && share >= MIN_RATIO).then_some((agent, share))
        })
        .collect();
    if agents.is_empty() {
        return setting.no_evidence(format!(
            "no agent that can be suspended has 5 % of the computing ({} samples)",
            hoon.computing
        ));
    }
    let named: Vec<String> = agents
        .iter()
        .take(MOST_NAMED)
        .map(|(agent, share)| format!("%{agent} {}", percent(*share)))
        .collect();
    let attribution = situation.attribution;
    let computing_ns = attribution.stalling_computing_ns();
    let all: f64 = agents.iter().map(|(_, share)| share).sum();
    let high_ns = (computing_ns as f64 * all.min(1.0)) as u64;
    let named = named.join(", ");
    let setting = Setting::new(
        Some(format!("of the computing {named}")),
        "only what is used",
    );
    if high_ns == 0 {
        return setting.no_evidence(format!("{named} of the computing, which holds nothing up"));
    }
    setting.would_help(
        Gain::StalledTime { low_ns: 0, high_ns },
        format!(
            "{named} of the computing: {}; whether they are needed only you know",
            spent(high_ns, attribution)
        ),
        ENTRY.apply.iter().map(|line| Step::advice(*line)).collect(),
        ENTRY.undo.iter().map(|line| Step::advice(*line)).collect(),
    )
}
