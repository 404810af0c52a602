//! Three minutes of a real 4.6 ship, recorded call by call, with what was asked of it and when: our way
//! from calls and switches to events must find the same. The recording lies beside the repository; where
//! it is absent the test says so.
//!
//! It holds no bytes of frames, so each case says what of them is known, and whether event numbers are.

#![expect(clippy::expect_used, reason = "a test says by a panic what is wrong")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use noun::{Noun, jam};
use profiler::aggregate::events::{EventSpan, EventsSummary, SpanKind, snapshots, summarise};
use profiler::capture::file;
use profiler::model::{
    Call, Capture, Event, SnapshotEvent, Stack, SyscallEvent, ThreadId, WaitEvent,
};
use profiler::report::report;
use profiler::ship::loom::LoomAnswer;
use profiler_common::sched::{
    RUN_QUEUE, STATE_BLOCKED, STATE_PREEMPTED, TASK_INTERRUPTIBLE, TASK_RUNNABLE,
    TASK_UNINTERRUPTIBLE, Thread,
};
use zerocopy::FromZeros;

const KING: u32 = 19411;
const MARS: u32 = 19412;
/// The king's descriptor of the requests, and mars' of the replies.
const REQUESTS: u64 = 0xd;
const REPLIES: u64 = 0xe;
/// Standard error: lines to print, which are no frames.
const ERRORS: u64 = 2;
/// Waits shorter than this are not recorded.
const TIMELINE_NS: u64 = 20_000;

/// System calls of x86_64 that count here.
mod call {
    pub const OPEN: u64 = 2;
    pub const WRITEV: u64 = 20;
    pub const MADVISE: u64 = 28;
    pub const FDATASYNC: u64 = 75;
    pub const SIGALTSTACK: u64 = 131;
    pub const EPOLL_PWAIT: u64 = 281;
}

/// What was asked of the ship.
struct Step {
    name: String,
    start: u64,
    end: u64,
    event_before: u64,
    event_after: u64,
}

/// What is known beside the calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Neither bytes of frames nor numbers.
    Calls,
    /// Numbers of events.
    Numbers,
    /// Both.
    Heads,
}

fn recordings() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/syscalls");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no recording in {}", folder.display());
    None
}

fn steps(folder: &Path) -> Vec<Step> {
    let text = fs::read_to_string(folder.join("ship-4.6.steps.jsonl")).expect("the steps");
    let step = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a step");
        let number = |field: &str| line[field].as_u64().expect("a number");
        Step {
            name: line["step"].as_str().expect("a name").to_owned(),
            start: number("start_ktime_ns"),
            end: number("end_ktime_ns"),
            event_before: number("event_before"),
            event_after: number("event_after"),
        }
    };
    text.lines().map(step).collect()
}

fn lines(folder: &Path) -> Vec<Vec<String>> {
    let unpacked = Command::new("gzip")
        .arg("-dc")
        .arg(folder.join("ship-4.6.txt.gz"))
        .stderr(Stdio::inherit())
        .output()
        .expect("gzip runs");
    assert!(unpacked.status.success());
    let text = String::from_utf8(unpacked.stdout).expect("text");
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    let lines = text.lines().map(words);
    // The end of `rt_sigreturn`, whose beginning was left out, has the number -1.
    let is_whole = |words: &Vec<String>| words[1] != "X" || words[4] != "-1";
    lines.filter(is_whole).collect()
}

/// A thread while the recording is read.
#[derive(Default)]
struct Course {
    /// The call it is in, as far as known.
    call: Option<u64>,
    /// When it left the CPU, in what state and call.
    away: Option<(u64, u64, Option<u64>)>,
    woken: Option<(u64, u32)>,
    /// Its frame that is being written.
    frame: Option<usize>,
    seen: bool,
    /// The snapshot that it writes.
    snapshot: Option<u64>,
}

