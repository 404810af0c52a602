//! What mars' main thread does beside computing: upkeep of the loom, replaying its log, and waiting for
//! the king. Nothing else of the ship goes on meanwhile.
//!
//! Upkeep has no system calls of its own. It is what mars does outside of computations, snapshots and
//! sleeps where it has no other work that takes so long (`pkg/vere/mars.c`, `_mars_work`, `_mars_post`):
//!
//! | what | where |
//! |---|---|
//! | `|pack`, `|meld` | a message that is not computed, until mars goes on |
//! | `|mass` over `conn.sock` | a question, and what follows it |
//! | reclaim | behind each 1024th event |
//! | `|mass` of the dojo, automatic packing | behind an event |
//!
//! Where the bytes of the message are known they tell which, else it is told by the place.

use super::commit::Commit;
use super::computation::Computation;
use super::frame::Frame;
use super::message::{Content, Errand};
use super::timeline::Timeline;
use super::unread::Known;

/// After as many events mars throws its caches away (`pkg/vere/mars.c`, `_mars_sure_feck`).
const RECLAIM_EVENTS: u64 = 1024;
/// Unless a message asked for it, what takes less than this on CPU is no upkeep worth a name.
const MIN_UPKEEP_NS: u64 = 20_000_000;
/// To read or write a noun takes less than this a byte: 10 MB/s, a tenth of what vere reaches.
const NOUN_NS_PER_BYTE: u64 = 100;
/// Most messages that the king leaves unanswered (`pkg/vere/pier.c`).
const KING_LIMIT: usize = 10;

/// What mars did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// A question to the namespace, from its arrival to its answer.
    Peek,
    /// A snapshot.
    Snapshot,
    /// `|pack`, or `|meld` where the message is not known.
    Pack,
    /// `|meld`.
    Meld,
    /// `|mass` over `conn.sock`.
    Mass,
    /// Caches are thrown away, every 1024 events.
    Reclaim,
    /// Upkeep without a message: `|mass` of the dojo, or packing because the loom is nearly full.
    Upkeep,
    /// The log is replayed, at the start.
    Replay,
    /// Mars waits until the king takes what it sends.
    KingBusy,
}

impl SpanKind {
    /// Whether it is upkeep of the loom.
    pub fn is_upkeep(self) -> bool {
        match self {
            Self::Pack | Self::Meld | Self::Mass | Self::Reclaim | Self::Upkeep => true,
            Self::Peek | Self::Snapshot | Self::Replay | Self::KingBusy => false,
        }
    }
}

/// When mars did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarsSpan {
    /// What.
    pub kind: SpanKind,
    /// Its beginning; that of the window, if it began before.
    pub start_ktime_ns: u64,
    /// Its end; that of the window, if it had not ended.
    pub end_ktime_ns: u64,
    /// Whether it had not ended when the window closed.
    pub is_open: bool,
    /// Events that were replayed; number of the event behind which it was.
    pub events: Option<u64>,
}

impl MarsSpan {
    /// How long it took.
    pub fn duration_ns(&self) -> u64 {
        self.end_ktime_ns.saturating_sub(self.start_ktime_ns)
    }
}

/// What the spans are found in.
pub struct Stage<'a> {
    /// Beginning and end of the window.
    pub window: (u64, u64),
    /// Computations, commits, and the last number.
    pub known: &'a Known<'a>,
    /// Beginning of the computation that had not ended.
    pub open: Option<u64>,
    /// The king's messages.
    pub messages: &'a [Frame],
    /// Mars' answers.
    pub answers: &'a [Frame],
    /// What mars did.
    pub mars: &'a Timeline,
    /// When mars slept, or wrote a snapshot.
    pub away: Vec<(u64, u64)>,
    /// Whether the king asks for snapshots: up to v3.5.
    pub king_saves: bool,
}

/// Time of mars that is no computation, no snapshot and no sleep.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    start: u64,
    end: u64,
    /// The computation just before, if there is one.
    behind: Option<usize>,
    /// Whether it begins, or ends, with the window.
    at_start: bool,
    at_end: bool,
}

impl Stretch {
    fn within(&self, from: u64, to: u64) -> u64 {
        self.end.min(to).saturating_sub(self.start.max(from))
    }
}

