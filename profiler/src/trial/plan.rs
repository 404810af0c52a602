//! From a fix, as a capture judged it, to the changes that a trial makes, with the values that are there
//! now; or to the sentence that says why it cannot be tried out.

use std::collections::BTreeSet;

use super::change::{Change, Place, Property};
use super::error::TrialError;
use super::host::Host;
use super::outcome::StepLine;
use super::{mount, threads};
use crate::catalogue::affinity;
use crate::catalogue::{Answer, Entry, Gain, Kind, Restart, Step};
use crate::host::process::Process;
use crate::recommend::Fix;

/// Fixes that can be of the running host alone. What stands here only saves a window: whether one can be
/// tried out here is decided by its steps.
const OF_RUNNING_HOST: [&str; 11] = [
    "affinity",
    "bbr",
    "cpu-quota",
    "dirty-ratio",
    "io-limit",
    "io-scheduler",
    "nice",
    "noatime",
    "ram",
    "swappiness",
    "thp",
];

/// What a trial does.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The fix.
    pub fix: &'static str,
    /// Its title.
    pub title: &'static str,
    /// The changes, in the order in which they are made.
    pub changes: Vec<Change>,
    /// The same for people.
    pub steps: Vec<StepLine>,
    /// How a person takes them back.
    pub undo: Vec<String>,
    /// How a person makes them last.
    pub lasting: Vec<String>,
}

/// Refuses what no capture could make a trial of.
///
/// # Errors
/// With one sentence that says why, and how it is done by hand.
pub fn check_entry(entry: &Entry) -> Result<(), TrialError> {
    match OF_RUNNING_HOST.contains(&entry.id) {
        true => Ok(()),
        false => Err(by_hand(entry.id, entry.restart)),
    }
}

impl Plan {
    /// Of a fix as the host's values alone judge it, without a capture.
    ///
    /// # Errors
    /// As [`Self::of`], and if only a capture can say what is to be changed.
    pub fn by_host(host: &Host, fix: &Fix) -> Result<Self, TrialError> {
        if fix.trial.is_none() && fix.restart != Restart::None {
            let id = fix.id;
            return Err(TrialError::Refused(format!(
                "what {id} would change here takes a window to tell; sudo profile trial {id} measures \
                 first, and asks before it changes anything"
            )));
        }
        Self::of(host, fix)
    }

    /// Of a fix with its answer. Reads the values that are there now.
    ///
    /// # Errors
    /// If it cannot be tried out here, or a value cannot be read.
    pub fn of(host: &Host, fix: &Fix) -> Result<Self, TrialError> {
        let reason = &fix.assessment.reason;
        let refuse = |why: &str| {
            let id = fix.id;
            Err(TrialError::Refused(format!(
                "{id} is not tried out: {why}: {reason}"
            )))
        };
        match fix.assessment.answer {
            Answer::AlreadySo => return refuse("the host is set up like this already"),
            Answer::WouldHarm => return refuse("it would harm here"),
            Answer::WouldHelp(Gain::Finding { .. }) => {
                return refuse("it takes no time away that could be measured");
            }
            _ => {}
        }
        let Some(trial) = &fix.trial else {
            return match (fix.restart, fix.assessment.answer.kind()) {
                (Restart::None, Kind::NoEvidence | Kind::CannotTell) => {
                    refuse("nothing here is to be changed for it")
                }
                (restart, _) => Err(by_hand(fix.id, restart)),
            };
        };
        let mut changes = Vec::new();
        for step in &trial.apply {
            changes.extend(changes_of(host, step)?);
        }
        if changes.is_empty() {
            return refuse("every value is like this already");
        }
        let by_person = |step: &&Step| !step.is_live();
        Ok(Self {
            fix: fix.id,
            title: fix.title,
            steps: lines(&changes),
            changes,
            undo: trial.undo.iter().map(Step::text).collect(),
            lasting: (fix.assessment.apply.iter().filter(by_person))
                .map(Step::text)
                .collect(),
        })
    }
}

fn by_hand(id: &str, restart: Restart) -> TrialError {
    let why = match restart {
        Restart::Ship => "it takes a restart of the ship",
        Restart::Host => "it takes another host, or a restart of this one",
        Restart::None => "it is not a setting of the running host",
    };
    TrialError::Refused(format!(
        "{id} cannot be tried out: {why}; take a capture before and one after you made the change, then \
         profile diff BEFORE AFTER --expect {id}"
    ))
}

