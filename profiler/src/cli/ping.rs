//! `profile ping`: how long a ship takes to answer, by its king alone and through Nock.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use super::interrupts::Interrupts;
use super::{DONE, Format, INCOMPLETE, print};
use crate::host::Roots;
use crate::ping::{Fate, Ping, Pings, Way};
use crate::render;
use crate::ship::conn::{Conn, ConnError, Question, decode};
use crate::ship::{Selector, discover};

const EXAMPLES: &str = "\
Examples:
  profile ping                              the one ship that runs, 4 rounds
  profile ping --ship ~/zod --count 0       until Ctrl-C
  profile ping --ship ~zod --format json    for a script

Exit status: 0 all answered in time, 1 the king or Nock answered nothing, 2 wrong
usage, 3 some answers were lost or late.";

/// How a ship is asked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PingArgs {
    /// The ship: its pier, its name (~zod), or the id of one of its processes. Left out: the one
    /// that runs.
    #[arg(long, value_name = "SHIP")]
    ship: Option<String>,
    /// Rounds; each asks the king once and Nock once. 0: until Ctrl-C.
    #[arg(long, value_name = "N", default_value_t = 4)]
    count: u64,
    /// From one round to the next, in seconds; at least 1, so that asking is no load.
    #[arg(long, value_name = "S", default_value = "1", value_parser = interval)]
    interval: Duration,
    /// How long an answer is waited for, in seconds. A later one is still counted, as late.
    #[arg(long, value_name = "S", default_value = "5", value_parser = timeout)]
    timeout: Duration,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

fn seconds(text: &str, least: f64) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (least..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("not from {least} to 3600"))
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    seconds(text, 1.0)
}

fn timeout(text: &str) -> Result<Duration, String> {
    seconds(text, 0.1)
}

/// What the asking thread and the signals tell.
enum Told {
    Ping(Ping),
    Ended(Result<(), ConnError>),
    Interrupted,
}

pub(super) fn run(arguments: &PingArgs) -> anyhow::Result<u8> {
    let roots = Roots::default();
    let selector = Selector::of(arguments.ship.as_deref());
    let ship = discover(&roots, &selector)?;
    let conn = Conn::open(&roots, &ship, arguments.timeout)?;
    let is_text = arguments.format == Format::Text;
    if is_text {
        print(&render::ping::head(
            &ship.label(),
            ship.king.tgid,
            &conn.path().display().to_string(),
        ))?;
    }
    let (teller, told) = channel();
    listen(teller.clone())?;
    let asker = Asker {
        conn,
        timeout: arguments.timeout,
        interval: arguments.interval,
        waiting: BTreeMap::new(),
        teller,
    };
    let count = arguments.count;
    std::thread::spawn(move || asker.ask_all(count));
    let mut pings = Vec::new();
    let ended = loop {
        match told.recv()? {
            Told::Ping(ping) => {
                if is_text {
                    print(&render::ping::line(&ping))?;
                }
                pings.push(ping);
            }
            Told::Ended(result) => break result,
            Told::Interrupted => break Ok(()),
        }
    };
    let timeout_ns = u64::try_from(arguments.timeout.as_nanos())?;
    let pings = Pings::new(ship.label(), timeout_ns, pings);
    print(&match arguments.format {
        Format::Text => render::ping::summary(&pings),
        Format::Json => render::ping::json(&pings)?,
    })?;
    ended?;
    let timeout_s = arguments.timeout.as_secs_f64();
    match pings.silent() {
        Some(Way::King) => bail!(
            "the king answered nothing within {timeout_s} s: it is busy or stopped, `profile now` \
             says what it does"
        ),
        Some(Way::Nock) => bail!(
            "nothing came back through Nock within {timeout_s} s, though the king answers: mars is \
             busy or held up, `profile now` says by what"
        ),
        None if pings.is_complete() => Ok(DONE),
        None => Ok(INCOMPLETE),
    }
}

/// Tells of Ctrl-C and SIGTERM, from a thread of its own.
fn listen(teller: Sender<Told>) -> anyhow::Result<()> {
    let (runtime, mut signals) = Interrupts::listen()?.into_parts();
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = signals.interrupt.recv() => {}
                _ = signals.terminate.recv() => {}
            }
        });
        // Who does not hear it has ended already.
        let _ = teller.send(Told::Interrupted);
    });
    Ok(())
}

/// A question that was sent.
struct Sent {
    way: Way,
    sequence: u64,
    at: Instant,
    given_up: bool,
}

/// Asks, and tells what becomes of each question.
struct Asker {
    conn: Conn,
    timeout: Duration,
    interval: Duration,
    /// Questions without an answer, by number.
    waiting: BTreeMap<u64, Sent>,
    teller: Sender<Told>,
}

impl Asker {
    fn ask_all(mut self, count: u64) {
        let result = self.rounds(count);
        let _ = self.teller.send(Told::Ended(result));
    }

    fn rounds(&mut self, count: u64) -> Result<(), ConnError> {
        for sequence in 1.. {
            let next = Instant::now() + self.interval;
            for way in Way::ALL {
                self.ask(way, sequence)?;
            }
            if sequence == count {
                break;
            }
            // Late answers may come meanwhile. Past the time for the next round, the time of this one
            // was all waiting.
            while self.take_answer(next)?.is_some() {}
        }
        Ok(())
    }

    fn ask(&mut self, way: Way, sequence: u64) -> Result<(), ConnError> {
        let before = self.waiting.values().find(|sent| sent.way == way);
        if let Some(before) = before {
            let waiting_for = before.sequence;
            self.tell(way, sequence, Fate::NotAsked { waiting_for });
            return Ok(());
        }
        let at = Instant::now();
        let number = self.conn.ask(question(way), self.timeout)?;
        let sent = Sent {
            way,
            sequence,
            at,
            given_up: false,
        };
        self.waiting.insert(number, sent);
        let deadline = at + self.timeout;
        while self.waiting.contains_key(&number) {
            if self.take_answer(deadline)?.is_none() {
                if let Some(sent) = self.waiting.get_mut(&number) {
                    sent.given_up = true;
                }
                self.tell(way, sequence, Fate::Lost);
                break;
            }
        }
        Ok(())
    }

    /// Takes one answer, to whichever question; `None` when none came until `deadline`.
    fn take_answer(&mut self, deadline: Instant) -> Result<Option<()>, ConnError> {
        let Some((number, data)) = self.conn.answer(deadline)? else {
            return Ok(None);
        };
        let Some(sent) = self.waiting.remove(&number) else {
            return Err(ConnError::Shape {
                what: "an answer to no question",
            });
        };
        let time_ns = u64::try_from(sent.at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        decode(question(sent.way), &data)?;
        let late = sent.given_up;
        self.tell(sent.way, sent.sequence, Fate::Answered { time_ns, late });
        Ok(Some(()))
    }

    fn tell(&self, way: Way, sequence: u64, fate: Fate) {
        let ping = Ping {
            way,
            sequence,
            fate,
        };
        // Who does not hear it has ended already.
        let _ = self.teller.send(Told::Ping(ping));
    }
}

fn question(way: Way) -> Question {
    match way {
        Way::King => Question::Live,
        Way::Nock => Question::Lag,
    }
}
