//! Stage one: roads and lists of hints to references, as the programs do it at a sample
//! (`profiler-ebpf/src/hoon.rs`).

use profiler_common::hoon::LOOM_START;
use profiler_common::hoon::{
    END_ABSENT, END_FRAMES, END_LAYOUT, END_MALFORMED, END_ROADS, END_WHOLE, FRAME_ABSENT,
    FRAME_HUNK, FRAME_LOSE, FRAME_MEAN, FRAME_OTHER, FRAME_ROAD_SHIFT, FRAME_SPOT, FRAME_TEXT,
    HoonFrame, Layout, MAX_FRAMES, MAX_ROADS, TAG_HUNK, TAG_LOSE, TAG_MEAN, TAG_SPOT, is_cell,
    is_direct, road_address,
};

use super::{Memory, words};

/// A stack of references.
#[derive(Debug, Clone)]
pub struct HoonStack {
    /// How the walk ended, `profiler_common::hoon::END_…`.
    pub end: u32,
    /// Number of the last event that was computed.
    pub event_number: u64,
    /// Addresses of the roads, home first.
    pub roads: Vec<u64>,
    /// The hints, innermost first.
    pub frames: Vec<HoonFrame>,
}

/// Walks the Hoon stack of the process whose memory this is, which must stand still.
pub fn walk(memory: &impl Memory) -> HoonStack {
    let mut stack = HoonStack {
        end: END_WHOLE,
        event_number: 0,
        roads: Vec::new(),
        frames: Vec::new(),
    };
    stack.end = match try_walk(memory, &mut stack) {
        Ok(()) => END_WHOLE,
        Err(end) => end,
    };
    stack
}

/// Whether a computation runs; nothing if the memory cannot be read or is of an unknown layout.
pub fn is_computing(memory: &impl Memory) -> Option<bool> {
    let (layout, _) = head(memory).ok()?;
    let [kid] = words(memory, layout.home() + u64::from(layout.kid))?;
    Some(kid != 0)
}

/// The layout of the memory, and the number of the last event.
fn head(memory: &impl Memory) -> Result<(&'static Layout, u64), u32> {
    let home: [u32; 6] = words(memory, LOOM_START).ok_or(END_ABSENT)?;
    let long = |at: usize| u64::from(home[at + 1]) << 32 | u64::from(home[at]);
    let layout = Layout::of(long(0), long(2)).ok_or(END_LAYOUT)?;
    Ok((layout, long(layout.event as usize / 4)))
}

fn try_walk(memory: &impl Memory, stack: &mut HoonStack) -> Result<(), u32> {
    let (layout, event_number) = head(memory)?;
    stack.event_number = event_number;

    let word = |address| -> Result<u32, u32> {
        let [word] = words(memory, address).ok_or(END_ABSENT)?;
        Ok(word)
    };
    let mut road = layout.home();
    loop {
        if stack.roads.len() == MAX_ROADS {
            return Err(END_ROADS);
        }
        stack.roads.push(road);
        match word(road + u64::from(layout.kid))? {
            0 => break,
            kid => road = road_address(kid),
        }
    }
    for (index, road) in stack.roads.iter().enumerate().rev() {
        let mut list = word(road + u64::from(layout.tax))?;
        while list != 0 {
            if !is_cell(list) {
                return Err(END_MALFORMED);
            }
            if stack.frames.len() == MAX_FRAMES {
                return Err(END_FRAMES);
            }
            let (entry, rest) = cell(memory, layout, list).ok_or(END_ABSENT)?;
            if !is_cell(entry) {
                return Err(END_MALFORMED);
            }
            let (tag, data) = cell(memory, layout, entry).ok_or(END_ABSENT)?;
            let mut frame = frame(memory, layout, tag, data);
            frame.kind |= (index as u32) << FRAME_ROAD_SHIFT;
            stack.frames.push(frame);
            list = rest;
        }
    }
    Ok(())
}

/// What a hint is: the noun that tells it, and its hash.
fn frame(memory: &impl Memory, layout: &Layout, tag: u32, data: u32) -> HoonFrame {
    let mut kind = match tag {
        TAG_SPOT => FRAME_SPOT,
        TAG_MEAN if is_cell(data) => FRAME_MEAN,
        TAG_MEAN => FRAME_TEXT,
        TAG_HUNK => FRAME_HUNK,
        TAG_LOSE => FRAME_LOSE,
        _ => FRAME_OTHER,
    };
    let mut noun = if kind == FRAME_OTHER { tag } else { data };
    if kind == FRAME_MEAN {
        match cell(memory, layout, data) {
            Some((battery, _)) => noun = battery,
            None => kind |= FRAME_ABSENT,
        }
    }
    let mut mug = 0;
    if !is_direct(noun) && kind & FRAME_ABSENT == 0 {
        match words::<2>(memory, layout.address(noun)) {
            Some([_, hash]) => mug = hash,
            None => kind |= FRAME_ABSENT,
        }
    }
    HoonFrame { kind, noun, mug }
}

/// Head and tail.
fn cell(memory: &impl Memory, layout: &Layout, reference: u32) -> Option<(u32, u32)> {
    let [_, _, head, tail] = words(memory, layout.address(reference))?;
    Some((head, tail))
}
