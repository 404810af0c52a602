//! Measuring while a profiler watches.

use std::time::Duration;

use anyhow::Result;
use harness::process::poll_until;
use harness::profile::Profile;

use super::bpf_stats;

/// How long a profiler may take to attach.
pub const ATTACH_LIMIT: Duration = Duration::from_secs(30);

/// How long it has watched before anything is measured: everything is attached, and the kernel counts no
/// more what the programs take, which a capture lets it do for its first two seconds.
const SETTLE: Duration = Duration::from_secs(3);

/// Starts a profiler, measures once its programs are attached, and ends it; its report comes after.
pub fn while_attached<T>(profile: &Profile, measure: impl FnOnce() -> Result<T>) -> Result<T> {
    let running = profile.start()?;
    let pid = running.pid();
    poll_until("the profiler to attach", ATTACH_LIMIT, || {
        let programs = bpf_stats::programs_of(pid).unwrap_or_default();
        let attached = programs
            .values()
            .any(|program| program.name == "sched_switch");
        Ok(if attached {
            Ok(())
        } else {
            Err("it has no program".into())
        })
    })?;
    std::thread::sleep(SETTLE);
    let found = measure()?;
    running.signal(rustix::process::Signal::INT)?;
    let outcome = running.finish()?;
    anyhow::ensure!(
        matches!(outcome.code(), Some(0 | 3)),
        "profile ended with {}: {}",
        outcome.status,
        outcome.stderr
    );
    Ok(found)
}
