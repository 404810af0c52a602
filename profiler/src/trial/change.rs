//! One value that a trial changes: where it is, what was there, and what is put there.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::TrialError;
use super::host::Host;
use super::{file, mount, threads};

/// What of a thread is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// Its nice value.
    Nice,
    /// The CPUs that it may run on.
    Cpus,
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a file of the kernel.
    File {
        /// Its path on the host.
        path: String,
    },
    /// It is a thread's.
    Thread {
        /// The process.
        tgid: u32,
        /// When it was started: the id may be another's later.
        process_start_ticks: u64,
        /// The thread.
        tid: u32,
        /// When that was started.
        thread_start_ticks: u64,
        /// What of it.
        property: Property,
    },
    /// It is a mount's: when access times are written.
    Mount {
        /// Where it is mounted.
        mount_point: String,
        /// What is mounted there.
        device: (u32, u32),
    },
}

impl Place {
    /// Whether it is a thread's, which may end at any time.
    pub fn is_thread(&self) -> bool {
        matches!(self, Self::Thread { .. })
    }

    /// In a sentence.
    pub fn text(&self) -> String {
        match self {
            Self::File { path } => match path.strip_prefix("/proc/sys/") {
                Some(name) if !name.contains('.') => name.replace('/', "."),
                _ => path.clone(),
            },
            Self::Thread { tid, property, .. } => match property {
                Property::Nice => format!("the nice value of thread {tid}"),
                Property::Cpus => format!("the CPUs of thread {tid}"),
            },
            Self::Mount { mount_point, .. } => format!("the mount option of {mount_point}"),
        }
    }
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub place: Place,
    /// What was there before the trial.
    pub before: String,
    /// What a trial puts there.
    pub applied: String,
}

/// What became of a change that was to be taken back.
#[derive(Debug, PartialEq, Eq)]
pub enum Undone {
    /// What was there before is there again.
    Restored,
    /// It was there already.
    AsBefore,
    /// The place is gone: the process ended, the group was removed.
    Gone,
    /// Somebody else put this there, so it was left alone.
    Foreign(String),
}

impl Change {
    /// What is there now; nothing if the place is gone.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn now(&self, host: &Host) -> Result<Option<String>, TrialError> {
        match &self.place {
            Place::File { path } => file::read(&file::checked(&host.roots, path)?, &self.applied),
            Place::Thread {
                tgid,
                process_start_ticks,
                tid,
                thread_start_ticks,
                property,
            } => {
                let process = (*tgid, *process_start_ticks);
                threads::read(host, process, (*tid, *thread_start_ticks), *property)
            }
            Place::Mount {
                mount_point,
                device,
            } => mount::read(&host.roots, mount_point, *device),
        }
    }

    /// Makes it.
    ///
    /// # Errors
    /// If something else is there than before, or the kernel does not take it; then what was there before is
    /// there again, as far as that can be done.
    pub fn apply(&self, host: &Host) -> Result<(), TrialError> {
        let now = self.now(host)?;
        let now = now.ok_or_else(|| TrialError::Gone(self.place.text()))?;
        if now == self.applied {
            return Ok(());
        }
        if now != self.before {
            return Err(self.foreign(now));
        }
        let set = self.set(host, &self.applied);
        if let Err(TrialError::NotTaken { .. }) = set {
            // It is ours, whatever the kernel made of it.
            self.set(host, &self.before)?;
        }
        set
    }

    /// Takes it back, if what it put there is still there.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn undo(&self, host: &Host) -> Result<Undone, TrialError> {
        match self.now(host)? {
            None => Ok(Undone::Gone),
            Some(now) if now == self.before => Ok(Undone::AsBefore),
            Some(now) if now == self.applied => {
                self.set(host, &self.before).map(|()| Undone::Restored)
            }
            Some(now) => Ok(Undone::Foreign(now)),
        }
    }

    fn set(&self, host: &Host, value: &str) -> Result<(), TrialError> {
        let written = match &self.place {
            Place::File { path } => file::write(&file::checked(&host.roots, path)?, value),
            Place::Thread { tid, property, .. } => threads::write(host, *tid, *property, value),
            Place::Mount { mount_point, .. } => host.calls.set_atime(Path::new(mount_point), value),
        };
        let (place, value) = (self.place.text(), value.to_owned());
        match (written, self.now(host)?) {
            (_, Some(now)) if now == value => Ok(()),
            // It ended while it was changed.
            (_, None) => Ok(()),
            (Err(source), _) => Err(TrialError::Write {
                place,
                value,
                source,
            }),
            (Ok(()), Some(now)) => Err(TrialError::NotTaken { place, value, now }),
        }
    }

    fn foreign(&self, now: String) -> TrialError {
        TrialError::Foreign {
            place: self.place.text(),
            now,
            before: self.before.clone(),
            applied: self.applied.clone(),
        }
    }
}

/// Threads that were started since the changes were planned, as their main threads are to be changed: who
/// is started inherits from who starts it.
pub fn newcomers(host: &Host, changes: &[Change]) -> Result<Vec<Change>, TrialError> {
    let mut found = Vec::new();
    for change in changes {
        let Place::Thread {
            tgid,
            process_start_ticks,
            tid,
            property,
            ..
        } = &change.place
        else {
            continue;
        };
        if tid != tgid {
            continue;
        }
        let process = (*tgid, *process_start_ticks);
        let inherited = |now: String| {
            (now == change.before || now == change.applied)
                .then(|| (change.before.clone(), change.applied.clone()))
        };
        found.extend(threads::changes(
            host, process, *property, changes, inherited,
        )?);
    }
    Ok(found)
}
