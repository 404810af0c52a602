//! A simulated day of a ship: 1,440 windows of a sampler, from the programs' sums to the history, add up
//! to what the simulation did, exactly. Between them the sampler is started anew, the ship too, hours
//! are missing, and the wall clock jumps.

#![expect(clippy::expect_used, reason = "a test says by a panic what is wrong")]

mod sim;

use std::fs;
use std::path::Path;

use profiler::capture::file;
use profiler::history::Builder;
use profiler::host::Reading;
use profiler::model::{
    Capture, EndReason, Losses, NS_PER_S, Symbols, ThreadState, Window, WindowSum,
};
use profiler::sampler::labels::LabelSums;
use profiler::sampler::names::Names;
use profiler::sampler::reading::difference;
use profiler::sampler::thinning::Thinning;
use profiler::sampler::window::{Circumstances, clock_step_ns, window};
use profiler::ship::Role;
use profiler::ship::loom::LoomAnswer;
use profiler::store::{Range, Store};

use sim::{Moment, START_UNIX_NS, Sim, SimThread, Truth};

const WINDOWS: u64 = 1_440;
const MINUTE_NS: u64 = 60 * NS_PER_S;
/// The recorded capture of a healthy ship, whose circumstances every window gets.
fn template() -> Capture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/healthy.capture");
    let bytes = fs::read(path).expect("the fixture is there");
    file::read(&mut bytes.as_slice()).expect("a fixture is a capture")
}

/// King, mars and two commit workers, by the ids that the capture's ship has.
fn threads(capture: &Capture) -> Vec<SimThread> {
    let ship = &capture.meta.ship;
    let mars = ship.mars.as_ref().expect("a mars").tgid;
    let workers =
        [1, 2].map(|more| SimThread::new(mars, mars + more, Role::CommitWorker, "libuv-worker"));
    let mains = [
        SimThread::new(ship.king.tgid, ship.king.tgid, Role::King, "king"),
        SimThread::new(mars, mars, Role::Mars, "mars"),
    ];
    mains.into_iter().chain(workers).collect()
}

/// The window between two moments, by the sampler's own stages.
fn window_between(capture: &mut Capture, start: &Moment, end: &Moment, ended: EndReason) -> Window {
    capture.totals = difference(&start.totals, &end.totals, end.ktime_ns);
    let meta = &mut capture.meta;
    meta.ended = ended;
    meta.losses = Losses::default();
    meta.clocks.start_ktime_ns = start.ktime_ns;
    meta.clocks.end_ktime_ns = end.ktime_ns;
    meta.clocks.start_unix_ns = start.unix_ns;
    let king = meta.ship.king.tgid;
    for (counters, moment) in [
        (&mut meta.counters_start, start),
        (&mut meta.counters_end, end),
    ] {
        counters.throttling = Reading::Known(Vec::new());
        for (tgid, process) in &mut counters.processes {
            let of_king = u64::from(*tgid == king);
            process.minor_faults_total = moment.faults[0] * of_king;
            process.major_faults_total = moment.faults[1] * of_king;
        }
        let Reading::Known(memory) = &mut counters.memory else {
            panic!("the fixture has the machine's counters");
        };
        memory.swapped_in_pages = Some(moment.faults[2]);
        memory.refaulted_file_pages = Some(moment.faults[3]);
        counters.group_memory = Reading::unknown("not simulated");
        counters.memory_pressure = Reading::unknown("not simulated");
    }
    for (answer, moment) in [(&mut meta.loom_start, start), (&mut meta.loom_end, end)] {
        if let LoomAnswer::Home(home) = answer {
            home.event_number = moment.events;
        }
    }
    let circumstances = Circumstances {
        labels: LabelSums::default(),
        clock_step_ns: clock_step_ns(&meta.clocks, end.unix_ns),
        memory: None,
        programs_cpu_ns: None,
        thinning: Thinning::new(0.005),
        stacks: &[],
        names: &Names::default(),
        unnamed: Vec::new(),
    };
    window(capture, &circumstances)
}

