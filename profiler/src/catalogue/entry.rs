//! What a fix is, and what it answers.

use serde::{Serialize, Serializer};

use super::step::{Step, Trial};
use crate::aggregate::Summaries;
use crate::attribute::{Attribution, Cause, Leaf};
use crate::model::{Capture, Meta};
use crate::ship::Setup;

/// What must be started again for a fix to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Nothing.
    None,
    /// The ship.
    Ship,
    /// The host.
    Host,
}

impl Restart {
    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ship => "ship",
            Self::Host => "host",
        }
    }
}

/// How much can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Undone at once, harms nobody.
    None,
    /// Undone easily.
    Low,
    /// May harm other things on the host.
    Medium,
}

impl Risk {
    /// In tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
        }
    }
}

/// One fix.
#[derive(Serialize)]
pub struct Entry {
    /// Stable name.
    pub id: &'static str,
    /// What to do, as a command to the reader.
    pub title: &'static str,
    /// The cause that it is for.
    pub cause: Cause,
    /// What it can shrink; nothing if it takes away no stalled time.
    pub shrinks: &'static [Leaf],
    /// What goes wrong without it.
    pub why: &'static str,
    /// How its gain is computed, in words.
    pub gain: &'static str,
    /// What it looks at on the host and in the capture.
    pub check: &'static str,
    /// The answers that it can give.
    pub answers: &'static [Kind],
    /// Fixes that it contradicts: one report advises one of them at most.
    pub conflicts: &'static [&'static str],
    /// What must be started again.
    pub restart: Restart,
    /// What can go wrong.
    pub risk: Risk,
    /// Why it should be true.
    pub source: &'static str,
    /// Commands that make the change, with words in capitals for what depends on the host.
    pub apply: &'static [&'static str],
    /// Commands that take it back, likewise.
    pub undo: &'static [&'static str],
    /// Looks at host and capture.
    #[serde(skip)]
    pub assess: fn(&Situation<'_>) -> Assessment,
}

/// What an entry may look at.
pub struct Situation<'a> {
    /// The capture.
    pub capture: &'a Capture,
    /// Its sums.
    pub summaries: &'a Summaries,
    /// Its causes.
    pub attribution: &'a Attribution,
}

impl<'a> Situation<'a> {
    /// Circumstances of the capture.
    pub fn meta(&self) -> &'a Meta {
        &self.capture.meta
    }

    /// How the ship is set up, or why the capture does not say.
    pub fn setup(&self) -> Result<&'a Setup, String> {
        let setup = &self.meta().setup;
        setup
            .known()
            .ok_or_else(|| setup.reason().unwrap_or_default().to_owned())
    }

    /// Time of a leaf.
    pub fn leaf_ns(&self, leaf: Leaf) -> u64 {
        self.attribution.leaf_ns(leaf)
    }
}

/// What a fix could remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// Stalled time of this capture.
    StalledTime {
        /// At least.
        low_ns: u64,
        /// At most.
        high_ns: u64,
    },
    /// Lost datagrams of this capture.
    Datagrams {
        /// At least.
        low: u64,
        /// At most.
        high: u64,
    },
    /// No time: what a finding of this report warns of.
    Finding {
        /// The finding.
        id: &'static str,
    },
}

/// An entry's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The host is set up like this already.
    AlreadySo,
    /// It would shrink what this capture measured.
    WouldHelp(Gain),
    /// It may be right, but nothing here would get better.
    NoEvidence,
    /// It would make something worse.
    WouldHarm,
    /// A fact is missing.
    CannotTell,
}

/// An answer without its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Answer::AlreadySo`].
    AlreadySo,
    /// [`Answer::WouldHelp`].
    WouldHelp,
    /// [`Answer::NoEvidence`].
    NoEvidence,
    /// [`Answer::WouldHarm`].
    WouldHarm,
    /// [`Answer::CannotTell`].
    CannotTell,
}

impl Kind {
    /// In a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::AlreadySo => "already so",
            Self::WouldHelp => "would help",
            Self::NoEvidence => "no evidence here",
            Self::WouldHarm => "would harm",
            Self::CannotTell => "cannot tell",
        }
    }
}

impl Answer {
    /// Without its numbers.
    pub fn kind(self) -> Kind {
        match self {
            Self::AlreadySo => Kind::AlreadySo,
            Self::WouldHelp(_) => Kind::WouldHelp,
            Self::NoEvidence => Kind::NoEvidence,
            Self::WouldHarm => Kind::WouldHarm,
            Self::CannotTell => Kind::CannotTell,
        }
    }
}

