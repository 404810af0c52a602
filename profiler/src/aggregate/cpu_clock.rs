//! CPU samples per thread.

use std::collections::BTreeMap;

use crate::model::{Event, ThreadId};

/// CPU samples per thread.
pub fn samples_per_thread(events: &[Event]) -> Vec<(ThreadId, u64)> {
    let mut counts: BTreeMap<ThreadId, u64> = BTreeMap::new();
    for event in events {
        if let Event::Sample(sample) = event {
            *counts.entry(sample.thread).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}
