//! `profile journal`: what was changed when, and what came of it.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::baseline::StoreArgs;
use super::diff::compare;
use super::{DONE, Format, print};
use crate::diff::{Entry, Journal};
use crate::render;

const EXAMPLES: &str = "\
Examples:
  sudo profile journal add --what 'no more quota' --fix cpu-quota \\
       --before quiet --after zod-2
  profile journal                           all changes, with what came of them
  profile journal show 3                    one of them

Exit status: 0 done, 1 failed, 2 wrong usage.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct JournalArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    store: StoreArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Adds a change, with the comparison of a capture before it and one after it.
    Add {
        /// What was changed, in your words.
        #[arg(long, value_name = "TEXT")]
        what: String,
        /// The fix that it was (profile catalogue).
        #[arg(long, value_name = "ID")]
        fix: Option<String>,
        /// The capture before it: a file, a directory, or a baseline's name.
        #[arg(long, value_name = "CAPTURE")]
        before: PathBuf,
        /// The capture after it, likewise.
        #[arg(long, value_name = "CAPTURE")]
        after: PathBuf,
    },
    /// Shows all changes.
    List,
    /// Shows one change.
    Show {
        /// Its number in the list.
        number: usize,
    },
}

pub(super) fn run(arguments: &JournalArgs) -> anyhow::Result<u8> {
    let baselines = arguments.store.open()?;
    match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::Add {
            what,
            fix,
            before,
            after,
        } => {
            let diff = compare(before, after, fix.as_deref(), &arguments.store)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let entry = Entry::of(&diff, what, fix.as_deref(), now.as_nanos() as u64);
            baselines.append(&serde_json::to_string(&entry)?)?;
            print(&match arguments.format {
                Format::Text => render::journal::entry(None, &entry),
                Format::Json => render::journal::json(&entry)?,
            })?;
        }
        Action::List => {
            let journal = Journal::parse(&baselines.journal()?);
            tell_unread(&journal);
            print(&match arguments.format {
                Format::Text => render::journal::list(&journal),
                Format::Json => render::journal::json(&journal)?,
            })?;
        }
        Action::Show { number } => {
            let journal = Journal::parse(&baselines.journal()?);
            tell_unread(&journal);
            let found = journal.entries.iter().find(|(at, _)| at == number);
            let (_, entry) = found.with_context(|| {
                format!("the journal has no change {number}; profile journal lists all")
            })?;
            print(&match arguments.format {
                Format::Text => render::journal::entry(Some(*number), entry),
                Format::Json => render::journal::json(entry)?,
            })?;
        }
    }
    Ok(DONE)
}

fn tell_unread(journal: &Journal) {
    for line in &journal.unread {
        let line = crate::render::harmless(line);
        eprintln!("profile: the journal's {line}; it is left out");
    }
}