/// All upkeep, in order.
pub fn upkeep(stage: &Stage<'_>) -> Vec<MarsSpan> {
    let stretches = stretches(stage);
    let mut taken = vec![false; stretches.len()];
    let mut spans = Vec::new();
    for (errand, from, to) in errands(stage) {
        let candidates = stretches.iter().enumerate().filter(|(at, stretch)| {
            !taken[*at]
                && stretch.within(from, to) > 0
                && (errand != Errand::Mass || stretch.behind.is_some())
        });
        let Some((at, stretch)) = candidates
            .max_by_key(|(at, stretch)| (stretch.within(from, to), std::cmp::Reverse(*at)))
        else {
            continue;
        };
        taken[at] = true;
        let (kind, start_ktime_ns) = match errand {
            // Told by what it writes, where that is seen.
            Errand::Save | Errand::Play => continue,
            Errand::Mass => (SpanKind::Mass, stage.bracket_start(stretch)),
            Errand::Meld => (SpanKind::Meld, stretch.start.max(from)),
            Errand::Pack | Errand::Live => (SpanKind::Pack, stretch.start.max(from)),
        };
        spans.push(MarsSpan {
            kind,
            start_ktime_ns,
            end_ktime_ns: stretch.end,
            is_open: stretch.at_end,
            events: None,
        });
    }
    let unnamed = stretches.iter().zip(&taken).filter(|(_, taken)| !**taken);
    let least_ns = stage.least_upkeep_ns();
    spans.extend(unnamed.filter_map(|(stretch, _)| stage.unnamed(stretch, least_ns)));
    spans.sort_by_key(|span| span.start_ktime_ns);
    spans
}

/// Upkeep that the king asked for, and between which moments it was done.
fn errands(stage: &Stage<'_>) -> Vec<(Errand, u64, u64)> {
    let end = stage.window.1;
    let mut found = Vec::new();
    for is_mass in [false, true] {
        let of = |frame: &&Frame| {
            frame
                .errand
                .is_some_and(|errand| (errand == Errand::Mass) == is_mass)
        };
        let mut asked = stage.messages.iter().filter(of).peekable();
        let mut before = stage.window.0;
        for answer in stage.answers.iter().filter(of) {
            let asked = asked.next_if(|asked| asked.sent_ktime_ns < answer.sent_ktime_ns);
            let from = asked.map_or(before, |asked| asked.sent_ktime_ns.max(before));
            // A serf answers a snapshot like a pack.
            let told = Some(answer).filter(|_| is_mass || !stage.king_saves);
            let errand = asked.or(told).and_then(|frame| frame.errand);
            found.extend(errand.map(|errand| (errand, from, answer.sent_ktime_ns)));
            before = answer.sent_ktime_ns;
        }
        // The first that has no answer may be under way.
        let open = asked.next().and_then(|asked| Some((asked.errand?, asked)));
        found.extend(open.map(|(errand, asked)| (errand, asked.sent_ktime_ns.max(before), end)));
    }
    found
}

/// The time between computations, answers, snapshots and sleeps, in order.
fn stretches(stage: &Stage<'_>) -> Vec<Stretch> {
    let (start, end) = stage.window;
    let brackets = stage.known.computations.iter().enumerate();
    let brackets = brackets.map(|(at, one)| (one.start_ktime_ns, one.end_ktime_ns, Some(at)));
    let open = stage.open.map(|start| (start, end, None));
    let answers = stage.answers.iter().map(|frame| frame.sent_ktime_ns);
    let away = stage.away.iter().map(|(start, end)| (*start, *end, None));
    let mut marks: Vec<(u64, u64, Option<usize>)> = brackets
        .chain(open)
        .chain(answers.map(|at| (at, at, None)))
        .chain(away)
        .collect();
    marks.sort_unstable();
    let mut found = Vec::new();
    let (mut at, mut behind, mut at_start) = (start, None, true);
    for (from, to, bracket) in marks.into_iter().chain([(end, end, None)]) {
        if from > at {
            found.push(Stretch {
                start: at,
                end: from,
                behind,
                at_start,
                at_end: from == end,
            });
        }
        if to >= at {
            (at, behind, at_start) = (to, bracket, false);
        }
    }
    found
}

