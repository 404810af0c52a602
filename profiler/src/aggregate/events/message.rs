//! Messages between king and mars, by the first bytes of their jammed nouns.
//!
//! King to mars since v4: `[%poke mil wire card]`, `[%peek mil sample]` and others; up to v3.5
//! `[%work mil now wire card]`. Back come `[%poke …]`, `[%peek …]` or `[%work …]`, in the same order,
//! and lines to print at any time (`pkg/vere/lord.c`, `mars.c`). A serf's answer says how an event went
//! and its number: `[%work %done eve mug effects]`, `[%work %swap eve …]`, `[%work %bail …]`. A client of `conn.sock` gets frames of
//! the same form, which begin with the number of its request.

use noun::{Prefix, Token};
use serde::{Deserialize, Serialize};

/// What brought an event about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A packet of another ship.
    Ames,
    /// A request or connection of the web server, or an answer to the web client.
    Http,
    /// A client of `conn.sock`.
    Conn,
    /// A timer.
    Timer,
    /// The terminal.
    Terminal,
    /// Anything else, or what could not be read.
    Other,
}

impl EventKind {
    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ames => "ames",
            Self::Http => "http",
            Self::Conn => "conn",
            Self::Timer => "timer",
            Self::Terminal => "terminal",
            Self::Other => "other",
        }
    }
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An event to compute, or its effects.
    Poke(EventKind),
    /// A question to the namespace, or its answer; `|mass` begins with one.
    Peek,
    /// Anything else that is answered in its turn: `%live`, the other `%quiz`.
    Other,
    /// What no answer belongs to: lines to print, and snapshots that mars tells of.
    Notice,
    /// Mars is up: it has replayed its log.
    Ready,
    /// Its bytes could not be read, because their page was not in memory.
    Unread,
}

/// Upkeep of the loom that the king asks mars for (`pkg/vere/mars.c`, `_mars_work`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// `%live %pack`.
    Pack,
    /// `%live %meld`.
    Meld,
    /// Either of them: mars' answer does not say.
    Live,
    /// `%quiz %quac`: the loom is marked and counted, for `|mass`.
    Mass,
    /// `%live %save`, up to v3.5: a snapshot.
    Save,
    /// `%play`, up to v3.5: events of the log are computed again.
    Play,
}

/// How an event went, as the answer of a serf says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worked {
    /// It is done, or the note of its failure is; its number.
    Done(u64),
    /// Neither: there is nothing to commit.
    Bail,
}

/// How an event went, by the head of a serf's answer.
pub fn worked(head: &[u8]) -> Option<Worked> {
    let mut tokens = Prefix::new(head);
    tokens.cell()?;
    let tag = tokens.atom()?.to_text()?;
    tokens.cell()?;
    let how = tokens.atom()?.to_text()?;
    match (tag.as_str(), how.as_str()) {
        ("work", "done" | "swap") => {
            tokens.cell()?;
            Some(Worked::Done(tokens.atom()?.as_u64()?))
        }
        ("work", "bail") => Some(Worked::Bail),
        _ => None,
    }
}

/// What a message is, by the head of its noun; nothing if it is no message of king and mars.
pub fn content(head: &[u8]) -> Option<Content> {
    let mut tokens = Prefix::new(head);
    tokens.cell()?;
    let tag = tokens.atom()?.to_text()?;
    Some(match tag.as_str() {
        "poke" => Content::Poke(kind(tokens, false).unwrap_or(EventKind::Other)),
        "work" => Content::Poke(kind(tokens, true).unwrap_or(EventKind::Other)),
        "peek" => Content::Peek,
        "quiz" if errand(head) == Some(Errand::Mass) => Content::Peek,
        "live" | "quiz" | "play" => Content::Other,
        "ripe" => Content::Ready,
        "slog" | "flog" | "sync" | "exit" => Content::Notice,
        _ => return None,
    })
}

/// The upkeep that a message asks for, or that its answer tells the end of.
pub fn errand(head: &[u8]) -> Option<Errand> {
    let mut tokens = Prefix::new(head);
    tokens.cell()?;
    let tag = tokens.atom()?.to_text()?;
    // The task stands in a cell; the answer to either `%live` is `[%live ~]`.
    let task = tokens
        .cell()
        .and_then(|()| tokens.atom())
        .and_then(|task| task.to_text());
    match (tag.as_str(), task.as_deref()) {
        ("live", Some("pack")) => Some(Errand::Pack),
        ("live", Some("meld")) => Some(Errand::Meld),
        ("live", Some("save")) => Some(Errand::Save),
        ("play", _) => Some(Errand::Play),
        ("live", _) => Some(Errand::Live),
        ("quiz", Some("quac")) => Some(Errand::Mass),
        _ => None,
    }
}

/// The kind of an event, by its wire and its card's tag.
fn kind(mut tokens: Prefix<'_>, has_time: bool) -> Option<EventKind> {
    tokens.cell()?;
    tokens.atom()?;
    if has_time {
        tokens.cell()?;
        tokens.atom()?;
    }
    tokens.cell()?;
    let vane = wire(&mut tokens)?;
    tokens.cell()?;
    let tag = tokens.atom()?.to_text()?;
    Some(match (vane.as_deref(), tag.as_str()) {
        (_, "hear" | "heer" | "mess") => EventKind::Ames,
        (_, "wake") => EventKind::Timer,
        (_, "belt" | "blew" | "hail") => EventKind::Terminal,
        (_, "fyrd") => EventKind::Conn,
        (Some("http-server" | "http-client"), _) => EventKind::Http,
        (Some("khan" | "conn" | "lick"), _) => EventKind::Conn,
        (Some("ames" | "mesa"), _) => EventKind::Ames,
        (Some("behn"), _) => EventKind::Timer,
        (Some("term"), _) => EventKind::Terminal,
        _ => EventKind::Other,
    })
}