struct Reader<'a> {
    steps: &'a [Step],
    known: Known,
    start: u64,
    threads: BTreeMap<u32, Course>,
    flags: BTreeMap<u32, u32>,
    tgids: BTreeMap<u32, u32>,
    /// The call that each thread was in when the recording began.
    first_calls: BTreeMap<u32, u64>,
    events: Vec<Event>,
}

fn number(word: &str) -> u64 {
    word.parse().expect("a number")
}

fn hex(word: &str) -> u64 {
    u64::from_str_radix(word, 16).expect("a hexadecimal number")
}

impl Reader<'_> {
    fn thread(&self, tid: u32) -> ThreadId {
        let tgid = self.tgids.get(&tid).copied().unwrap_or(tid);
        ThreadId { tgid, tid }
    }

    fn push_call(&mut self, at: u64, tid: u32, call: Call) {
        self.events.push(Event::Syscall(SyscallEvent {
            thread: self.thread(tid),
            ktime_ns: at,
            call,
        }));
    }

    fn line(&mut self, words: &[String]) {
        let at = number(&words[0]);
        match words[1].as_str() {
            "E" => self.enter(at, words),
            "X" => self.leave(at, words),
            "A" => {
                let flags = number(&words[4]) as u32;
                self.flags.insert(number(&words[3]) as u32, flags);
            }
            "S" => self.switch(at, words),
            "W" => {
                let (waker, woken) = (number(&words[3]) as u32, number(&words[4]) as u32);
                let course = self.threads.entry(woken).or_default();
                if course.away.is_some() || !course.seen {
                    course.woken = course.woken.or(Some((at, waker)));
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, at: u64, words: &[String]) {
        let tid = number(&words[3]) as u32;
        let (nr, first, second) = (number(&words[4]), hex(&words[5]), hex(&words[6]));
        self.threads.entry(tid).or_default().call = Some(nr);
        let (is_main, is_mars) = (tid == KING || tid == MARS, tid == MARS);
        match nr {
            call::SIGALTSTACK if is_mars => {
                let flags = self.flags.get(&tid).copied().expect("flags stand before");
                let event_number = self.event_number(at);
                self.push_call(
                    at,
                    tid,
                    Call::SignalStack {
                        flags,
                        event_number,
                    },
                );
            }
            // Whether a frame is written is told by its header, which standard error has not.
            call::WRITEV if is_main && first != ERRORS && hex(&words[7]) == 2 => {
                let course = self.threads.entry(tid).or_default();
                course.frame = Some(self.events.len());
                let head = self.head(at, tid, first);
                self.push_call(
                    at,
                    tid,
                    Call::Frame {
                        fd: first as u32,
                        bytes: 0,
                        head,
                        turn_ktime_ns: None,
                    },
                );
            }
            call::FDATASYNC => self.push_call(at, tid, Call::Sync { fd: first as u32 }),
            call::EPOLL_PWAIT if tid == KING => self.push_call(at, tid, Call::LoopTurn),
            // `O_CREAT | O_EXCL`: of the two files that a snapshot begins with, the first.
            call::OPEN if is_mars && second & 0o300 == 0o300 => {
                let course = self.threads.entry(tid).or_default();
                course.snapshot = course.snapshot.or(Some(at));
            }
            _ => {}
        }
    }

    fn leave(&mut self, at: u64, words: &[String]) {
        let tid = number(&words[3]) as u32;
        let thread = self.thread(tid);
        let nr = number(&words[4]);
        let course = self.threads.entry(tid).or_default();
        course.call = None;
        if let (call::WRITEV, Some(frame)) = (nr, course.frame.take())
            && let Event::Syscall(event) = &mut self.events[frame]
            && let Call::Frame { bytes, .. } = &mut event.call
        {
            *bytes = number(&words[5]) - 5;
        }
        if nr == call::MADVISE
            && let Some(start_ktime_ns) = course.snapshot.take()
        {
            self.events.push(Event::Snapshot(SnapshotEvent {
                thread,
                start_ktime_ns,
                end_ktime_ns: at,
            }));
        }
    }

    fn switch(&mut self, at: u64, words: &[String]) {
        let (out, state, into) = (
            number(&words[3]) as u32,
            number(&words[4]),
            number(&words[5]) as u32,
        );
        if self.tgids.contains_key(&out) {
            let course = self.threads.entry(out).or_default();
            course.away = Some((at, state, course.call));
            course.seen = true;
            course.woken = None;
        }
        if !self.tgids.contains_key(&into) {
            return;
        }
        let thread = self.thread(into);
        let first = self.first_calls.get(&into).copied();
        let course = self.threads.entry(into).or_default();
        let from_start = (!course.seen).then_some((self.start, 1, first));
        course.seen = true;
        let Some((start_ktime_ns, state, call)) = course.away.take().or(from_start) else {
            return;
        };
        let woken = course.woken.take();
        if at - start_ktime_ns < TIMELINE_NS {
            return;
        }
        let task_state = match state {
            0 | 256 => TASK_RUNNABLE,
            1 => TASK_INTERRUPTIBLE,
            _ => TASK_UNINTERRUPTIBLE,
        };
        let is_preempted = task_state == TASK_RUNNABLE;
        let nobody = (ThreadId { tgid: 0, tid: 0 }, String::new());
        let waker = woken.map_or(0, |(_, waker)| waker);
        self.events.push(Event::Wait(Box::new(WaitEvent {
            thread,
            start_ktime_ns,
            woken_ktime_ns: woken.filter(|_| !is_preempted).map(|(at, _)| at),
            end_ktime_ns: at,
            syscall_nr: match is_preempted {
                true => RUN_QUEUE,
                false => call.map_or(-1, |call| call as i32),
            },
            task_state,
            waker: (
                ThreadId {
                    tgid: waker,
                    tid: waker,
                },
                String::new(),
            ),
            behind: nobody,
            cpu: 0,
            stack: Stack::default(),
        })));
    }

    /// The step under way.
    fn step(&self, at: u64) -> Option<&Step> {
        self.steps.iter().rev().find(|step| step.start <= at)
    }

    /// Number of the last event at the beginning of a computation.
    fn event_number(&self, at: u64) -> u64 {
        let step = self.step(at).filter(|_| self.known != Known::Calls);
        step.map_or(0, |step| step.event_before)
    }

    /// The frame's bytes, as the ship would have written them in this step.
    fn head(&self, at: u64, tid: u32, fd: u64) -> Vec<u8> {
        let is_reply = tid == MARS;
        let to_mars = tid == KING && fd == REQUESTS || is_reply && fd == REPLIES;
        let Some(step) = self.step(at).filter(|_| self.known == Known::Heads) else {
            return Vec::new();
        };
        let (null, cord) = (Noun::null, Noun::cord);
        let computes = self
            .flags
            .get(&MARS)
            .is_some_and(|flags| is_reply && *flags == 0);
        let noun = match step.name.as_str() {
            _ if !to_mars => Noun::tuple([Noun::from(7_u64), cord("peel"), null()]),
            _ if computes => Noun::tuple([cord("slog"), null(), null()]),
            name if name.starts_with("dojo") => Noun::tuple([
                cord("poke"),
                null(),
                Noun::cell(
                    Noun::path(["d", "term", "1"]),
                    Noun::cell(cord("belt"), null()),
                ),
            ]),
            "peek-zen-lag" => Noun::tuple([cord("peek"), null(), null()]),
            "peel-mass" => Noun::tuple([cord("quiz"), cord("quac"), null()]),
            "urth-pack" if is_reply => Noun::cell(cord("live"), null()),
            "urth-pack" => Noun::tuple([cord("live"), cord("pack"), null()]),
            name => panic!("{name}: nothing goes to mars"),
        };
        jam(&noun)
    }
}

/// The recording as a capture. What is not in it is that of a capture of the reference ship.
fn capture(lines: &[Vec<String>], steps: &[Step], known: Known) -> Capture {
    let any = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/healthy.capture");
    let any = fs::read(any).expect("the fixture");
    let mut capture = file::read(&mut Cursor::new(any)).expect("a capture");
    let mut reader = Reader {
        steps,
        known,
        start: number(&lines[0][0]),
        threads: BTreeMap::new(),
        flags: BTreeMap::new(),
        tgids: (MARS..MARS + 5)
            .map(|tid| (tid, MARS))
            .chain([(KING, KING)])
            .collect(),
        first_calls: BTreeMap::new(),
        events: Vec::new(),
    };
    for words in lines {
        if words[1] == "E" || words[1] == "X" {
            let (tid, nr) = (number(&words[3]) as u32, number(&words[4]));
            // One that ends first was entered before.
            let first = if words[1] == "X" { nr } else { u64::MAX };
            reader.first_calls.entry(tid).or_insert(first);
        }
    }
    reader.first_calls.retain(|_, nr| *nr != u64::MAX);
    for (tid, nr) in reader.first_calls.clone() {
        reader.threads.entry(tid).or_default().call = Some(nr);
    }
    for words in lines {
        reader.line(words);
    }
    let end = lines.last().map_or(0, |words| number(&words[0]));
    let meta = &mut capture.meta;
    meta.ship.king.tgid = KING;
    if let Some(mars) = &mut meta.ship.mars {
        mars.tgid = MARS;
    }
    (meta.clocks.start_ktime_ns, meta.clocks.end_ktime_ns) = (reader.start, end);
    meta.timeline_ns = TIMELINE_NS;
    for (answer, number) in [
        (&mut meta.loom_start, steps[0].event_before),
        (&mut meta.loom_end, steps[steps.len() - 1].event_after),
    ] {
        match (known, &mut *answer) {
            (Known::Calls, answer) => {
                *answer = LoomAnswer::Unreadable {
                    reason: "a test".to_owned(),
                };
            }
            (_, LoomAnswer::Home(home)) => home.event_number = number,
            (_, answer) => panic!("{answer:?}"),
        }
    }
    capture.totals.snapshots.clear();
    capture.totals.threads = reader
        .threads
        .iter()
        .map(|(tid, course)| (*tid, open(*tid, course)))
        .collect();
    reader.events.sort_by_key(Event::ktime_ns);
    capture.events = reader.events;
    capture
}

/// What a thread did when the recording ended.
fn open(tid: u32, course: &Course) -> Thread {
    let mut thread = Thread::new_zeroed();
    thread.tgid = if tid == KING { KING } else { MARS };
    if let Some((since, state, call)) = course.away {
        thread.since_ktime_ns = since;
        thread.state = if state == 0 {
            STATE_PREEMPTED
        } else {
            STATE_BLOCKED
        };
        thread.wait.syscall_nr = call.map_or(-1, |call| call as i32);
        thread.wait.task_state = TASK_INTERRUPTIBLE;
    }
    thread
}

/// Which step each of some spans belongs to, by arrival and release.
fn names<'a>(spans: impl Iterator<Item = &'a EventSpan>, steps: &'a [Step]) -> Vec<&'a str> {
    let name = |span: &EventSpan| {
        let inside = |step: &&Step| {
            step.start <= span.arrived_ktime_ns && span.released_ktime_ns <= step.end
        };
        steps.iter().find(inside).map_or("none", |step| &step.name)
    };
    spans.map(name).collect()
}

fn assert_steps(summary: &EventsSummary, wakeups: &[(u64, u32)], steps: &[Step], known: Known) {
    let wanted = |prefix: &str| {
        let names = steps.iter().map(|step| step.name.as_str());
        let names: Vec<&str> = names.filter(|name| name.starts_with(prefix)).collect();
        names
    };
    let events: Vec<&EventSpan> = summary.events().collect();
    assert_eq!(names(events.iter().copied(), steps), wanted("dojo"));
    let questions = summary.spans.iter();
    let questions = questions.filter(|span| span.kind.is_none() && !span.is_mass);
    assert_eq!(names(questions, steps), wanted("peek"));
    assert_eq!((summary.unmatched, summary.unfinished), (0, 0));
    // One commit for each event, between its computation and its release, and begun by mars.
    assert_eq!(summary.commits.len(), events.len());
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.commit, Some(at));
        let commit = summary.commits[at];
        let order = [
            event.arrived_ktime_ns,
            event.sent_ktime_ns,
            event.work.start_ktime_ns,
            event.work.end_ktime_ns,
            commit.start_ktime_ns,
            commit.sync_ktime_ns,
            commit.end_ktime_ns,
            event.released_ktime_ns,
        ];
        assert!(order.is_sorted(), "{order:?}");
        // It begins when mars wakes the worker, not when the worker gets the lock that mars still holds.
        let woken = wakeups
            .iter()
            .find(|(at, woken)| *at > event.work.end_ktime_ns && *woken == commit.thread.tid);
        assert_eq!(Some(commit.start_ktime_ns), woken.map(|(at, _)| *at));
        let number = (known != Known::Calls).then(|| steps[0].event_before + 1 + at as u64);
        assert_eq!(event.work.event_number, number);
    }
    let step = |name: &str| steps.iter().find(|step| step.name == name).expect("a step");
    let spans: Vec<_> = summary.mars_spans.iter().collect();
    let [mass, pack] = spans[..] else {
        panic!("a collection and a pack: {spans:?}");
    };
    assert_eq!((mass.kind, pack.kind), (SpanKind::Mass, SpanKind::Pack));
    let asked = step("peel-mass");
    assert!(asked.start < mass.start_ktime_ns && mass.end_ktime_ns < asked.end);
    // It takes most of the time until its answer, and the pack 0.19 s after its own.
    assert!(
        mass.duration_ns() > (asked.end - asked.start) * 9 / 10,
        "{mass:?}"
    );
    assert!(pack.start_ktime_ns > step("urth-pack").start);
    let packed_ms = pack.duration_ns() / 1_000_000;
    assert!((185..200).contains(&packed_ms), "{packed_ms} ms");
}

