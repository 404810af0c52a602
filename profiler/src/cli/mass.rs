//! `profile mass`: what lies in a ship's loom, by owner. The ship stands still for it, so it is asked only on
//! request, and only by who knows.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::Args;

use super::flamegraph::prepare;
use super::{DONE, Format, USAGE, ask, print};
use crate::capture::output::Output;
use crate::host::Roots;
use crate::mass::{Cost, Fragmentation, Mass, SCHEMA_VERSION};
use crate::render;
use crate::ship::conn::{Answer, Conn, Question};
use crate::ship::loom::{self, LoomAnswer};
use crate::ship::{PierPaths, Selector, Ship, discover};

const EXAMPLES: &str = "\
Examples:
  sudo profile mass --ship ~zod             says what it costs, and asks first
  profile mass --ship ~/zod --yes --depth 8 for a script; deeper into the tree
  profile mass --yes --format json -o m.json  kept for profile audit --mass m.json
  profile mass --fragmentation              how free memory is broken up: costs nothing

Exit status: 0 done, 1 failed, 2 wrong usage, also without --yes where there is no
terminal to ask on.";

/// What may be waited for a connection: the king answers at once, unless it is held up itself.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Which ship, and what of the answer is shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MassArgs {
    /// The ship: its pier, its name (~zod), or the id of one of its processes. Left out: the one
    /// that runs.
    #[arg(long, value_name = "SHIP")]
    ship: Option<String>,
    /// Asks without asking you: the ship stands still while it counts.
    #[arg(long)]
    yes: bool,
    /// Asks only how its free memory is broken up, which takes the ship less than a millisecond.
    #[arg(long, conflicts_with = "depth")]
    fragmentation: bool,
    /// Levels of the tree that are shown.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = depth)]
    depth: usize,
    /// How long the answer is waited for, in seconds.
    #[arg(long, value_name = "S", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Also writes the answer to a new file, as JSON.
    #[arg(short, long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

fn depth(text: &str) -> Result<usize, String> {
    let depth: usize = text.parse().map_err(|_| "not a number".to_owned())?;
    match (1..=crate::mass::MAX_DEPTH).contains(&depth) {
        true => Ok(depth),
        false => Err(format!("not from 1 to {}", crate::mass::MAX_DEPTH)),
    }
}

pub(super) fn run(arguments: &MassArgs) -> anyhow::Result<u8> {
    let asks_first = !arguments.fragmentation && !arguments.yes;
    if asks_first && !ask::is_possible() {
        eprintln!(
            "profile: the ship stands still while it counts its memory, and there is no terminal to ask \
             you on: say --yes"
        );
        return Ok(USAGE);
    }
    let roots = Roots::default();
    let ship = discover(&roots, &Selector::of(arguments.ship.as_deref()))?;
    let output = match &arguments.output {
        Some(path) => Some(prepare_outside(path, &ship.pier)?),
        None => None,
    };
    let asked = Asked::open(&roots, &ship, arguments)?;
    if !arguments.fragmentation {
        eprint!("{}", render::mass::cost(&asked.label, asked.cost()));
        if asks_first && !consents()? {
            bail!("left as it was: the ship was asked nothing");
        }
    }
    let (text, json) = match arguments.fragmentation {
        true => {
            let free = asked.fragmentation()?;
            let json = render::mass::fragmentation_json(&free)?;
            (render::mass::fragmentation(&free), json)
        }
        false => {
            let mass = asked.mass()?;
            let json = render::mass::json(&mass)?;
            (render::mass::text(&mass, arguments.depth), json)
        }
    };
    if let Some((directory, name)) = output {
        directory.write(name, |to| to.write_all(json.as_bytes()))?;
    }
    print(match arguments.format {
        Format::Text => &text,
        Format::Json => &json,
    })?;
    Ok(DONE)
}

/// A new file, which may not lie in the pier.
fn prepare_outside<'a>(path: &'a Path, pier: &PierPaths) -> anyhow::Result<(Output, &'a str)> {
    use std::os::unix::fs::MetadataExt as _;
    let pier = std::fs::metadata(&pier.reachable);
    let pier = pier.map(|found| (found.dev(), found.ino())).ok();
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Output::outside(directory, pier)?;
    prepare(path)
}

/// Asks on the terminal; only a yes is one.
fn consents() -> anyhow::Result<bool> {
    let answer = ask::ask("Go on? [y/N] ").context("cannot read the answer")?;
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
}

/// A ship that can be asked.
struct Asked {
    conn: Conn,
    label: String,
    heap_bytes: Option<u64>,
    loom_bytes: Option<u64>,
    timeout: Duration,
}

impl Asked {
    fn open(roots: &Roots, ship: &Ship, arguments: &MassArgs) -> anyhow::Result<Self> {
        let timeout = Duration::from_secs(arguments.timeout);
        let heap_bytes = match loom::answer(roots, ship) {
            LoomAnswer::Home(home) => Some(home.heap_bytes),
            LoomAnswer::UnknownLayout { .. } | LoomAnswer::Unreadable { .. } => None,
        };
        let config = ship.config.as_ref();
        Ok(Self {
            conn: Conn::open(roots, ship, CONNECT_LIMIT.min(timeout))?,
            label: ship.label(),
            heap_bytes,
            loom_bytes: config.and_then(|config| config.loom_bytes()),
            timeout,
        })
    }

    fn cost(&self) -> Cost {
        Cost::of(self.heap_bytes, self.loom_bytes)
    }

    fn mass(mut self) -> anyhow::Result<Mass> {
        let (answer, taken) = self.ask(Question::Mass)?;
        let Answer::Mass(parts) = answer else {
            bail!("the ship answered another question");
        };
        Ok(Mass::new(self.label, taken, self.loom_bytes, parts))
    }

    fn fragmentation(mut self) -> anyhow::Result<Fragmentation> {
        let (answer, (taken_unix_ns, took_ns)) = self.ask(Question::Quic)?;
        let Answer::Quic(free) = answer else {
            bail!("the ship answered another question");
        };
        Ok(Fragmentation {
            schema_version: SCHEMA_VERSION,
            ship: self.label,
            taken_unix_ns,
            took_ns,
            open_bytes: free.open_bytes,
            idle_bytes: free.idle_bytes,
            heap_bytes: self.heap_bytes,
        })
    }

    /// The answer, when it was asked for, and how long that took.
    fn ask(&mut self, question: Question) -> anyhow::Result<(Answer, (u64, u64))> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let start = Instant::now();
        let answer = self.conn.answer_to(question, self.timeout)?;
        let Some(answer) = answer else {
            bail!(
                "the ship did not answer within {} s: mars is busy or held up, `profile now` says by what; \
                 it answers what it was asked all the same, when it comes to it",
                self.timeout.as_secs()
            );
        };
        let took = u64::try_from(start.elapsed().as_nanos())?;
        Ok((answer, (u64::try_from(now.as_nanos())?, took)))
    }
}
