//! What a trial left that was killed: taken back by `--undo`, and at the start of any command.

use super::say;
use crate::cli::{DONE, FAILED};
use crate::trial::{Change, Host, Journal, Left, TrialError, UndoDirectory, replay};

/// Takes back what a killed trial left, if root runs a command; tells anybody else how. One look if there
/// is nothing. A trial that still runs is left alone: it holds the lock.
pub fn take_back_left_over() {
    let directory = UndoDirectory::default();
    if !directory.has_journal() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        say(
            "profile: a trial runs on this host, or was killed and left its changes; sudo profile trial \
             --undo takes them back",
        );
        return;
    }
    match replayed(&directory) {
        Ok(Some((journal, left))) => {
            say(&format!("profile: {}", sentence(&journal, &left)));
            left.iter()
                .for_each(|one| say(&format!("profile: {}", one.sentence)));
        }
        Ok(None) | Err(TrialError::Busy) => {}
        Err(error) => say(&format!("profile: {error}")),
    }
}

/// `profile trial --undo`.
pub fn undo() -> anyhow::Result<u8> {
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("taking back changes of the host needs root: sudo profile trial --undo");
    }
    let directory = UndoDirectory::default();
    let found = match directory.has_journal() {
        true => replayed(&directory)?,
        false => None,
    };
    let Some((journal, left)) = found else {
        say("there is nothing to take back");
        return Ok(DONE);
    };
    for change in &journal.changes {
        say(&line(change));
    }
    say(&sentence(&journal, &left));
    left.iter()
        .for_each(|one| say(&format!("profile: {}", one.sentence)));
    Ok(if left.is_empty() { DONE } else { FAILED })
}

fn replayed(directory: &UndoDirectory) -> Result<Option<(Journal, Vec<Left>)>, TrialError> {
    let host = Host::default();
    let lock = directory.lock()?;
    let Some(journal) = lock.read()? else {
        return Ok(None);
    };
    if journal.is_owned(&host) {
        return Err(TrialError::Busy);
    }
    let left = replay(&host, &lock, &journal)?;
    // Captures that nobody will look at any more.
    let _ = std::fs::remove_dir_all(directory.scratch_path());
    Ok(Some((journal, left)))
}

fn line(change: &Change) -> String {
    format!("{}: {}", change.place.text(), change.before)
}

fn sentence(journal: &Journal, left: &[Left]) -> String {
    let trial = format!(
        "a trial of {} on {} (process {}) that was killed",
        journal.fix, journal.ship, journal.owner.tgid
    );
    match left.len() {
        0 => format!("took back what {trial} had changed"),
        left => format!(
            "took back what {trial} had changed, but for {left} of {}",
            journal.changes.len()
        ),
    }
}
