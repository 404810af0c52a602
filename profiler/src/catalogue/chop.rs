//! Old epochs of the event log.

use super::step::shell_quote;
use super::{Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::Cause;
use crate::report::FULL_RATIO;
use crate::report::units::{bytes, percent};

/// Epochs of those that there are which stay: chop leaves two (vere `pkg/vere/disk.c`, `u3_disk_chop`),
/// and one of them is the one that roll begins before.
const KEPT_EPOCHS: usize = 1;

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "chop",
    title: "chop old epochs off the event log",
    cause: Cause::Disk,
    shrinks: &[],
    why: "The event log only grows, and a ship whose disk is full dies. Rolling begins an epoch, and \
          chopping deletes all but the last two, with the events in them.",
    gain: "No time: disk space, as much as the epochs before the last one take. Advised where the disk \
           is fuller than 85 %.",
    check: "epochs in .urb/log and what they take, the image's size, free space of the pier's disk",
    answers: &[
        Kind::AlreadySo,
        Kind::WouldHelp,
        Kind::NoEvidence,
        Kind::WouldHarm,
        Kind::CannotTell,
    ],
    conflicts: &[],
    restart: Restart::Ship,
    risk: Risk::Medium,
    source: "vere pkg/vere/disk.c (u3_disk_chop: needs three epochs; roll begins one, and copies the \
             image); docs.urbit.org vere#chop",
    apply: &[
        "stop the ship and back its pier up: what is chopped off is gone",
        "urbit roll PIER; urbit chop PIER",
        "start the ship",
    ],
    undo: &["none but the backup"],
    assess,
};

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let proposed = "the last epoch and a new one";
    let space = situation.meta().host.storage.space.known();
    let log = situation.setup().and_then(|setup| match &setup.log {
        crate::host::Reading::Known(log) => Ok(log),
        crate::host::Reading::Unknown { reason } => Err(reason.clone()),
    });
    let log = match log {
        Ok(log) => log,
        Err(reason) => return Setting::new(None, proposed).cannot_tell(reason),
    };
    let epochs = log.epochs.len();
    let setting = Setting::new(
        Some(format!("{epochs} epochs, {} of log", bytes(log.log_bytes))),
        proposed,
    );
    if epochs <= KEPT_EPOCHS {
        return setting.already_so("there is no epoch before the last: roll begins one");
    }
    let Some(space) = space else {
        return setting.cannot_tell("the free space is not known");
    };
    let old: u64 = log
        .epochs
        .iter()
        .take(epochs - KEPT_EPOCHS)
        .fold(0, |sum, epoch| sum.saturating_add(epoch.bytes));
    let frees = format!("{} old epochs take {}", epochs - KEPT_EPOCHS, bytes(old));
    let used = space.used_ratio();
    if used <= FULL_RATIO {
        return setting.no_evidence(format!("{frees}, but the disk is {} full", percent(used)));
    }
    if space.available_bytes < log.image_bytes {
        return setting.would_harm(format!(
            "{frees}, but rolling needs room for an image of {} and there is {}",
            bytes(log.image_bytes),
            bytes(space.available_bytes)
        ));
    }
    let pier = shell_quote(&situation.meta().ship.pier.reachable.display().to_string());
    setting.would_help(
        Gain::Finding { id: "disk-space" },
        format!("{frees}, and the disk is {} full", percent(used)),
        vec![
            Step::advice("stop the ship and back its pier up: what is chopped off is gone"),
            Step::command(format!("urbit roll {pier}; urbit chop {pier}")),
            Step::advice("start the ship"),
        ],
        vec![Step::advice("none but the backup")],
    )
}