#[test]
fn a_real_ships_steps_are_found() {
    let Some(folder) = recordings() else {
        return;
    };
    let steps = steps(&folder);
    let lines = lines(&folder);
    let wakeups = lines
        .iter()
        .filter(|words| words[1] == "W" && words[3] == MARS.to_string());
    let wakeups: Vec<(u64, u32)> = wakeups
        .map(|words| (number(&words[0]), number(&words[4]) as u32))
        .collect();
    for known in [Known::Heads, Known::Numbers, Known::Calls] {
        let capture = capture(&lines, &steps, known);
        let summary = summarise(&capture).expect("its events can be followed");
        assert_steps(&summary, &wakeups, &steps, known);
        // The first file of the snapshot was made 29.68 s after the first step began, and it was done 0.58 s
        // later.
        let mars = ThreadId {
            tgid: MARS,
            tid: MARS,
        };
        let [(start, end)] = snapshots(&capture, mars)[..] else {
            panic!("one snapshot");
        };
        let (start_ms, frozen_ms) = (
            (start - steps[0].start) / 1_000_000,
            (end - start) / 1_000_000,
        );
        assert_eq!((start_ms, frozen_ms), (29_680, 580));
        let spans = report(&capture).mars_spans.expect("events were followed");
        let counts: Vec<_> = spans
            .kinds
            .iter()
            .map(|line| (line.kind, line.count))
            .collect();
        let expected = [
            (SpanKind::Peek, 6),
            (SpanKind::Snapshot, 1),
            (SpanKind::Pack, 1),
            (SpanKind::Mass, 1),
        ];
        assert_eq!(counts, expected);
    }
}