/// How a fix shrinks the time of its leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// Each wait gets shorter.
    #[default]
    Shorter,
    /// Waits stay as long as they are, but come more rarely.
    Rarer,
}

/// What of one leaf could go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafGain {
    /// The leaf.
    pub leaf: Leaf,
    /// At least.
    pub low_ns: u64,
    /// At most.
    pub high_ns: u64,
}

/// What an entry found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assessment {
    /// In a word.
    pub answer: Answer,
    /// The value now; nothing if it is not known.
    pub current: Option<String>,
    /// The value it should have.
    pub proposed: String,
    /// One sentence with the number that decided.
    pub reason: String,
    /// What makes the change.
    #[serde(serialize_with = "texts")]
    pub apply: Vec<Step>,
    /// What takes it back.
    #[serde(serialize_with = "texts")]
    pub undo: Vec<Step>,
    /// What must be started again here, where it is not what the entry says.
    #[serde(skip)]
    pub restart: Option<Restart>,
    /// The same change of the running host where it is not advised, for who wants to see for himself.
    #[serde(skip)]
    pub untried: Option<Trial>,
    /// What of each leaf would go away, where it is not the same share of all that the entry shrinks.
    #[serde(skip)]
    pub by_leaf: Vec<LeafGain>,
    /// How the time gets less.
    #[serde(skip)]
    pub manner: Manner,
}

impl Default for Assessment {
    fn default() -> Self {
        Self {
            answer: Answer::CannotTell,
            current: None,
            proposed: String::new(),
            reason: String::new(),
            apply: Vec::new(),
            undo: Vec::new(),
            restart: None,
            untried: None,
            by_leaf: Vec::new(),
            manner: Manner::Shorter,
        }
    }
}

impl Assessment {
    /// An answer that proposes no change.
    pub(super) fn without_change(
        answer: Answer,
        current: Option<String>,
        proposed: &str,
        reason: String,
    ) -> Self {
        Self {
            answer,
            current,
            proposed: proposed.to_owned(),
            reason,
            ..Self::default()
        }
    }

    /// The same with a change of the running host that can be tried out all the same.
    pub(super) fn or_try(mut self, apply: Step, undo: Step) -> Self {
        self.untried = Trial::of(&[apply], &[undo]);
        self
    }

    /// The change of the running host, if that is all it takes and it can be taken back.
    pub fn trial(&self, restart: Restart) -> Option<Trial> {
        if self.restart.unwrap_or(restart) != Restart::None {
            return None;
        }
        let untried = || self.untried.clone();
        Trial::of(&self.apply, &self.undo).or_else(untried)
    }
}

/// What a setting is and what it should be, while an entry makes up its mind.
pub(super) struct Setting {
    /// Now; nothing if it is not known.
    pub current: Option<String>,
    /// As it should be.
    pub proposed: String,
}

impl Setting {
    pub fn new(current: Option<String>, proposed: impl Into<String>) -> Self {
        Self {
            current,
            proposed: proposed.into(),
        }
    }

    pub fn already_so(&self, reason: impl Into<String>) -> Assessment {
        self.answer(Answer::AlreadySo, reason.into())
    }

    pub fn no_evidence(&self, reason: impl Into<String>) -> Assessment {
        self.answer(Answer::NoEvidence, reason.into())
    }

    pub fn would_harm(&self, reason: impl Into<String>) -> Assessment {
        self.answer(Answer::WouldHarm, reason.into())
    }

    pub fn cannot_tell(&self, reason: impl Into<String>) -> Assessment {
        self.answer(Answer::CannotTell, reason.into())
    }

    pub fn would_help(
        &self,
        gain: Gain,
        reason: impl Into<String>,
        apply: Vec<Step>,
        undo: Vec<Step>,
    ) -> Assessment {
        Assessment {
            apply,
            undo,
            ..self.answer(Answer::WouldHelp(gain), reason.into())
        }
    }

    fn answer(&self, answer: Answer, reason: String) -> Assessment {
        Assessment::without_change(answer, self.current.clone(), &self.proposed, reason)
    }
}

fn texts<S: Serializer>(steps: &[Step], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(steps.iter().map(Step::text))
}