impl Stage<'_> {
    fn computation(&self, stretch: &Stretch) -> Option<&Computation> {
        self.known.computations.get(stretch.behind?)
    }

    fn bracket_start(&self, stretch: &Stretch) -> u64 {
        let before = self.computation(stretch);
        before.map_or(stretch.start, |one| one.start_ktime_ns)
    }

    /// Time on CPU from which on it is upkeep, and not the making of the largest noun that was sent.
    fn least_upkeep_ns(&self) -> u64 {
        let all = self.messages.iter().chain(self.answers);
        let largest = all.map(|one| one.bytes).max().unwrap_or(0);
        MIN_UPKEEP_NS.saturating_add(largest.saturating_mul(NOUN_NS_PER_BYTE))
    }

    /// Upkeep that no message tells of, if it took at least `least_ns` on CPU.
    fn unnamed(&self, stretch: &Stretch, least_ns: u64) -> Option<MarsSpan> {
        let is_event = stretch.behind.and_then(|at| self.known.is_event(at));
        let number = self.computation(stretch).map(|one| one.event_number + 1);
        let number = number.filter(|number| is_event == Some(true) && *number > 1);
        let span = |kind, start_ktime_ns| MarsSpan {
            kind,
            start_ktime_ns,
            end_ktime_ns: stretch.end,
            is_open: stretch.at_end,
            events: number,
        };
        if number.is_some_and(|number| number.is_multiple_of(RECLAIM_EVENTS)) {
            return Some(span(SpanKind::Reclaim, self.planned(stretch)));
        }
        // What was before the window may have been anything.
        if stretch.at_start || self.on_cpu_ns(stretch) < least_ns {
            return None;
        }
        let answer = self
            .answers
            .iter()
            .find(|answer| answer.sent_ktime_ns >= stretch.end);
        // An unread message has got the content that its place tells, but no task.
        let unknown = answer.is_some_and(|answer| match answer.content {
            Content::Other => answer.errand.is_none() && stretch.behind.is_none(),
            Content::Peek => is_event == Some(false),
            _ => false,
        });
        Some(match (unknown, stretch.behind) {
            (true, None) => span(SpanKind::Pack, stretch.start),
            (true, Some(_)) => span(SpanKind::Mass, self.bracket_start(stretch)),
            (false, _) => span(SpanKind::Upkeep, self.planned(stretch)),
        })
    }

    /// From when on mars did nothing for its event any more: it had given it to be committed.
    fn planned(&self, stretch: &Stretch) -> u64 {
        let commits: &[Commit] = self.known.commits;
        let begun = commits.partition_point(|commit| commit.start_ktime_ns < stretch.start);
        let commit = commits.get(begun).map(|commit| commit.start_ktime_ns);
        commit
            .filter(|begun| *begun < stretch.end)
            .unwrap_or(stretch.start)
    }

    fn on_cpu_ns(&self, stretch: &Stretch) -> u64 {
        let away = self.mars.within(stretch.start, stretch.end).iter();
        let away_ns: u64 = away
            .map(|absence| stretch.within(absence.start_ktime_ns, absence.end_ktime_ns))
            .sum();
        (stretch.end - stretch.start).saturating_sub(away_ns)
    }
}

/// The replay of the log, and how many of the computations it made: mars says when it is up, and the
/// king sends nothing before. `has_no_port` is whether the king had none when it was found.
pub fn replay(stage: &Stage<'_>, has_no_port: bool) -> Option<(MarsSpan, usize)> {
    let is_ready = |frame: &&Frame| frame.content == Content::Ready;
    let ready = stage.answers.iter().find(is_ready);
    let ready = ready.map(|one| one.sent_ktime_ns);
    let until = ready.unwrap_or(stage.window.1);
    let all = stage.known.computations;
    let count = all.partition_point(|one| one.start_ktime_ns < until);
    let first = all.first().map(|one| one.start_ktime_ns).or(stage.open)?;
    let silent =
        stage.messages.is_empty() && stage.answers.is_empty() && stage.known.commits.is_empty();
    // More than the king may have asked for before.
    let more = all.len() > KING_LIMIT
        && all
            .windows(2)
            .all(|pair| pair[1].event_number == pair[0].event_number + 1);
    if first >= until || ready.is_none() && !(silent && (more || has_no_port)) {
        return None;
    }
    let span = MarsSpan {
        kind: SpanKind::Replay,
        start_ktime_ns: first,
        end_ktime_ns: until,
        is_open: ready.is_none(),
        events: Some(count as u64),
    };
    Some((span, count))
}

#[cfg(test)]
mod tests {
    use super::super::EventKind;
    use super::*;

    const MS: u64 = 1_000_000;

    fn frame(at_ms: u64, content: Content, errand: Option<Errand>) -> Frame {
        Frame {
            sent_ktime_ns: at_ms * MS,
            bytes: 100,
            content,
            errand,
            worked: None,
        }
    }

    fn poke(at_ms: u64) -> Frame {
        frame(at_ms, Content::Poke(EventKind::Timer), None)
    }

    fn bracket(start_ms: u64, end_ms: u64, event_number: u64) -> Computation {
        Computation {
            start_ktime_ns: start_ms * MS,
            computed_ktime_ns: end_ms * MS,
            end_ktime_ns: end_ms * MS,
            succeeded: true,
            event_number,
        }
    }

    struct Scene {
        computations: Vec<Computation>,
        messages: Vec<Frame>,
        answers: Vec<Frame>,
        /// Sleeps of mars, in ms.
        away: Vec<(u64, u64)>,
        last_number: u64,
    }

