//! What is kept comes back, as long as it is to be kept.

use std::time::{Duration, Instant};

use super::{Scratch, all};
use crate::model::example::{self, MINUTE_NS, START_UNIX_NS};
use crate::model::{ShipKey, Window, WindowSum};
use crate::store::{Pruned, Range, Retention};

fn retention(max_age: Duration, max_bytes: u64) -> Retention {
    Retention { max_age, max_bytes }
}

const FOR_EVER: Duration = Duration::from_secs(1 << 40);

#[test]
fn everything_comes_back() {
    let scratch = Scratch::filled(0..20);
    let expected: Vec<Window> = (0..20).map(example::window).collect();
    assert_eq!(all(&scratch.reader()), expected);
}

#[test]
fn ranges_and_ships_are_told_apart() {
    let scratch = Scratch::filled(0..10);
    let mut other = example::window(4);
    other.ship = ShipKey {
        label: "~zod; DROP TABLE window".to_owned(),
        pier: "/piers/'zod'".to_owned(),
    };
    scratch.store().append(&other).expect("there is room");
    let reader = scratch.reader();
    assert_eq!(
        reader.ships().expect("it reads"),
        [example::ship(), other.ship.clone()]
    );
    let range = Range {
        from_unix_ns: START_UNIX_NS + 3 * MINUTE_NS,
        to_unix_ns: START_UNIX_NS + 6 * MINUTE_NS,
    };
    let ours = example::ship();
    let of = |ship| reader.windows(range, ship).expect("it reads");
    assert_eq!(of(Some(&other.ship)), std::slice::from_ref(&other));
    assert_eq!(of(Some(&ours)).len(), 3);
    assert_eq!(of(None).len(), 4);
    let span = |ship| reader.span(ship).expect("it reads");
    assert_eq!(
        span(&ours),
        Some((START_UNIX_NS, START_UNIX_NS + 9 * MINUTE_NS))
    );
    let nobody = ShipKey {
        label: "~bus".to_owned(),
        pier: String::new(),
    };
    assert_eq!(span(&nobody), None);
}

#[test]
fn odd_values_come_back_and_impossible_ones_are_refused() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let mut window = example::window(0);
    window.vere_version = Some("\u{1b}[31m\0'\"".to_owned());
    window.leaves.clear();
    window.stacks.clear();
    window.stacks.insert("empty".to_owned(), Default::default());
    window.clock_step_ns = i64::MIN;
    store.append(&window).expect("there is room");
    let mut impossible = window.clone();
    impossible.own_cost.process_cpu_ns = u64::MAX;
    let error = store.append(&impossible).expect_err("it does not fit");
    assert!(error.to_string().contains("beyond 2^63"), "{error}");
    store.close().expect("it closes");
    assert_eq!(all(&scratch.reader()), [window]);
}

#[test]
fn a_simulated_day_adds_up_and_costs_little() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    let mut expected = WindowSum::default();
    let mut appending = Duration::ZERO;
    for minute in 0..1_440 {
        let window = example::window(minute);
        expected.add_window(&window);
        let start = Instant::now();
        store.append(&window).expect("there is room");
        appending += start.elapsed();
    }
    store.close().expect("it closes");
    let bytes = std::fs::metadata(scratch.path())
        .expect("it is there")
        .len();

    let start = Instant::now();
    let mut sum = WindowSum::default();
    let stacks = scratch
        .reader()
        .for_each(Range::ALL, None, |window| sum.add_window(&window))
        .expect("it reads");
    sum.stacks = stacks;
    let reading = start.elapsed();
    assert!(sum == expected, "the day does not add up");
    // Shown with --nocapture. Four kinds of fifty stacks each.
    println!(
        "{} MiB a day, {} bytes a window, {:.2} ms an append, {} ms to read a day",
        bytes >> 20,
        bytes / 1_440,
        appending.as_secs_f64() * 1e3 / 1_440.0,
        reading.as_millis()
    );
    assert!(bytes < 24 << 20, "{bytes} bytes");
}

