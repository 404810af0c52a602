//! A thread over all looks.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Activity, Call, Sums, ThreadIdentity, ThreadSample, Watch, activity};
use crate::ship::Role;

/// What a thread did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ThreadView {
    /// What it does for the ship.
    pub role: Role,
    /// Its process.
    pub tgid: u32,
    /// Its own id.
    pub tid: u32,
    /// At the last look.
    pub doing: Activity,
    /// The call that it was blocked in at the last look, where it was in one that could be read.
    pub call: Option<Call>,
    /// How long that has lasted at least.
    pub for_ns: u64,
    /// Time on CPU as a share of one; absent on kernels that do not sum it.
    pub on_cpu_ratio: Option<f64>,
    /// Time that it was ready and had no CPU, as a share; likewise. What is still waited is not in it.
    pub run_queue_ratio: Option<f64>,
    /// What it did, as shares of the looks, the largest first.
    pub shares: Vec<ActivityShare>,
}

/// A share of the looks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActivityShare {
    /// What was done.
    pub doing: Activity,
    /// At how many of the looks.
    pub ratio: f64,
    /// The call of most of them.
    pub call: Option<Call>,
}

impl ThreadView {
    /// At what share of the looks it did that.
    pub fn ratio(&self, doing: Activity) -> f64 {
        self.share(doing).map_or(0.0, |share| share.ratio)
    }

    /// Whether it was on a CPU for less than half of the looks at which it was ready for one.
    pub fn is_starved(&self) -> bool {
        let ready_ratio = self.ratio(Activity::Runs);
        self.on_cpu_ratio
            .is_some_and(|ratio| ratio < ready_ratio / 2.0)
    }

    /// The looks at which it did that.
    pub fn share(&self, doing: Activity) -> Option<&ActivityShare> {
        self.shares.iter().find(|share| share.doing == doing)
    }
}

/// Threads in the order in which they are shown: mars, king, commit workers, others.
pub(super) fn views(watch: &Watch) -> Vec<ThreadView> {
    let mut views: Vec<ThreadView> = watch
        .threads
        .iter()
        .filter_map(|(tid, identity)| view(watch, *tid, identity))
        .collect();
    let place = |role| match role {
        Role::Mars => 0,
        Role::King => 1,
        Role::CommitWorker => 2,
        Role::Other => 3,
    };
    views.sort_by_key(|view| (place(view.role), view.tid));
    views
}

fn view(watch: &Watch, tid: u32, identity: &ThreadIdentity) -> Option<ThreadView> {
    let looks: Vec<(u64, &ThreadSample)> = watch
        .moments
        .iter()
        .filter_map(|moment| Some((moment.at_ktime_ns, moment.threads.get(&tid)?)))
        .collect();
    let (first, last) = (*looks.first()?, *looks.last()?);
    let doing_at = |sample: &ThreadSample| activity(identity.role, sample);
    let doing = doing_at(last.1);
    let begin = looks
        .iter()
        .rev()
        .take_while(|(_, sample)| doing_at(sample) == doing && is_one_stay(doing, sample, last.1))
        .last();
    let ratio = |sum: fn(&Sums) -> u64| {
        let (first_sums, last_sums) = (first.1.sums?, last.1.sums?);
        let wall_ns = last.0.checked_sub(first.0).filter(|ns| *ns > 0)?;
        let grown = sum(&last_sums).saturating_sub(sum(&first_sums));
        // The kernel brings running threads up to date at ticks, so this can be a little more.
        Some((grown as f64 / wall_ns as f64).min(1.0))
    };
    Some(ThreadView {
        role: identity.role,
        tgid: identity.tgid,
        tid,
        doing,
        call: match doing {
            Activity::Waits(_) => last.1.call.clone(),
            _ => None,
        },
        for_ns: begin.map_or(0, |(at, _)| last.0.saturating_sub(*at)),
        on_cpu_ratio: ratio(|sums| sums.on_cpu_ns),
        run_queue_ratio: ratio(|sums| sums.run_queue_ns),
        shares: shares(&looks, doing_at),
    })
}

/// Whether two looks at a waiting thread can be of one wait: it came onto no CPU between them.
fn is_one_stay(doing: Activity, earlier: &ThreadSample, last: &ThreadSample) -> bool {
    let timeslices = |sample: &ThreadSample| sample.sums.map(|sums| sums.timeslices_total);
    match doing {
        Activity::Waits(_) => earlier.call == last.call && timeslices(earlier) == timeslices(last),
        _ => true,
    }
}

fn shares(
    looks: &[(u64, &ThreadSample)],
    doing_at: impl Fn(&ThreadSample) -> Activity,
) -> Vec<ActivityShare> {
    let mut found: BTreeMap<Activity, Vec<&ThreadSample>> = BTreeMap::new();
    for (_, sample) in looks {
        found.entry(doing_at(sample)).or_default().push(sample);
    }
    let mut shares: Vec<ActivityShare> = found
        .into_iter()
        .map(|(doing, samples)| ActivityShare {
            doing,
            ratio: samples.len() as f64 / looks.len() as f64,
            call: match doing {
                Activity::Waits(_) => most_frequent_call(&samples),
                _ => None,
            },
        })
        .collect();
    shares.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    shares
}

fn most_frequent_call(samples: &[&ThreadSample]) -> Option<Call> {
    let calls = || samples.iter().filter_map(|sample| sample.call.as_ref());
    calls()
        .max_by_key(|call| calls().filter(|other| other == call).count())
        .cloned()
}