#[test]
fn a_simulated_day_adds_up_to_what_was_done() {
    let mut capture = template();
    capture.events.clear();
    capture.symbols = Symbols::default();
    let states: Vec<ThreadState> = threads(&capture).iter().map(SimThread::state).collect();
    capture.meta.thread_states_start = states.clone();
    capture.meta.thread_states = states;
    let mut sim = Sim::new(threads(&capture));
    sim.live(MINUTE_NS);
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("store.db");
    let mut store = Store::create_or_open(&path).expect("it opens");
    sim.watch();
    let mut start = sim.moment();
    let (mut steps_ns, mut cut_short) = (0, 0);
    for minute in 0..WINDOWS {
        let ended = match minute % 300 {
            200 => EndReason::Interrupted,
            _ => EndReason::TimeIsUp,
        };
        let jitter_ns = sim.dice.below(20_000_000);
        sim.live(MINUTE_NS - 10_000_000 + jitter_ns);
        // The wall clock jumps in the middle of the night, back and forth.
        let step_ns: i64 = match minute {
            100 => 3_600_000_000_000,
            700 => -1_800_000_000_000,
            701 => 50_000_000,
            _ => 0,
        };
        sim.clock_ns += step_ns;
        steps_ns += step_ns.unsigned_abs();
        let end = sim.moment();
        let window = window_between(&mut capture, &start, &end, ended);
        assert_eq!(window.clock_step_ns, step_ns);
        store.append(&window).expect("there is room");
        start = end;
        if ended == EndReason::Interrupted {
            cut_short += 1;
            // The sampler is ended; later, one begins anew on the same store.
            sim.unwatch();
            store.close().expect("it closes");
            sim.live(7 * MINUTE_NS);
            store = Store::create_or_open(&path).expect("it opens");
            sim.watch();
            start = sim.moment();
        }
    }
    sim.unwatch();
    store.close().expect("it closes");
    let found = found(&path, &sim, cut_short, steps_ns);
    assert!(found == sim.truth, "{found:?}\nis not\n{:?}", sim.truth);
    // The simulation did something of everything.
    assert_eq!(sim.truth.budgets.len(), 12);
    assert_eq!(sim.truth.leaves.len(), 5);
}

/// What the history says, as a whole and by its rows.
fn found(path: &Path, sim: &Sim, cut_short: u64, steps_ns: u64) -> Truth {
    let reader = Store::read_only(path).expect("it opens");
    let ship = reader.ships().expect("it reads").remove(0);
    let to_unix_ns = sim.moment().unix_ns + 2 * 3_600 * NS_PER_S;
    let mut builder = Builder::new(ship.clone(), START_UNIX_NS, to_unix_ns, 3_600 * NS_PER_S);
    let stacks = reader
        .for_each(Range::ALL, Some(&ship), |window| builder.add(&window))
        .expect("it reads");
    let history = builder.finish(stacks).expect("windows");
    let total = &history.total;
    assert_eq!(total.windows, WINDOWS);
    assert_eq!(total.clock_steps_ns, steps_ns);
    assert_eq!(total.cut_short.values().sum::<u64>(), cut_short);
    // Where there was no sampler, and where the clock went on without one.
    assert!(history.gaps.len() as u64 >= cut_short, "{:?}", history.gaps);
    let mut rows = WindowSum::default();
    for row in &history.rows {
        rows.add(&row.sum);
    }
    assert_eq!(rows.budgets, total.budgets);
    assert_eq!(rows.leaves, total.leaves);
    assert_eq!(rows.histograms, total.histograms);
    assert_eq!((rows.udp, rows.faults), (total.udp, total.faults));
    let mut found = Truth {
        duration_ns: total.duration_ns,
        events: total.events.expect("events").sum.count,
        ..Truth::default()
    };
    for (role, budget) in &total.budgets {
        assert_eq!(budget.unexplained_ns + budget.throttled_ns, 0, "{role:?}");
        let parts = [
            ("on_cpu", budget.on_cpu_ns),
            ("run_queue", budget.run_queue_ns),
            ("blocked", budget.blocked_ns),
            ("idle", budget.idle_ns),
        ];
        assert_eq!(parts.iter().map(|part| part.1).sum::<u64>(), budget.wall_ns);
        for (part, ns) in parts {
            found.add(*role, part, None, ns);
        }
    }
    for (name, leaf) in total.leaves.iter().filter(|(_, leaf)| leaf.total_ns > 0) {
        // Whether a page-in is disk or memory is decided by each window's evictions.
        let name = if name.starts_with("page-in") {
            "page-in"
        } else {
            name
        };
        *found.leaves.entry(name.to_owned()).or_default() += leaf.total_ns;
    }
    for (name, histogram) in &total.histograms {
        let buckets = histogram.sparse().collect();
        found.histograms.insert(name.clone(), buckets);
    }
    let (udp, faults) = (
        total.udp.expect("udp").sum,
        total.faults.expect("faults").sum,
    );
    found.udp = [udp.received, udp.sent, udp.bytes, udp.dropped];
    found.faults = [
        faults.minor,
        faults.major,
        faults.swapped_in_pages.expect("swap-ins"),
        faults.refaulted_pages.expect("refaults"),
    ];
    found
}
