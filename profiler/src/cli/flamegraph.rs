//! `profile flamegraph`: a picture of a capture.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, ValueEnum, error::ErrorKind};

use super::{Cli, DONE, read_capture};
use crate::aggregate::stacks::StackKind;
use crate::capture::output::Output;
use crate::hoon::Folding;
use crate::render::flamegraph::{Picture, render};

const EXAMPLES: &str = "\
Examples:
  profile flamegraph zod-1/capture --kind mixed -o mixed.svg
  profile flamegraph zod-1/capture --kind hoon --by agent > agents.svg
  profile flamegraph zod-2/capture --kind on-cpu --baseline zod-1/capture -o diff.svg

Exit status: 0 done, 1 failed or no such stack in the capture, 2 wrong usage.";

/// Which picture.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FlamegraphArgs {
    /// The file `capture` that a deep dive wrote.
    capture: PathBuf,
    /// Which stacks.
    #[arg(long, value_enum)]
    kind: Kind,
    /// How fine Hoon is named, in `hoon`, `mixed` and `dirty`. Left out: by line.
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Draws what changed since this capture: red is more, blue is less, grey is within noise. Times
    /// are per event, or shares where events are not known.
    #[arg(long, value_name = "CAPTURE")]
    baseline: Option<PathBuf>,
    /// The SVG, a new file. Left out: stdout.
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Time on CPU, by samples.
    OnCpu,
    /// Time off the CPU, by its cause.
    OffCpu,
    /// Time on CPU by the ship's own code.
    Hoon,
    /// Time on CPU: Hoon over the C that ran it.
    Mixed,
    /// Block I/O, from queued to done.
    BlockIo,
    /// Time that page faults were waited for.
    PageFault,
    /// Time of noting which pages of the loom are written to.
    Dirty,
    /// Time waited, by who ended the wait.
    Wakeup,
}

impl Kind {
    fn stacks(self) -> StackKind {
        match self {
            Self::OnCpu => StackKind::OnCpu,
            Self::OffCpu => StackKind::OffCpu,
            Self::Hoon => StackKind::Hoon,
            Self::Mixed => StackKind::Mixed,
            Self::BlockIo => StackKind::BlockIo,
            Self::PageFault => StackKind::PageFault,
            Self::Dirty => StackKind::Dirty,
            Self::Wakeup => StackKind::Wakeup,
        }
    }

    fn has_hoon(self) -> bool {
        matches!(self, Self::Hoon | Self::Mixed | Self::Dirty)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// `/app/dojo/hoon:984`.
    Line,
    /// `/app/dojo/hoon`.
    File,
    /// `/app/dojo`, `gall`.
    Agent,
}

impl By {
    fn folding(self) -> Folding {
        match self {
            Self::Line => Folding::Line,
            Self::File => Folding::File,
            Self::Agent => Folding::Owner,
        }
    }
}

pub(super) fn run(arguments: &FlamegraphArgs) -> anyhow::Result<u8> {
    if arguments.by.is_some() && !arguments.kind.has_hoon() {
        let words = "--by is for --kind hoon, mixed or dirty: no other has Hoon in it";
        Cli::command()
            .error(ErrorKind::ArgumentConflict, words)
            .exit();
    }
    // Before anything is read: a file that cannot be made is told at once.
    let output = match &arguments.output {
        Some(path) => Some(prepare(path)?),
        None => None,
    };
    let capture = read_capture(&arguments.capture)?;
    let baseline = arguments
        .baseline
        .as_deref()
        .map(read_capture)
        .transpose()?;
    let svg = render(&Picture {
        capture: &capture,
        baseline: baseline.as_ref(),
        kind: arguments.kind.stacks(),
        folding: arguments.by.unwrap_or(By::Line).folding(),
    })?;
    match output {
        Some((directory, name)) => {
            directory.write(name, |to| to.write_all(&svg))?;
        }
        None => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&svg)?;
            stdout.flush()?;
        }
    }
    Ok(DONE)
}

/// The directory of a new file, checked to be writable, and its name in it.
pub(super) fn prepare(path: &Path) -> anyhow::Result<(Output, &str)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} is no name of a file", path.display()))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Symbolic links of the directory's own path are followed; that of the file is not.
    let directory = directory
        .canonicalize()
        .with_context(|| format!("cannot use the directory {}", directory.display()))?;
    Ok((Output::prepare(&directory, &[name], 0)?, name))
}
