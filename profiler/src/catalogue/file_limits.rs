//! How many files the ship may have open.

use super::{Entry, Gain, Kind, Restart, Risk, Setting, Situation, Step};
use crate::attribute::{Cause, ratio};
use crate::report::MANY_FILES_RATIO;
use crate::report::units::{count, percent};
use crate::ship::FileUse;

/// The finding that warns of it.
pub const FINDING: &str = "open-files";

/// The entry.
pub const ENTRY: Entry = Entry {
    id: "file-limits",
    title: "let the ship have more files open",
    cause: Cause::Ames,
    shrinks: &[],
    why: "Each HTTP connection is an open file of the king. At the limit it can take no more.",
    gain: "No time: connections that are not refused. Advised from 80 % of the limit on. vere raises \
           its own limit to what it may have.",
    check: "open files of both processes against their limit (/proc/PID/limits), and fs.file-max",
    answers: &[Kind::AlreadySo, Kind::WouldHelp, Kind::CannotTell],
    conflicts: &[],
    restart: Restart::Ship,
    risk: Risk::None,
    source: "vere pkg/vere/king.c (RLIMIT_NOFILE is raised to the hard limit), getrlimit(2)",
    apply: &["LimitNOFILE=1048576 in the unit, or docker run --ulimit nofile=1048576"],
    undo: &["take the line out again"],
    assess,
};

/// The process that is nearest to its limit, of those that have one: what it uses, and its limit.
pub fn fullest<'a>(uses: impl Iterator<Item = &'a FileUse>) -> Option<(u64, u64)> {
    let limited = uses.filter_map(|files| Some((files.open, files.limit?)));
    limited.max_by(|a, b| ratio(a.0, a.1).total_cmp(&ratio(b.0, b.1)))
}

fn assess(situation: &Situation<'_>) -> super::Assessment {
    let proposed = "1,048,576";
    let setup = match situation.setup() {
        Ok(setup) => setup,
        Err(reason) => return Setting::new(None, proposed).cannot_tell(reason),
    };
    let uses: Vec<&FileUse> = setup
        .open_files
        .values()
        .filter_map(|one| one.known())
        .collect();
    let Some((open, limit)) = fullest(uses.iter().copied()) else {
        let setting = Setting::new(None, proposed);
        return match uses.is_empty() {
            true => setting.cannot_tell("open files may not be listed"),
            false => setting.already_so("there is no limit"),
        };
    };
    let text = format!("{} of {} files open", count(open), count(limit));
    let setting = Setting::new(Some(text.clone()), proposed);
    let used = ratio(open, limit);
    if used < MANY_FILES_RATIO {
        return setting.already_so(format!("{text}, {}", percent(used)));
    }
    setting.would_help(
        Gain::Finding { id: FINDING },
        format!("{text}, {}", percent(used)),
        ENTRY.apply.iter().map(|line| Step::advice(*line)).collect(),
        ENTRY.undo.iter().map(|line| Step::advice(*line)).collect(),
    )
}