    impl Scene {
        fn with<T>(&self, look: impl Fn(&Stage<'_>) -> T) -> T {
            let known = Known {
                computations: &self.computations,
                commits: &[],
                last_number: Some(self.last_number),
            };
            look(&Stage {
                window: (0, 1000 * MS),
                known: &known,
                open: None,
                messages: &self.messages,
                answers: &self.answers,
                mars: &Timeline::default(),
                away: self.away.iter().map(|(a, b)| (a * MS, b * MS)).collect(),
                king_saves: false,
            })
        }

        /// Kind, beginning and end in ms.
        fn upkeep(&self) -> Vec<(SpanKind, u64, u64)> {
            let spans = self.with(upkeep);
            let ms =
                |span: &MarsSpan| (span.kind, span.start_ktime_ns / MS, span.end_ktime_ns / MS);
            spans.iter().map(ms).collect()
        }
    }

    /// The pack's answer waits behind an event whose commit ended meanwhile.
    #[test]
    fn a_pack_is_the_longest_stretch_before_its_answer() {
        let scene = Scene {
            computations: vec![bracket(12, 15, 7)],
            messages: vec![poke(10), frame(11, Content::Other, Some(Errand::Pack))],
            answers: vec![poke(220), frame(221, Content::Other, Some(Errand::Live))],
            away: vec![(0, 11), (222, 1000)],
            last_number: 8,
        };
        assert_eq!(scene.upkeep(), [(SpanKind::Pack, 15, 220)]);
    }

    #[test]
    fn mass_is_a_question_and_what_follows_it() {
        let scene = Scene {
            computations: vec![bracket(12, 65, 7), bracket(130, 133, 7)],
            messages: vec![frame(10, Content::Peek, Some(Errand::Mass)), poke(20)],
            answers: vec![frame(128, Content::Peek, Some(Errand::Mass)), poke(140)],
            away: vec![(0, 12), (133, 139), (140, 1000)],
            last_number: 8,
        };
        assert_eq!(scene.upkeep(), [(SpanKind::Mass, 12, 128)]);
    }

    #[test]
    fn caches_are_thrown_away_behind_each_1024th_event() {
        let scene = Scene {
            computations: vec![
                bracket(12, 13, 2046),
                bracket(30, 31, 2047),
                bracket(50, 51, 2048),
            ],
            messages: vec![poke(11), poke(29), poke(49)],
            answers: vec![poke(16), poke(36), poke(54)],
            away: vec![(0, 12), (16, 30), (36, 50), (54, 1000)],
            last_number: 2049,
        };
        assert_eq!(scene.upkeep(), [(SpanKind::Reclaim, 31, 36)]);
    }

    /// Packing because the loom is nearly full; and a large noun, which takes its time too.
    #[test]
    fn only_what_nouns_do_not_explain_is_upkeep_without_a_message() {
        let scene = |bytes| Scene {
            computations: vec![bracket(12, 13, 7)],
            messages: vec![poke(11)],
            answers: vec![Frame { bytes, ..poke(113) }],
            away: vec![(0, 12), (114, 1000)],
            last_number: 8,
        };
        assert_eq!(scene(100).upkeep(), [(SpanKind::Upkeep, 13, 113)]);
        assert_eq!(scene(1 << 20).upkeep(), []);
    }

    #[test]
    fn upkeep_under_way_at_the_end_is_open() {
        let scene = Scene {
            computations: Vec::new(),
            messages: vec![frame(900, Content::Other, Some(Errand::Meld))],
            answers: Vec::new(),
            away: vec![(0, 901)],
            last_number: 7,
        };
        let spans = scene.with(upkeep);
        assert_eq!(scene.upkeep(), [(SpanKind::Meld, 901, 1000)]);
        assert!(spans[0].is_open);
    }

    #[test]
    fn a_replay_ends_when_mars_is_up() {
        let mut scene = Scene {
            computations: (0..20)
                .map(|i| bracket(10 * i, 10 * i + 9, 100 + i))
                .collect(),
            messages: Vec::new(),
            answers: Vec::new(),
            away: Vec::new(),
            last_number: 120,
        };
        let found = |scene: &Scene, has_no_port| {
            let replay = scene.with(|stage| replay(stage, has_no_port));
            replay.map(|(span, count)| (span.end_ktime_ns / MS, span.is_open, count))
        };
        // More than ten events without a message, an answer or a commit.
        assert_eq!(found(&scene, false), Some((1000, true, 20)));
        scene.computations.truncate(5);
        assert_eq!(found(&scene, false), None);
        assert_eq!(found(&scene, true), Some((1000, true, 5)));
        scene.answers = vec![frame(35, Content::Ready, None), poke(300)];
        assert_eq!(found(&scene, false), Some((35, false, 4)));
    }
}
