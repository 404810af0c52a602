//! A trial from its first window to its verdict.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};

use super::measure::Measure;
use super::stop::{Stop, Stopped};
use super::{Keep, TrialArgs, Windows, intent, say};
use crate::catalogue::Entry;
use crate::cli::ask::ask;
use crate::cli::{DONE, FAILED, Format, print};
use crate::diff::{self, Diff, Outcome as Verdict, Window, pooled};
use crate::recommend::Fix;
use crate::render;
use crate::ship::Ship;
use crate::trial::{
    Applied, Host, Intent, Journal, Left, Lock, Outcome, Plan, Predicted, SCHEMA_VERSION, Slot,
    slots,
};

/// What is asked before the first change.
const CONFIRMATION: &str = "Type yes to make these changes for the trial: ";

/// A trial with all that it needs.
pub struct Trial<'a> {
    /// What was asked for.
    pub arguments: &'a TrialArgs,
    /// The fix.
    pub entry: &'a Entry,
    /// The host.
    pub host: &'a Host,
    /// The ship.
    pub ship: &'a Ship,
    /// The right to change the host.
    pub lock: &'a Lock,
}

/// What was measured.
#[derive(Default)]
struct Measured {
    without: Vec<Window>,
    with: Vec<Window>,
}

impl Measured {
    fn add(&mut self, slot: &Slot, window: Window) {
        match slot.applied {
            true => self.with.push(window),
            false => self.without.push(window),
        }
    }
}

