//! C stacks of a program like vere: musl without frame pointers, deep recursion, handlers of SIGSEGV.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::process::{Process, Terminal};
use harness::scratch::Scratch;
use harness::{gate, zig};
use profiler::aggregate::wholeness;
use profiler::capture::code::CodeTables;
use profiler::capture::probes::{ProbeOptions, Probes};
use profiler::capture::recording::Recording;
use profiler::capture::symbols::Executables;
use profiler::cli::open_code;
use profiler::host::Roots;
use profiler::host::counters::now_ktime_ns;
use profiler::model::{Event, FrameKind, Stack, StackEnd, Symbols, ThreadId};
use profiler::unwind;
use profiler_common::record::{KIND_SAMPLE, KIND_WAIT, RecordHeader};
use profiler_common::ship::ShipProcess;
use zerocopy::FromBytes;

/// What the programs are told of a process that is no ship's.
const NO_SHIP: ShipProcess = ShipProcess {
    ship: 0,
    followed: 0,
    is_king: 0,
    commits: 0,
    turn_ktime_ns: 0,
};
/// Every call of the program.
const CALLS: [&str; 19] = [
    "read",
    "readv",
    "recvmsg",
    "recvmmsg",
    "write",
    "writev",
    "sendmsg",
    "sendmmsg",
    "pread",
    "pwrite",
    "fsync",
    "fdatasync",
    "epoll_pwait",
    "poll",
    "madvise",
    "pthread_mutex_timedlock",
    "pthread_cond_timedwait",
    "clock_gettime",
    "fault",
];
/// How long the programs may take to be where they stay.
const SETTLE: Duration = Duration::from_millis(500);
/// How long stacks are taken.
const SECONDS: Duration = Duration::from_secs(4);
/// How many stacks of a process are looked at, of those on CPU and those of waits.
const MOST_OF_A_KIND: u64 = 300;
/// Of all stacks, how many must be whole and hold the caller.
const LEAST_RATIO: f64 = 0.99;

/// One process of the program for each call.
struct Running {
    processes: Vec<(&'static str, Process)>,
    _home: Scratch,
}

impl Running {
    fn start(options: &[&str], depth: usize, in_thread: bool) -> harness::Result<Self> {
        let home = Scratch::new("stacks")?;
        let program = home.path().join("stacks");
        zig::compile("stacks.c", options, &program)?;
        let start = |call: &'static str| {
            let directory = home.path().join(call);
            std::fs::create_dir(&directory).map_err(harness::Error::path("make", &directory))?;
            Ok((call, spawn(&program, call, depth, &directory, in_thread)?))
        };
        let processes = CALLS
            .into_iter()
            .map(start)
            .collect::<harness::Result<_>>()?;
        Ok(Self {
            processes,
            _home: home,
        })
    }

    fn call_of(&self, tgid: u32) -> Option<&'static str> {
        let found = self.processes.iter().find(|(_, p)| p.pid() == tgid)?;
        Some(found.0)
    }
}

fn spawn(
    program: &Path,
    call: &str,
    depth: usize,
    directory: &Path,
    in_thread: bool,
) -> harness::Result<Process> {
    let mut command = Command::new(program);
    command
        .args([call, &depth.to_string()])
        .arg(directory)
        .stdin(Stdio::null());
    if in_thread {
        command.arg("thread");
    }
    Process::spawn(&mut command, Terminal::Own)
}

/// Stacks as a deep dive takes them, made whole and named.
struct Taken {
    stacks: Vec<(ThreadId, Stack, bool)>,
    symbols: Symbols,
}

fn take(running: &Running) -> Taken {
    let mut probes = Probes::attach(&ProbeOptions {
        recording: true,
        threshold_ns: 1_000,
        timeline_ns: 1_000,
        sample_hz: 499,
        user_stacks: true,
        ring_bytes: 64 << 20,
        log_level: log::LevelFilter::Off,
    })
    .unwrap();
    let roots = Roots::default();
    let mut executables = Executables::default();
    for (_, process) in &running.processes {
        probes.watch(process.pid(), NO_SHIP).unwrap();
        open_code(&roots, &mut executables, process.pid());
    }
    probes.set_window(now_ktime_ns(), u64::MAX).unwrap();
    let mut recording = Recording::default();
    let mut kept = BTreeMap::new();
    let end = std::time::Instant::now() + SECONDS;
    while std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        probes.drain(|record| {
            let (header, _) = RecordHeader::read_from_prefix(record).unwrap();
            let kept: &mut u64 = kept.entry((header.tgid, header.kind)).or_default();
            let has_stack = matches!(header.kind, KIND_SAMPLE | KIND_WAIT);
            if has_stack && record.len() > 1000 && *kept < MOST_OF_A_KIND {
                *kept += 1;
                recording.push(record);
            }
        });
    }
    drop(probes);
    let code = CodeTables::of(&executables);
    recording.replace(|record| unwind::complete(record, |tgid| code.of_process(tgid)));
    let (events, malformed) = recording.decode();
    assert_eq!(malformed, 0);
    let symbols = executables.resolve(&events);
    let stacks = events.iter().filter_map(|event| {
        let (thread, stack) = event.stack()?;
        let is_wait = matches!(event, Event::Wait(_));
        (!stack.user.is_empty()).then(|| (thread, stack.clone(), is_wait))
    });
    Taken {
        stacks: stacks.collect(),
        symbols,
    }
}

