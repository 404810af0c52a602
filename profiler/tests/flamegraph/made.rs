//! Captures as tests want them: recorded ones, with Hoon stacks and names of our choice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use profiler::capture::file;
use profiler::hoon::{FrameKey, HoonNames, Site, Spot};
use profiler::model::{Capture, Event, HoonEvent};
use profiler_common::hoon::{END_WHOLE, FRAME_SPOT, HoonFrame};

/// What a hostile process would call itself.
pub const HOSTILE: &str = "<script>alert(1)</script>\u{1b}[31m\u{9b}2J\"'&;(\u{fffe}\n";

/// A Hoon stack, outermost first.
pub const GALL: &[&str] = &["/sys/vane/gall/hoon", "/app/dojo/hoon"];
/// Another.
pub const AMES: &[&str] = &["/sys/vane/ames/hoon"];

/// A recorded capture.
pub fn capture(name: &str) -> Capture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(format!("{name}.capture"));
    let opened = File::open(path).expect("a fixture");
    file::read(&mut BufReader::new(opened)).expect("a capture")
}

/// Gives each sample of mars a Hoon stack: `paths` by turns, outermost first.
pub fn add_hoon(capture: &mut Capture, paths: &[&[&str]]) {
    let mars = capture.meta.ship.mars.as_ref().expect("mars").tgid;
    let mut known = BTreeMap::new();
    let mut frame = |path: &str| {
        let noun = 0xc000_0000 + known.len() as u32;
        let frame = HoonFrame {
            kind: FRAME_SPOT,
            noun,
            mug: 7,
        };
        known.entry(path.to_owned()).or_insert(frame).to_owned()
    };
    let stacks: Vec<Vec<HoonFrame>> = paths
        .iter()
        .map(|path| path.iter().rev().map(|name| frame(name)).collect())
        .collect();
    let mut turn = stacks.iter().cycle();
    let mut hoon = Vec::new();
    for event in &capture.events {
        if let Event::Sample(sample) = event
            && sample.thread.tid == mars
        {
            hoon.push(Event::Hoon(HoonEvent {
                thread: sample.thread,
                ktime_ns: sample.ktime_ns,
                event_number: 1,
                end: END_WHOLE,
                roads: 2,
                frames: turn.next().expect("a stack").clone(),
            }));
        }
    }
    capture.events.extend(hoon);
    capture.events.sort_by_key(Event::ktime_ns);
    let site = |path: String| {
        Site::Spot(Spot {
            path,
            line: 3,
            column: 1,
            end_line: 4,
            end_column: 1,
        })
    };
    let names = known
        .into_iter()
        .map(|(path, frame)| (FrameKey::of(&frame), Ok(site(path))));
    capture.hoon = HoonNames::from(names.collect::<Vec<_>>());
}

/// A capture whose every name is what a hostile process would choose.
pub fn hostile() -> Capture {
    let mut capture = capture("disk");
    add_hoon(&mut capture, &[GALL, &[HOSTILE]]);
    let meta = &mut capture.meta;
    for state in meta
        .thread_states
        .iter_mut()
        .chain(&mut meta.thread_states_start)
    {
        state.comm = HOSTILE.to_owned();
    }
    meta.ship.version = Some(HOSTILE.to_owned());
    meta.ship.king.comm = HOSTILE.to_owned();
    for event in &mut capture.events {
        match event {
            Event::Wait(wait) => {
                wait.waker.1 = HOSTILE.to_owned();
                wait.behind.1 = HOSTILE.to_owned();
            }
            Event::Task(task) => task.comm = HOSTILE.to_owned(),
            _ => {}
        }
    }
    let user = capture
        .symbols
        .user
        .values_mut()
        .flat_map(|names| names.values_mut());
    for names in user.chain(capture.symbols.kernel.values_mut()) {
        for name in names.iter_mut().step_by(2) {
            *name = format!("{name}{HOSTILE}");
        }
    }
    capture
}
