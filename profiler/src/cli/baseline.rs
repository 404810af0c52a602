//! `profile baseline`: named reference captures.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{DONE, Format, print, read_capture_from, render, report_of};
use crate::baselines::{self, Baselines};
use crate::model::Capture;
use crate::render::baseline;

const EXAMPLES: &str = "\
Examples:
  sudo profile -o quiet --seconds 60; sudo profile baseline save quiet quiet
  profile baseline list                     all, with ship, time and verdict
  profile diff quiet zod-2                  a baseline against a new capture

Exit status: 0 done, 1 failed, 2 wrong usage.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BaselineArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    store: StoreArgs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    format: Format,
}

/// Where baselines and journal are.
#[derive(Debug, Clone, Args)]
pub(super) struct StoreArgs {
    /// Directory of baselines and journal. Left out: /var/lib/profile/baselines for root,
    /// $XDG_STATE_HOME/profile/baselines for others.
    #[arg(long, value_name = "DIR", global = true)]
    store: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Keeps a capture under a name.
    Save {
        /// Letters, digits, and . _ - ~ +
        name: String,
        /// The file `capture` that a deep dive wrote, or its directory.
        capture: PathBuf,
    },
    /// Shows all: name, ship, when, length, events, p95, verdict.
    List,
    /// Prints the report of one.
    Show {
        /// Which.
        name: String,
    },
    /// Forgets one.
    Remove {
        /// Which.
        name: String,
    },
}

impl StoreArgs {
    pub(super) fn open(&self) -> anyhow::Result<Baselines> {
        let directory = self.store.clone().or_else(default_directory);
        let directory = directory.context(
            "neither XDG_STATE_HOME nor HOME says where baselines are kept; name a directory with --store",
        )?;
        Ok(Baselines::new(directory))
    }
}

/// The directory that is used if none is named.
pub(super) fn default_directory() -> Option<PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    baselines::default_directory(is_root, |name| std::env::var_os(name))
}

pub(super) fn run(arguments: &BaselineArgs) -> anyhow::Result<u8> {
    let baselines = arguments.store.open()?;
    match &arguments.action {
        Action::Save { name, capture } => {
            let (bytes, _) = read_file(capture)?;
            let path = baselines.save(name, &bytes)?;
            let path = crate::render::harmless(&path.display().to_string());
            eprintln!("kept as {name} in {path}");
        }
        Action::List => list(&baselines, arguments.format)?,
        Action::Show { name } => {
            let capture = read_capture_from(&mut &*baselines.read(name)?, name)?;
            print(&render(&report_of(&capture), arguments.format)?)?;
        }
        Action::Remove { name } => {
            baselines.remove(name)?;
            eprintln!("removed {name}");
        }
    }
    Ok(DONE)
}

fn list(baselines: &Baselines, format: Format) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for name in baselines.names()? {
        let read = baselines.read(&name).map_err(anyhow::Error::from);
        let capture = read.and_then(|bytes| read_capture_from(&mut &*bytes, &name));
        found.push(match capture {
            Ok(capture) => baseline::Listed::of(&name, &report_of(&capture)),
            Err(error) => baseline::Listed::unreadable(&name, &format!("{error:#}")),
        });
    }
    let directory = baselines.directory().display().to_string();
    print(&match format {
        Format::Text => baseline::text(&found, &directory),
        Format::Json => baseline::json(&found, &directory)?,
    })
}

/// The bytes of a capture file, which may be named by its directory, and the capture.
fn read_file(path: &Path) -> anyhow::Result<(Vec<u8>, Capture)> {
    let path = match path.is_dir() {
        true => path.join(super::deep_dive::CAPTURE),
        false => path.to_owned(),
    };
    let name = path.display();
    let bytes = std::fs::read(&path).with_context(|| format!("cannot open the capture {name}"))?;
    let capture = read_capture_from(&mut &*bytes, &name)?;
    Ok((bytes, capture))
}

/// The capture that a user means: a file or directory that is there, or a baseline's name.
pub(super) fn named(
    text: &Path,
    baselines: impl FnOnce() -> anyhow::Result<Baselines>,
) -> anyhow::Result<Capture> {
    if text.exists() || text.components().count() != 1 {
        return Ok(read_file(text)?.1);
    }
    let name = text.display().to_string();
    let bytes = baselines()?.read(&name);
    let bytes = bytes.with_context(|| format!("there is no file {name} either"))?;
    read_capture_from(&mut &*bytes, &name)
}
