//! Room on the pier's disk.

use super::{Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::Cause;
use crate::report::FULL_RATIO;
use crate::report::units::{bytes, percent};

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "disk-space",
    title: "keep the pier's disk below 85 % full",
    cause: Cause::Disk,
    shrinks: &[],
    why: "A snapshot needs room for every page that changed, a new epoch for a whole image. Where there \
          is none vere dies, and may leave a log that has to be mended.",
    gain: "No time: it keeps the ship from dying. Advised from 85 % on.",
    check: "statvfs of the pier",
    answers: &[Kind::AlreadySo, Kind::WouldHelp, Kind::CannotTell],
    conflicts: &[],
    restart: Restart::None,
    risk: Risk::Low,
    source: "vere pkg/noun/events.c (the patch is written before the image), pkg/vere/disk.c; urbit \
             issues 5615, 1684, 6177",
    apply: &[
        "delete or move what else lies on that disk, or make it larger",
        "then the log itself: profile catalogue chop",
    ],
    undo: &["move it back"],
    assess,
};

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let proposed = "less than 85 % full";
    let space = match &situation.meta().host.storage.space {
        crate::host::Reading::Known(space) => space,
        crate::host::Reading::Unknown { reason } => {
            return Setting::new(None, proposed).cannot_tell(reason.clone());
        }
    };
    let used = space.used_ratio();
    let text = format!(
        "{} full, {} free",
        percent(used),
        bytes(space.available_bytes)
    );
    let setting = Setting::new(Some(text.clone()), proposed);
    if used <= FULL_RATIO {
        return setting.already_so(text);
    }
    setting.would_help(
        Gain::Finding { id: "disk-space" },
        text,
        ENTRY.apply.iter().map(|line| Step::advice(*line)).collect(),
        ENTRY.undo.iter().map(|line| Step::advice(*line)).collect(),
    )
}
