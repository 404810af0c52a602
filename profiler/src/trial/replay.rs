//! Makes the changes of a journal, and takes them back.

use super::change::{Change, Undone, newcomers};
use super::error::TrialError;
use super::host::Host;
use super::journal::{Journal, Lock};
use crate::host::read_text;

/// Threads may start threads while they are changed; after so many looks it is given up.
const LOOKS: usize = 8;

/// A value that could not be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// One sentence.
    pub sentence: String,
    /// Whether trying again may help.
    pub may_be_tried_again: bool,
}

/// The host's boot, as journals name it.
pub(super) fn boot_id(host: &Host) -> Result<String, TrialError> {
    let path = host.roots.sysctl_path("kernel.random.boot_id");
    Ok(read_text(&path)?.trim().to_owned())
}

/// Takes back what a journal says, the last change first, and removes it unless something is left that
/// trying again may help with. What is left is told.
///
/// # Errors
/// If the journal cannot be removed.
pub fn replay(host: &Host, lock: &Lock, journal: &Journal) -> Result<Vec<Left>, TrialError> {
    // With a new boot the kernel began with its own values. Where that is not known they are looked at.
    let same_boot = boot_id(host).map_or(true, |now| now == journal.boot_id);
    let left = match same_boot {
        true => undo(host, &journal.changes),
        false => Vec::new(),
    };
    if !left.iter().any(|one| one.may_be_tried_again) {
        lock.remove()?;
    }
    Ok(left)
}

fn undo(host: &Host, changes: &[Change]) -> Vec<Left> {
    let mut left: Vec<Left> = changes
        .iter()
        .rev()
        .filter_map(|change| undo_one(host, change))
        .collect();
    for _ in 0..LOOKS {
        let new = newcomers(host, changes).unwrap_or_default();
        let pending = |change: &&Change| {
            let now = change.now(host);
            now.is_ok_and(|now| now.as_ref() == Some(&change.applied))
        };
        let pending: Vec<&Change> = new.iter().filter(pending).collect();
        if pending.is_empty() {
            break;
        }
        left.extend(pending.iter().filter_map(|change| undo_one(host, change)));
    }
    left
}

fn undo_one(host: &Host, change: &Change) -> Option<Left> {
    let (place, before) = (change.place.text(), &change.before);
    match change.undo(host) {
        Ok(Undone::Restored | Undone::AsBefore | Undone::Gone) => None,
        Ok(Undone::Foreign(now)) => Some(Left {
            sentence: format!(
                "{place} is {now} by now, which somebody else put there, so it was left alone; before \
                 the trial it was {before}"
            ),
            may_be_tried_again: false,
        }),
        Err(error) => Some(Left {
            sentence: format!("{error}; before the trial it was {before}"),
            may_be_tried_again: true,
        }),
    }
}

/// Changes that are on disk, and made or not. Dropping it takes them back, whatever happened.
pub struct Applied<'a> {
    host: &'a Host,
    lock: &'a Lock,
    journal: Journal,
    is_applied: bool,
    is_open: bool,
}

impl<'a> Applied<'a> {
    /// Writes the journal. Nothing is changed yet.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn prepare(host: &'a Host, lock: &'a Lock, journal: Journal) -> Result<Self, TrialError> {
        lock.write(&journal)?;
        Ok(Self {
            host,
            lock,
            journal,
            is_applied: false,
            is_open: true,
        })
    }

    /// Makes the changes, or takes them back, so that it is as it should be.
    ///
    /// # Errors
    /// If a value is neither what it was nor what it was set to, or is not taken.
    pub fn switch(&mut self, applied: bool) -> Result<bool, TrialError> {
        if self.is_applied == applied {
            return Ok(false);
        }
        // Whatever comes of it, there may be something to take back.
        self.is_applied = true;
        match applied {
            true => self.apply()?,
            false => {
                let left = undo(self.host, &self.journal.changes);
                if let Some(left) = left.into_iter().next() {
                    return Err(TrialError::Refused(left.sentence));
                }
                self.is_applied = false;
            }
        }
        Ok(true)
    }

    fn apply(&self) -> Result<(), TrialError> {
        let changes = &self.journal.changes;
        changes
            .iter()
            .try_for_each(|one| apply_one(self.host, one))?;
        for _ in 0..LOOKS {
            let new = newcomers(self.host, changes)?;
            let mut pending = Vec::new();
            for change in new {
                let now = change.now(self.host)?;
                if now.as_ref() == Some(&change.before) && change.before != change.applied {
                    pending.push(change);
                }
            }
            if pending.is_empty() {
                break;
            }
            pending
                .iter()
                .try_for_each(|one| apply_one(self.host, one))?;
        }
        Ok(())
    }

    /// Ends it: the changes stay as they are.
    ///
    /// # Errors
    /// If the journal cannot be removed; then they are taken back.
    pub fn keep(mut self) -> Result<(), TrialError> {
        self.lock.remove()?;
        self.is_open = false;
        Ok(())
    }

    /// Ends it: everything is taken back. What is left is told.
    ///
    /// # Errors
    /// If the journal cannot be removed.
    pub fn undo(mut self) -> Result<Vec<Left>, TrialError> {
        self.is_open = false;
        replay(self.host, self.lock, &self.journal)
    }
}

/// A thread that ended meanwhile needs no change; a file that is gone ends the trial.
fn apply_one(host: &Host, change: &Change) -> Result<(), TrialError> {
    match change.apply(host) {
        Err(TrialError::Gone(_)) if change.place.is_thread() => Ok(()),
        applied => applied,
    }
}

impl Drop for Applied<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // Nobody is left to be told; what could not be taken back is still in the journal.
            let _ = replay(self.host, self.lock, &self.journal);
        }
    }
}