impl Trial<'_> {
    /// Measures, asks, tries, judges, and keeps or takes back.
    ///
    /// # Errors
    /// If it came to no verdict; then every value is as it was, or the error says which is not.
    pub fn run(&self, windows: &Windows) -> anyhow::Result<u8> {
        let slots = slots(self.arguments.rounds);
        let Some((first, rest)) = slots.split_first() else {
            bail!("a trial needs a round");
        };
        let mut measure = Measure::new(
            &self.host.roots,
            self.ship,
            self.arguments.seconds,
            windows.directory.clone(),
            windows.is_scratch,
        );
        self.tell(first, 1);
        let mut measured = Measured::default();
        measured.add(first, measure.take(&first.name)?);
        let fix = self.fix(&measured)?;
        let plan = Plan::of(self.host, &fix)?;
        self.confirm(&intent(self.arguments, self.ship, &plan, Some(&fix)))?;
        measure.stop = Some(Stop::listen().context("cannot listen for signals")?);
        let label = self.ship.label();
        let journal = Journal::new(self.host, plan.fix, &label, &plan.changes)?;
        let mut applied = Applied::prepare(self.host, self.lock, journal)?;
        match self.rounds(rest, &mut measure, &mut applied, &mut measured) {
            Ok(()) => self.conclude(&plan, &fix, &measured, applied),
            Err(error) => Err(give_up(applied, error)),
        }
    }

    /// The fix by what the first window measured.
    fn fix(&self, measured: &Measured) -> anyhow::Result<Fix> {
        let fixes = measured.without.iter().flat_map(|one| &one.report.fixes);
        let mut fixes = fixes.filter(|fix| fix.id == self.entry.id);
        fixes
            .next()
            .cloned()
            .with_context(|| format!("the first window says nothing of {}", self.entry.id))
    }

    fn confirm(&self, intent: &Intent) -> anyhow::Result<()> {
        let text = render::trial::intent(intent);
        std::io::stderr().write_all(text.as_bytes())?;
        if self.arguments.yes {
            return Ok(());
        }
        match ask(CONFIRMATION)?.as_str() {
            "yes" => Ok(()),
            _ => bail!("not confirmed, so nothing was changed"),
        }
    }

    fn tell(&self, slot: &Slot, number: usize) {
        say(&format!(
            "window {number} of {}: {} s {} the change",
            2 * self.arguments.rounds,
            self.arguments.seconds,
            if slot.applied { "with" } else { "without" }
        ));
    }

    /// All windows but the first.
    fn rounds(
        &self,
        slots: &[Slot],
        measure: &mut Measure<'_>,
        applied: &mut Applied<'_>,
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        for (at, slot) in slots.iter().enumerate() {
            if applied.switch(slot.applied)? {
                measure.pause(Duration::from_secs(self.arguments.settle))?;
            }
            self.tell(slot, at + 2);
            let window = measure.take(&slot.name)?;
            measured.add(slot, window);
        }
        Ok(())
    }

    fn conclude(
        &self,
        plan: &Plan,
        fix: &Fix,
        measured: &Measured,
        mut applied: Applied<'_>,
    ) -> anyhow::Result<u8> {
        let Some(diff) = pooled(&measured.without, &measured.with, fix) else {
            return Err(give_up(applied, anyhow::anyhow!("a side has no window")));
        };
        let helped = diff.comparison.outcome == Verdict::Helped;
        let kept = helped && self.arguments.keep == Keep::IfHelped;
        let left = if kept {
            if let Err(error) = applied.switch(true) {
                return Err(give_up(applied, error.into()));
            }
            applied.keep()?;
            Vec::new()
        } else {
            applied.undo()?
        };
        self.record(plan, &diff, kept);
        let status = if left.is_empty() { DONE } else { FAILED };
        let outcome = self.outcome(plan, fix, measured, diff, kept, left);
        print(&match self.arguments.format {
            Format::Text => render::trial::outcome(&outcome),
            Format::Json => render::trial::json(&outcome)?,
        })?;
        Ok(status)
    }

    fn outcome(
        &self,
        plan: &Plan,
        fix: &Fix,
        measured: &Measured,
        diff: Diff,
        kept: bool,
        left: Vec<Left>,
    ) -> Outcome {
        let slots = slots(self.arguments.rounds);
        let all = || measured.without.iter().chain(&measured.with);
        let line = |slot: &Slot| all().find(|one| one.line.name == slot.name);
        Outcome {
            schema_version: SCHEMA_VERSION,
            fix: plan.fix.to_owned(),
            title: plan.title.to_owned(),
            steps: plan.steps.clone(),
            predicted: Predicted::of(fix),
            timeline: self.arguments.timeline(),
            windows: (slots.iter().filter_map(line))
                .map(|window| window.line.clone())
                .collect(),
            diff,
            kept,
            left: left.into_iter().map(|one| one.sentence).collect(),
            undo: plan.undo.clone(),
            lasting: plan.lasting.clone(),
        }
    }

    /// Into the journal of changes. A trial is not lost for want of it.
    fn record(&self, plan: &Plan, diff: &Diff, kept: bool) {
        let what = format!(
            "trial of {}, {} times {} s: {}",
            plan.fix,
            self.arguments.rounds,
            self.arguments.seconds,
            if kept { "kept" } else { "undone" }
        );
        let written = (|| -> anyhow::Result<()> {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let entry = diff::Entry::of(diff, &what, Some(plan.fix), now.as_nanos() as u64);
            let journal = self.arguments.store.open()?;
            Ok(journal.append(&serde_json::to_string(&entry)?)?)
        })();
        if let Err(error) = written {
            say(&format!(
                "profile: the trial is not in the journal of changes: {error:#}"
            ));
        }
    }
}

/// Takes everything back, and says so in the error that ended the trial.
fn give_up(applied: Applied<'_>, error: anyhow::Error) -> anyhow::Error {
    let by_signal = error.downcast_ref::<Stopped>().is_some();
    let undone = applied.undo();
    if by_signal {
        say("");
    }
    match undone {
        Ok(left) if left.is_empty() => {
            error.context("no verdict, and every value is as it was before")
        }
        Ok(left) => {
            let left: Vec<String> = left.into_iter().map(|one| one.sentence).collect();
            error.context(format!(
                "no verdict; not everything is as it was: {}",
                left.join("; ")
            ))
        }
        Err(undone) => error.context(format!("no verdict, and taking it back failed: {undone}")),
    }
}