/// Names of a stack's user frames, innermost first.
fn names(stack: &Stack, tgid: u32, symbols: &Symbols) -> Vec<String> {
    let user = stack.lookups().filter(|(_, kind)| *kind == FrameKind::User);
    user.flat_map(|(address, kind)| symbols.frames(tgid, address, kind))
        .map(|frame| frame.name)
        .collect()
}

/// How many stacks there were of a call, and how many of them were right.
#[derive(Debug, Default)]
struct Count {
    all: u64,
    right: u64,
    waits: u64,
    /// Those that were not, but said that they are whole.
    wrongly_whole: u64,
    /// The first that was not.
    example: Option<(Vec<String>, StackEnd)>,
}

/// Takes stacks, and holds each to what the program does.
fn check(running: &Running, depth: usize, first: &str) -> BTreeMap<&'static str, Count> {
    let taken = take(running);
    let mut counts: BTreeMap<&'static str, Count> = BTreeMap::new();
    for (thread, stack, is_wait) in &taken.stacks {
        let Some(call) = running.call_of(thread.tgid) else {
            continue;
        };
        let names = names(stack, thread.tgid, &taken.symbols);
        let has = |name: &str| names.iter().any(|n| n == name);
        let recursion = names.iter().filter(|name| *name == "descend").count();
        let end = wholeness::end(stack, *thread, &taken.symbols);
        let right =
            has(&format!("in_{call}")) && recursion == depth && has(first) && end == StackEnd::Root;
        let count = counts.entry(call).or_default();
        count.all += 1;
        count.right += u64::from(right);
        count.waits += u64::from(*is_wait);
        count.wrongly_whole += u64::from(!right && end == StackEnd::Root);
        if !right && count.example.is_none() {
            let shown = names.into_iter().filter(|name| name != "descend");
            count.example = Some((shown.collect(), end));
        }
    }
    for (call, count) in &counts {
        eprintln!(
            "{call}: {} of {} right, {} of them waits {:?}",
            count.right, count.all, count.waits, count.example
        );
    }
    counts
}

fn assert_right(counts: &BTreeMap<&'static str, Count>) {
    for call in CALLS {
        let count = counts
            .get(call)
            .unwrap_or_else(|| panic!("no stack of {call}"));
        // Of some calls so few stacks are taken that two wrong ones are chance; of all they are not.
        let least = LEAST_RATIO * count.all as f64;
        assert!(count.right as f64 + 2.0 >= least, "{call}: {count:?}");
    }
    let sum = |of: fn(&Count) -> u64| counts.values().map(of).sum::<u64>() as f64;
    assert!(sum(|c| c.right) >= LEAST_RATIO * sum(|c| c.all));
}

#[test]
fn deep_stacks_reach_main_and_hold_the_caller_of_every_wrapper() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let options = ["-fno-omit-frame-pointer"];
    let Some(running) = gate::need(Running::start(&options, 1000, false)) else {
        return;
    };
    std::thread::sleep(SETTLE);
    assert_right(&check(&running, 1000, "main"));
}

#[test]
fn threads_stacks_reach_the_first_function_of_the_thread() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let options = ["-fno-omit-frame-pointer"];
    let Some(running) = gate::need(Running::start(&options, 200, true)) else {
        return;
    };
    std::thread::sleep(SETTLE);
    assert_right(&check(&running, 200, "start"));
}

#[test]
fn stacks_without_frame_pointers_are_whole_as_far_as_a_copy_reaches() {
    let Some(_live) = gate::need_bpf() else {
        return;
    };
    let options = ["-fomit-frame-pointer"];
    let Some(running) = gate::need(Running::start(&options, 1000, false)) else {
        return;
    };
    std::thread::sleep(SETTLE);
    let counts = check(&running, 1000, "main");
    // What a signal interrupted so deep is more than is copied: no such stack says that it is whole.
    let (fault, others): (Vec<_>, Vec<_>) = counts
        .values()
        .zip(counts.keys())
        .partition(|(_, call)| **call == "fault");
    assert!(
        fault.iter().all(|(count, _)| count.wrongly_whole == 0),
        "{fault:?}"
    );
    let sum = |of: fn(&Count) -> u64| others.iter().map(|(count, _)| of(count)).sum::<u64>();
    assert!(sum(|c| c.right) as f64 >= LEAST_RATIO * sum(|c| c.all) as f64);
}
