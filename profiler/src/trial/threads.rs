//! Nice values and CPUs of threads.

use super::change::{Change, Place, Property};
use super::error::TrialError;
use super::host::Host;
use crate::catalogue::affinity;
use crate::host::ReadError;
use crate::host::process::Process;

/// The value of a thread now; nothing if it, or its process, has ended: an id may be another's by now.
pub fn read(
    host: &Host,
    (tgid, process_start): (u32, u64),
    (tid, thread_start): (u32, u64),
    property: Property,
) -> Result<Option<String>, TrialError> {
    let process = Process::new(&host.roots, tgid);
    if start(&process)? != Some(process_start) {
        return Ok(None);
    }
    let thread = process.thread(tid);
    if start(&thread)? != Some(thread_start) {
        return Ok(None);
    }
    match property {
        Property::Nice => Ok(present(thread.stat())?.map(|stat| stat.nice.to_string())),
        Property::Cpus => {
            let status = present(thread.status())?;
            let allowed = status.and_then(|status| status.cpus_allowed_list);
            Ok(allowed.map(|ranges| affinity::list(&ranges)))
        }
    }
}

/// Sets the value of a thread.
pub fn write(host: &Host, tid: u32, property: Property, value: &str) -> std::io::Result<()> {
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    match property {
        Property::Nice => host
            .calls
            .set_nice(tid, value.parse().map_err(|_| invalid())?),
        Property::Cpus => host.calls.set_cpus(tid, &cpus(value).ok_or_else(invalid)?),
    }
}

/// Changes for all threads of a process that `known` does not have.
pub fn changes(
    host: &Host,
    (tgid, process_start): (u32, u64),
    property: Property,
    known: &[Change],
    make: impl Fn(String) -> Option<(String, String)>,
) -> Result<Vec<Change>, TrialError> {
    let process = Process::new(&host.roots, tgid);
    let mut found = Vec::new();
    for tid in present(process.thread_ids())?.unwrap_or_default() {
        let Some(thread_start) = start(&process.thread(tid))? else {
            continue;
        };
        let place = Place::Thread {
            tgid,
            process_start_ticks: process_start,
            tid,
            thread_start_ticks: thread_start,
            property,
        };
        if known.iter().any(|change| change.place == place) {
            continue;
        }
        let now = read(host, (tgid, process_start), (tid, thread_start), property)?;
        if let Some((before, applied)) = now.and_then(&make) {
            found.push(Change {
                place,
                before,
                applied,
            });
        }
    }
    Ok(found)
}

/// When a process or thread was started, in clock ticks; nothing if it has ended.
pub fn start(process: &Process) -> Result<Option<u64>, TrialError> {
    Ok(present(process.stat())?.map(|stat| stat.starttime))
}

fn present<T>(read: Result<T, ReadError>) -> Result<Option<T>, TrialError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A list of CPUs as ranges, which [`affinity::list`] writes: `0-3,8`.
pub fn cpus(text: &str) -> Option<Vec<(u32, u32)>> {
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
        None => part.parse().ok().map(|cpu| (cpu, cpu)),
    };
    text.split(',').map(range).collect()
}