/// The changes of a step whose values are not there already.
pub(super) fn changes_of(host: &Host, step: &Step) -> Result<Vec<Change>, TrialError> {
    match step {
        Step::WriteFile {
            path,
            value,
            only_if,
        } => of_file(host, path, value, only_if.as_deref()),
        Step::SetNice { tgids, nice } => of_threads(host, tgids, Property::Nice, &nice.to_string()),
        Step::SetAffinity { tgids, cpus } => {
            let ranges = threads::cpus(cpus);
            let ranges = ranges.ok_or_else(|| TrialError::NoSetting(cpus.clone()))?;
            of_threads(host, tgids, Property::Cpus, &affinity::list(&ranges))
        }
        Step::Remount {
            mount_point,
            option,
        } => of_mount(host, mount_point, option),
        Step::Command(_) | Step::Advice(_) => Ok(Vec::new()),
    }
}

fn of_file(
    host: &Host,
    path: &str,
    value: &str,
    only_if: Option<&str>,
) -> Result<Vec<Change>, TrialError> {
    let mut change = Change {
        place: Place::File {
            path: path.to_owned(),
        },
        before: String::new(),
        applied: value.to_owned(),
    };
    let Some(now) = change.now(host)? else {
        return match only_if {
            // Of several files the one that is there is meant.
            Some(_) => Ok(Vec::new()),
            None => Err(TrialError::Refused(format!(
                "{path} is not there, so it cannot be set; profile catalogue says what the fix does"
            ))),
        };
    };
    if now == value || only_if.is_some_and(|old| old != now) {
        return Ok(Vec::new());
    }
    change.before = now;
    Ok(vec![change])
}

fn of_threads(
    host: &Host,
    tgids: &[u32],
    property: Property,
    value: &str,
) -> Result<Vec<Change>, TrialError> {
    let mut changes = Vec::new();
    for tgid in tgids {
        let start = threads::start(&Process::new(&host.roots, *tgid))?;
        let start = start.ok_or_else(|| TrialError::Gone(format!("process {tgid}")))?;
        let other = |now: String| (now != value).then(|| (now, value.to_owned()));
        changes.extend(threads::changes(
            host,
            (*tgid, start),
            property,
            &[],
            other,
        )?);
    }
    Ok(changes)
}

fn of_mount(host: &Host, mount_point: &str, option: &str) -> Result<Vec<Change>, TrialError> {
    let mount = mount::at(&host.roots, mount_point)?;
    let mount = mount.ok_or_else(|| TrialError::Gone(format!("the mount at {mount_point}")))?;
    let mut change = Change {
        place: Place::Mount {
            mount_point: mount_point.to_owned(),
            device: mount.device,
        },
        before: String::new(),
        applied: option.to_owned(),
    };
    change.before = change.now(host)?.unwrap_or_default();
    Ok(match change.before == change.applied {
        true => Vec::new(),
        false => vec![change],
    })
}

/// One line for each place; threads of a process share one.
fn lines(changes: &[Change]) -> Vec<StepLine> {
    let mut lines: Vec<StepLine> = Vec::new();
    let mut done: BTreeSet<(u32, bool)> = BTreeSet::new();
    for change in changes {
        let Place::Thread { tgid, property, .. } = &change.place else {
            lines.push(StepLine {
                what: change.place.text(),
                before: change.before.clone(),
                applied: change.applied.clone(),
            });
            continue;
        };
        if !done.insert((*tgid, *property == Property::Nice)) {
            continue;
        }
        let same = |other: &&Change| matches!(&other.place, Place::Thread { tgid: t, property: p, .. } if t == tgid && p == property);
        let threads: Vec<&Change> = changes.iter().filter(same).collect();
        let values: BTreeSet<&str> = threads.iter().map(|one| one.before.as_str()).collect();
        let what = match property {
            Property::Nice => "nice value",
            Property::Cpus => "CPUs",
        };
        lines.push(StepLine {
            what: match threads.len() {
                1 => format!("{what} of process {tgid}, 1 thread"),
                threads => format!("{what} of process {tgid}, {threads} threads"),
            },
            before: values.into_iter().collect::<Vec<_>>().join(" and "),
            applied: change.applied.clone(),
        });
    }
    lines
}