/// The first knot of a wire that is not empty, and goes past the wire.
fn wire(tokens: &mut Prefix<'_>) -> Option<Option<String>> {
    let mut first = None;
    loop {
        match tokens.next()? {
            Token::Cell => match tokens.next()? {
                Token::Atom(knot) => {
                    let knot = knot.to_text();
                    if first.is_none() && knot.as_deref() != Some("") {
                        first = knot;
                    }
                }
                Token::Reference => {}
                Token::Cell | Token::Part(_) => return None,
            },
            // The end of the list.
            Token::Atom(_) | Token::Reference => return Some(first),
            Token::Part(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noun::{Atom, Noun, jam};

    fn poke(tag: &str, wire: &[&str], card: &str) -> Vec<u8> {
        let wire = Noun::list(wire.iter().map(|knot| Noun::cord(knot)));
        let card = Noun::cell(Noun::cord(card), Noun::Atom(Atom::from_bytes(&[9; 400])));
        let mut parts = vec![Noun::cord(tag), Noun::from(0_u64)];
        if tag == "work" {
            parts.push(Noun::from(u128::MAX >> 1));
        }
        let ovum = Noun::cell(wire, card);
        let noun = parts
            .into_iter()
            .rev()
            .fold(ovum, |tail, head| Noun::cell(head, tail));
        let mut head = jam(&noun);
        head.truncate(128);
        head
    }

    #[test]
    fn events_are_told_apart_by_wire_and_card() {
        for (wire, card, kind) in [
            (&["", "ames"][..], "hear", EventKind::Ames),
            (&["", "behn", "0v1n.2m9vh"], "wake", EventKind::Timer),
            (
                &["", "http-server", "0v1n.2m9vh", "1", "1"],
                "request",
                EventKind::Http,
            ),
            (&["", "khan", "0v1n.2m9vh"], "fyrd", EventKind::Conn),
            (&["", "term", "1"], "belt", EventKind::Terminal),
            (&["", "arvo"], "trim", EventKind::Other),
        ] {
            for tag in ["poke", "work"] {
                let found = content(&poke(tag, wire, card));
                assert_eq!(found, Some(Content::Poke(kind)), "{wire:?} {card}");
            }
        }
    }

    #[test]
    fn what_is_no_message_of_king_and_mars_is_none() {
        let reply = jam(&Noun::tuple([
            Noun::from(7_u64),
            Noun::cord("peel"),
            Noun::null(),
        ]));
        assert_eq!(content(&reply), None);
        assert_eq!(content(&[]), None);
        assert_eq!(errand(&reply), None);
        assert_eq!(content(&[0xff; 64]), None);
    }

    #[test]
    fn upkeep_is_told_by_its_task() {
        let task = |tag: &str, task: &str| {
            jam(&Noun::tuple([
                Noun::cord(tag),
                Noun::cord(task),
                Noun::null(),
            ]))
        };
        for (tag, what, found, sort) in [
            ("live", "pack", Some(Errand::Pack), Content::Other),
            ("live", "meld", Some(Errand::Meld), Content::Other),
            ("quiz", "quac", Some(Errand::Mass), Content::Peek),
            ("quiz", "quic", None, Content::Other),
            ("sync", "save", None, Content::Notice),
            ("live", "save", Some(Errand::Save), Content::Other),
        ] {
            let head = task(tag, what);
            assert_eq!(errand(&head), found, "{tag} {what}");
            assert_eq!(content(&head), Some(sort), "{tag} {what}");
        }
        let answer = jam(&Noun::cell(Noun::cord("live"), Noun::null()));
        assert_eq!(errand(&answer), Some(Errand::Live));
        assert_eq!(content(&answer), Some(Content::Other));
    }

    #[test]
    fn a_serf_tells_how_an_event_went() {
        let answer =
            |how: &str, rest: Noun| jam(&Noun::tuple([Noun::cord("work"), Noun::cord(how), rest]));
        let number =
            |number: u64| Noun::tuple([Noun::from(number), Noun::from(7_u64), Noun::null()]);
        for (head, found) in [
            (answer("done", number(12)), Some(Worked::Done(12))),
            (
                answer("swap", number(u64::MAX)),
                Some(Worked::Done(u64::MAX)),
            ),
            (answer("bail", Noun::null()), Some(Worked::Bail)),
            (poke("work", &["", "behn"], "wake"), None),
            (poke("poke", &["", "behn"], "wake"), None),
            (Vec::new(), None),
        ] {
            assert_eq!(worked(&head), found);
        }
    }

    #[test]
    fn a_wire_that_is_cut_makes_an_event_of_another_kind() {
        let long = "x".repeat(200);
        let head = poke("poke", &["", &long], "wake");
        assert_eq!(content(&head), Some(Content::Poke(EventKind::Other)));
    }
}
