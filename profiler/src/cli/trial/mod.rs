//! `profile trial`: tries a fix out on the running host, and keeps it or takes it back. The only command
//! that changes a host.

mod left_over;
mod look;
mod measure;
mod run;
mod stop;

pub(super) use left_over::take_back_left_over;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use self::run::Trial;
use super::baseline::StoreArgs;
use super::{DONE, Format, ask, deep_dive, print};
use crate::capture::privileges::sudo_caller;
use crate::recommend::Fix;
use crate::render;
use crate::ship::{Selector, Ship, discover};
use crate::trial::{
    Host, Intent, Plan, Predicted, SCHEMA_VERSION, Timeline, UndoDirectory, check_entry, slots,
};

const EXAMPLES: &str = "\
Examples:
  profile trial nice --ship ~zod --dry-run  every step, without making one
  sudo profile trial nice --ship ~zod       measures, asks, tries, judges, undoes
  sudo profile trial cpu-quota --yes --keep never --format json
  sudo profile trial --undo                 takes back what a killed trial left

It changes nothing but the values that it shows, and takes them back when it is
ended in any way; only what helped is kept, until the host is started again.

Exit status: 0 done, 1 failed or ended early, 2 wrong usage.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TrialArgs {
    /// The fix, one of the running host that can be undone (profile catalogue).
    #[arg(required_unless_present = "undo")]
    fix: Option<String>,
    /// The ship: its pier, its name (~zod), or the id of one of its processes. Left out: the one
    /// that runs.
    #[arg(long, value_name = "SHIP")]
    ship: Option<String>,
    /// How many windows are measured without the change, and as many with it.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Length of a window, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How long to wait after each change before it is measured, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    settle: u64,
    /// Whether the change stays in place.
    #[arg(long, value_enum, default_value_t = Keep::IfHelped)]
    keep: Keep,
    /// Makes the trial without asking.
    #[arg(long)]
    yes: bool,
    /// Shows every step, and changes and measures nothing.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Takes back what a trial left that was killed.
    #[arg(long, exclusive = true)]
    undo: bool,
    /// Directory for the captures of all windows. Left out: they are not kept.
    #[arg(short = 'o', long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// When a change stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    /// If the verdict is that it helped.
    IfHelped,
    /// Never.
    Never,
}

impl TrialArgs {
    /// Whether it is there to take something back.
    pub(super) fn is_undo(&self) -> bool {
        self.undo
    }

    fn timeline(&self) -> Timeline {
        Timeline {
            rounds: self.rounds,
            window_s: self.seconds,
            settle_s: self.settle,
        }
    }
}

pub(super) fn run(arguments: &TrialArgs) -> anyhow::Result<u8> {
    let Some(id) = &arguments.fix else {
        return left_over::undo();
    };
    let entry = super::catalogue::find(id)?;
    check_entry(entry)?;
    let host = Host::default();
    let ship = discover(&host.roots, &Selector::of(arguments.ship.as_deref()))?;
    let look = look::fix(&host.roots, &ship, entry);
    let look = look.with_context(|| format!("the host cannot be asked about {id}"))?;
    if arguments.dry_run {
        let plan = Plan::by_host(&host, &look)?;
        return show(&intent(arguments, &ship, &plan, None), arguments.format);
    }
    if look.assessment.answer.kind() == crate::catalogue::Kind::AlreadySo {
        // It says why.
        Plan::of(&host, &look)?;
    }
    check_caller(arguments)?;
    let directory = UndoDirectory::default();
    let lock = directory.lock()?;
    if let Some(left) = lock.read()? {
        bail!(
            "what a trial of {} changed is not taken back yet; do that first: sudo profile trial --undo",
            left.fix
        );
    }
    let windows = Windows::make(arguments, &directory, &ship)?;
    let trial = Trial {
        arguments,
        entry,
        host: &host,
        ship: &ship,
        lock: &lock,
    };
    trial.run(&windows)
}

/// Refuses before anything is measured.
fn check_caller(arguments: &TrialArgs) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "a trial changes the host, so it needs root: run it by sudo, or with --dry-run to see its steps"
        );
    }
    if !arguments.yes && !ask::is_possible() {
        bail!("a trial changes the host, and there is no terminal to ask on; confirm it by --yes");
    }
    Ok(())
}

fn show(intent: &Intent, format: Format) -> anyhow::Result<u8> {
    print(&match format {
        Format::Text => render::trial::intent(intent),
        Format::Json => render::trial::json(intent)?,
    })?;
    Ok(DONE)
}

fn intent(arguments: &TrialArgs, ship: &Ship, plan: &Plan, fix: Option<&Fix>) -> Intent {
    Intent {
        schema_version: SCHEMA_VERSION,
        fix: plan.fix.to_owned(),
        title: plan.title.to_owned(),
        ship: ship.label(),
        steps: plan.steps.clone(),
        predicted: fix.map(Predicted::of),
        timeline: arguments.timeline(),
        windows: (slots(arguments.rounds).into_iter())
            .map(|slot| slot.name)
            .collect(),
    }
}

/// Says something to whoever looks on. Nobody need look on: the terminal may be gone.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", render::harmless(text));
}

/// Where the windows' captures go.
struct Windows {
    directory: PathBuf,
    /// It goes when the trial ends.
    is_scratch: bool,
}

impl Windows {
    fn make(arguments: &TrialArgs, directory: &UndoDirectory, ship: &Ship) -> anyhow::Result<Self> {
        if let Some(path) = &arguments.output {
            let caller = sudo_caller(|name| std::env::var(name).ok());
            deep_dive::make_directory(path, ship, caller)?;
            return Ok(Self {
                directory: path.clone(),
                is_scratch: false,
            });
        }
        let path = directory.scratch_path();
        // Of a trial that was killed.
        let _ = std::fs::remove_dir_all(&path);
        deep_dive::make_directory(&path, ship, None)?;
        Ok(Self {
            directory: path,
            is_scratch: true,
        })
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        if self.is_scratch {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