#[test]
fn old_windows_go_and_the_file_shrinks() {
    let scratch = Scratch::filled(0..300);
    let size = || {
        std::fs::metadata(scratch.path())
            .expect("it is there")
            .len()
    };
    let before = size();
    let mut store = scratch.store();
    let now = START_UNIX_NS + 300 * MINUTE_NS;
    let hour = retention(Duration::from_secs(3_600), u64::MAX);
    let first = store.prune(now, &hour).expect("it prunes");
    assert!(first.remains && first.windows < 240, "{first:?}");
    while store.prune(now, &hour).expect("it prunes").remains {}
    store.close().expect("it closes");
    let expected: Vec<Window> = (240..300).map(example::window).collect();
    assert!(all(&scratch.reader()) == expected);
    assert!(size() < before / 2, "{} of {before}", size());
}

#[test]
fn the_oldest_go_until_the_size_fits_but_never_the_last() {
    let scratch = Scratch::filled(0..400);
    let mut store = scratch.store();
    let limit = 5 << 20;
    let by_size = retention(FOR_EVER, limit);
    let mut removed = 0;
    loop {
        let pruned = store.prune(START_UNIX_NS, &by_size).expect("it prunes");
        removed += pruned.windows;
        if !pruned.remains {
            break;
        }
    }
    assert!(removed > 0);
    store.append(&example::window(400)).expect("there is room");
    store.close().expect("it closes");
    let size = std::fs::metadata(scratch.path())
        .expect("it is there")
        .len();
    assert!(size <= limit, "{size}");
    let kept = all(&scratch.reader());
    assert_eq!(kept.len() as u64, 401 - removed);
    assert_eq!(kept.first(), Some(&example::window(removed)));

    let mut store = scratch.store();
    let nothing = retention(FOR_EVER, 0);
    while store
        .prune(START_UNIX_NS, &nothing)
        .expect("it prunes")
        .remains
    {}
    store.close().expect("it closes");
    assert_eq!(all(&scratch.reader()), [example::window(400)]);
}

#[test]
fn stacks_that_nobody_uses_go_and_those_in_use_stay() {
    let scratch = Scratch::new();
    let mut store = scratch.store();
    // Without most of what a window holds, so that thousands are quickly written.
    let mut smallest = example::window(0);
    smallest.histograms.clear();
    smallest.budgets.clear();
    smallest.leaves.clear();
    smallest.stacks.retain(|kind, _| kind == "on-cpu");
    for stacks in smallest.stacks.values_mut() {
        stacks.top.truncate(2);
    }
    let small = |minute: u64| {
        let mut window = smallest.clone();
        window.start_unix_ns = START_UNIX_NS + minute * MINUTE_NS;
        for stacks in window.stacks.values_mut() {
            stacks.top[1].frames = vec!["all".to_owned(), format!("day {}", minute / 1_440)];
        }
        window
    };
    let hours = retention(Duration::from_secs(100 * 60), u64::MAX);
    let last = 14_000;
    for minute in 0..last {
        store.append(&small(minute)).expect("there is room");
        let now = START_UNIX_NS + minute * MINUTE_NS;
        let pruned = store.prune(now, &hours).expect("it prunes");
        assert!(matches!(
            pruned,
            Pruned {
                windows: 0..=1,
                remains: false
            }
        ));
    }
    let frames: i64 = store
        .connection()
        .query_row(
            "SELECT count(*) FROM frame WHERE name LIKE 'day %'",
            [],
            |row| row.get(0),
        )
        .expect("it reads");
    assert!((1..=8).contains(&frames), "{frames}");
    store.close().expect("it closes");
    let kept = all(&scratch.reader());
    assert!(kept.len() >= 100);
    assert_eq!(
        kept.last().map(|window| &window.stacks),
        Some(&small(last - 1).stacks)
    );
}
