//! Ships in each of their states, drawn as looks.

use super::*;

const MARS: u32 = 20;
const KING: u32 = 10;
const WORKER: u32 = 21;
const LOOK_NS: u64 = 50_000_000;
const LOOKS: u64 = 21;

/// A thread at look number `look`, in nanoseconds since the first: state, call, and how much of the
/// time it was on CPU.
fn sample(state: char, call: Option<(&'static str, &str)>, look: u64, on_cpu: f64) -> ThreadSample {
    let file = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    ThreadSample {
        state,
        call: call.map(|(name, of)| Call {
            name,
            file: file(of),
        }),
        sums: Some(Sums {
            on_cpu_ns: (on_cpu * (look * LOOK_NS) as f64) as u64,
            run_queue_ns: 0,
            timeslices_total: 7,
        }),
    }
}

/// A ship that does nothing, looked at; `change` makes each look another one.
fn watch(change: impl Fn(u64, &mut Moment)) -> Watch {
    let identity = |tgid, role| ThreadIdentity { tgid, role };
    let moments = (0..LOOKS).map(|look| {
        let epoll = || sample('S', Some(("epoll_pwait", "")), look, 0.0);
        let pool = || sample('S', Some(("futex", "")), look, 0.0);
        let mut moment = Moment {
            at_ktime_ns: 1_000 + look * LOOK_NS,
            event: Some(EventSample {
                done: 1_233,
                is_running: false,
            }),
            code: None,
            threads: [(MARS, epoll()), (KING, epoll()), (WORKER, pool())].into(),
            has_snapshot_files: false,
            mars_major_faults_total: Some(5),
        };
        change(look, &mut moment);
        moment
    });
    Watch {
        ship: "~zod".to_owned(),
        king_tgid: KING,
        mars_tgid: Some(MARS),
        is_booting: false,
        is_up: true,
        threads: [
            (MARS, identity(MARS, Role::Mars)),
            (KING, identity(KING, Role::King)),
            (WORKER, identity(MARS, Role::CommitWorker)),
        ]
        .into(),
        moments: moments.collect(),
        king: KingReply::Answered {
            time_ns: 60_000,
            queue: Some(1),
            event_number: Some(1_233),
        },
        ahead: Ahead {
            busiest: vec![Busy {
                tgid: 77,
                comm: "make".to_owned(),
                on_cpu_ratio: 0.9,
            }],
            quota: None,
        },
        ames: Reading::Known(AmesQueue {
            receive_queue_bytes: 0,
            lost_total: Some(0),
        }),
        swapped_in_pages: Reading::Known(0),
        incomplete: Vec::new(),
    }
}

fn judged(watch: Watch) -> (VerdictKind, String) {
    let verdict = answer(watch).verdict;
    (verdict.kind, verdict.sentence)
}

fn runs_event(moment: &mut Moment, done: u64) {
    moment.event = Some(EventSample {
        done,
        is_running: true,
    });
}

#[test]
fn a_ship_that_waits_for_work_is_idle() {
    let (kind, sentence) = judged(watch(|_, _| {}));
    assert_eq!(kind, VerdictKind::Idle, "{sentence}");
}

#[test]
fn a_long_event_is_told_with_its_number_time_and_what_waits_behind_it() {
    let mut seen = watch(|look, moment| {
        runs_event(moment, 1_233);
        moment.threads.insert(MARS, sample('R', None, look, 1.0));
    });
    seen.king = KingReply::Answered {
        time_ns: 60_000,
        queue: Some(4),
        event_number: Some(1_233),
    };
    let answer = answer(seen);
    assert_eq!(answer.verdict.kind, VerdictKind::LongEvent);
    assert_eq!(
        answer.verdict.sentence,
        "Mars computes event 1,234, for 1.00 s at least; 100 % of a CPU in the last 1.00 s; 3 more \
         requests wait behind it."
    );
    let event = answer.event.unwrap();
    assert_eq!(event.running_for_ns, Some(20 * LOOK_NS));
    assert_eq!(event.ended_total, 0);
}

#[test]
fn many_events_are_busy_and_none_is_outside_of_events() {
    let busy = watch(|look, moment| {
        runs_event(moment, 1_233 + look);
        moment.threads.insert(MARS, sample('R', None, look, 0.95));
    });
    let (kind, sentence) = judged(busy);
    assert_eq!(kind, VerdictKind::Busy, "{sentence}");
    assert!(sentence.contains("20 events"), "{sentence}");
    let pack = watch(|look, moment| {
        moment.threads.insert(MARS, sample('R', None, look, 1.0));
    });
    assert_eq!(judged(pack).0, VerdictKind::OutsideEvent);
    let unknown = watch(|look, moment| {
        moment.event = None;
        moment.threads.insert(MARS, sample('R', None, look, 1.0));
    });
    let answer = answer(unknown);
    assert_eq!(answer.verdict.kind, VerdictKind::Computing);
    assert_eq!(answer.event, None);
}

#[test]
fn ready_without_a_cpu_is_not_computing() {
    let starved = watch(|look, moment| {
        runs_event(moment, 1_233);
        moment.threads.insert(MARS, sample('R', None, look, 0.1));
    });
    let (kind, sentence) = judged(starved);
    assert_eq!(kind, VerdictKind::WaitsForCpu, "{sentence}");
    assert!(sentence.contains("10 % of a CPU"), "{sentence}");
    let who = "; meanwhile make (pid 77) had 90 % of a CPU";
    assert!(sentence.contains(who), "{sentence}");
}

#[test]
fn waits_of_mars_are_told_apart() {
    let waits = |state, call: (&'static str, &'static str)| {
        watch(move |look, moment| {
            let waits = sample(state, Some(call), look, 0.0);
            moment.threads.insert(MARS, waits);
        })
    };
    let cases = [
        (waits('D', ("fdatasync", "image.bin")), VerdictKind::Disk),
        (waits('D', ("page fault", "")), VerdictKind::Memory),
        (waits('D', ("mprotect", "")), VerdictKind::MemoryMap),
        (waits('S', ("writev", "")), VerdictKind::HeldUpByKing),
        (waits('S', ("futex", "")), VerdictKind::CannotTell),
        (waits('T', ("epoll_pwait", "")), VerdictKind::Stopped),
    ];
    for (seen, expected) in cases {
        let (kind, sentence) = judged(seen);
        assert_eq!(kind, expected, "{sentence}");
    }
    let (_, sentence) = judged(waits('D', ("fdatasync", "image.bin")));
    assert!(sentence.contains("fdatasync of image.bin"), "{sentence}");
}

#[test]
fn waits_that_may_not_be_read_are_not_taken_for_idleness() {
    let unread = watch(|look, moment| {
        moment.event = None;
        for tid in [MARS, KING, WORKER] {
            moment.threads.insert(tid, sample('S', None, look, 0.0));
        }
    });
    assert_eq!(judged(unread).0, VerdictKind::CannotTell);
    let computing = watch(|look, moment| {
        moment.threads.insert(MARS, sample('R', None, look, 1.0));
        moment.threads.insert(KING, sample('S', None, look, 0.0));
    });
    assert_eq!(judged(computing).0, VerdictKind::OutsideEvent);
}

#[test]
fn files_of_a_snapshot_count_only_while_mars_works() {
    let writes = watch(|look, moment| {
        moment.has_snapshot_files = look > 15;
        let call = Some(("pwrite64", "memory.bin"));
        moment.threads.insert(MARS, sample('D', call, look, 0.0));
    });
    let (kind, sentence) = judged(writes);
    assert_eq!(kind, VerdictKind::Snapshot);
    assert!(sentence.contains("pwrite64 of memory.bin"), "{sentence}");
    let left_over = watch(|_, moment| moment.has_snapshot_files = true);
    assert_eq!(judged(left_over).0, VerdictKind::Idle);
}

#[test]
fn commits_that_wait_are_told_whichever_worker_does_them() {
    let other = WORKER + 1;
    let mut seen = watch(|look, moment| {
        let call = Some(("fdatasync", "data.mdb"));
        let worker = if look % 2 == 0 { WORKER } else { other };
        moment.threads.insert(worker, sample('D', call, look, 0.0));
    });
    let identity = ThreadIdentity {
        tgid: MARS,
        role: Role::CommitWorker,
    };
    seen.threads.insert(other, identity);
    let (kind, sentence) = judged(seen);
    assert_eq!(kind, VerdictKind::LogCommit);
    assert!(sentence.contains("100 % of the looks"), "{sentence}");
    assert!(sentence.contains("fdatasync of data.mdb"), "{sentence}");
}

#[test]
fn the_king_is_named_when_mars_is_free() {
    let busy = watch(|look, moment| {
        moment.threads.insert(KING, sample('R', None, look, 0.99));
    });
    let (kind, sentence) = judged(busy);
    assert_eq!(kind, VerdictKind::KingBusy);
    assert!(sentence.contains("99 % of a CPU"), "{sentence}");
    let mut silent = watch(|_, _| {});
    silent.king = KingReply::Silent { after_ns: 5 };
    assert_eq!(judged(silent).0, VerdictKind::KingSilent);
}

#[test]
fn a_ship_that_is_not_up_says_what_it_is_at() {
    let mut replays = watch(|look, moment| {
        runs_event(moment, 1_000 + look);
        moment.threads.insert(MARS, sample('R', None, look, 1.0));
    });
    replays.is_up = false;
    let (kind, sentence) = judged(replays);
    assert_eq!(kind, VerdictKind::NotUp);
    assert!(sentence.contains("replays"), "{sentence}");
    let mut boots = watch(|_, _| {});
    boots.is_booting = true;
    assert_eq!(judged(boots).0, VerdictKind::Boots);
    let mut gone = watch(|_, moment| {
        moment.threads.remove(&MARS);
    });
    assert_eq!(judged(gone.clone()).0, VerdictKind::CannotTell);
    gone.mars_tgid = None;
    assert_eq!(judged(gone).0, VerdictKind::NoMars);
}

#[test]
fn a_wait_lasts_only_as_long_as_it_is_one() {
    let seen = watch(|look, moment| {
        let mut waits = sample('D', Some(("fdatasync", "data.mdb")), look, 0.0);
        // It ran between the looks 14 and 15.
        waits.sums = waits.sums.map(|sums| Sums {
            timeslices_total: 7 + u64::from(look >= 15),
            ..sums
        });
        moment.threads.insert(WORKER, waits);
    });
    let answer = answer(seen);
    let worker = answer.threads.iter().find(|t| t.tid == WORKER).unwrap();
    assert_eq!(worker.for_ns, 5 * LOOK_NS);
}

#[test]
fn nothing_seen_is_nothing_said() {
    let mut empty = watch(|_, _| {});
    empty.moments.clear();
    let answer = answer(empty);
    assert_eq!(answer.verdict.kind, VerdictKind::CannotTell);
    assert_eq!(answer.event, None);
    assert_eq!(answer.mars_major_faults_total, None);
    // What is not known of one look is not made up of the others.
    let one = watch(|look, moment| {
        if look > 0 {
            moment.mars_major_faults_total = None;
        }
    });
    assert_eq!(super::answer(one).mars_major_faults_total, None);
}

#[test]
fn the_screen_holds_all_lines_and_obeys_no_name() {
    let mut seen = watch(|look, moment| {
        let call = Some(("fdatasync", "evil\u{1b}[2Jname.mdb"));
        moment.threads.insert(WORKER, sample('D', call, look, 0.0));
        moment.mars_major_faults_total = None;
    });
    seen.ames = Reading::unknown("the sockets may not be read");
    seen.incomplete = vec!["events: not known".to_owned()];
    let text = crate::render::now::text(&answer(seen));
    assert!(text.starts_with("NOW  The event log waits"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
    for words in [
        "an unknown number of major faults",
        "INCOMPLETE    events: not known",
        "not known: the sockets may not be read",
    ] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
}
