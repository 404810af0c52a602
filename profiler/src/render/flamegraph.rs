//! Flamegraphs.

use std::io;

use inferno::flamegraph::color::{BackgroundColor, BasicPalette, Palette};
use inferno::flamegraph::{Options, from_lines};

use super::harmless;
use crate::aggregate::hoon;
use crate::aggregate::stacks::{Folded, StackKind, fold};
use crate::attribute::syscall_name;
use crate::model::{Capture, FrameKind, ThreadId};
use crate::report::units::{count, duration};

/// The flamegraphs that a capture allows, with the names of their files.
pub const KINDS: [(StackKind, &str); 5] = [
    (StackKind::OnCpu, "on-cpu.svg"),
    (StackKind::OffCpu, "off-cpu.svg"),
    (StackKind::BlockIo, "block-io.svg"),
    (StackKind::PageFault, "page-fault.svg"),
    (StackKind::Hoon, "hoon.svg"),
];

/// An SVG; nothing if the capture holds no stack of this kind.
///
/// # Errors
/// If the SVG cannot be written to memory (never seen).
pub fn render(capture: &Capture, kind: StackKind) -> io::Result<Option<Vec<u8>>> {
    let ship = &capture.meta.ship;
    let label = |thread: ThreadId| {
        let comm = capture
            .meta
            .thread_states
            .iter()
            .find(|state| state.tid == thread.tid);
        let comm = comm.map_or("", |state| state.comm.as_str());
        let role = ship.role_of(thread.tgid, thread.tid, comm).name();
        format!("{role} {comm} {}", thread.tid)
    };
    let wait = |syscall_nr| syscall_name(&capture.meta.architecture, syscall_nr).to_owned();
    let folded = fold(capture, kind, label, wait);
    if folded.is_empty() {
        return Ok(None);
    }
    let lines = lines(&folded);
    let mut options = options(capture, kind, folded.values().sum());
    let mut svg = Vec::new();
    from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)?;
    Ok(Some(svg))
}

/// Folded lines as inferno reads them: frames joined by semicolons, then the weight.
pub fn lines(folded: &Folded) -> Vec<String> {
    folded
        .iter()
        .map(|(frames, weight)| {
            let names: Vec<String> = frames
                .iter()
                .map(|frame| {
                    let name = harmless(&frame.name).replace(';', ":");
                    // The field's mark for kernel frames.
                    if frame.kind == FrameKind::Kernel {
                        format!("{name}_[k]")
                    } else {
                        name
                    }
                })
                .collect();
            format!("{} {weight}", names.join(";"))
        })
        .collect()
}

/// How many frames of Hoon stacks have no name.
fn unresolved(capture: &Capture) -> String {
    let Some(hoon) = hoon::summarise(capture) else {
        return String::new();
    };
    let unresolved = hoon.unresolved.values().sum();
    format!(
        "; {} of {} frames without a name",
        count(unresolved),
        count(hoon.frames)
    )
}

fn options(capture: &Capture, kind: StackKind, total: u64) -> Options<'static> {
    let (what, palette) = match kind {
        StackKind::OnCpu => ("Time on CPU", BasicPalette::Hot),
        StackKind::OffCpu => ("Time blocked, waits for work left out", BasicPalette::Blue),
        StackKind::BlockIo => ("Block I/O, from queued to done", BasicPalette::Io),
        StackKind::PageFault => ("Major page faults", BasicPalette::Mem),
        StackKind::Hoon => ("Hoon: mars' time on CPU", BasicPalette::Green),
    };
    let meta = &capture.meta;
    let mut options = Options::default();
    options.title = format!("{what}: {}", harmless(&meta.ship.label()));
    options.subtitle = Some(format!(
        "{} in {}; vere {}; {} lost{}",
        match kind {
            StackKind::PageFault => format!("{} faults", count(total)),
            _ => duration(total),
        },
        duration(meta.clocks.duration_ns()),
        harmless(meta.ship.version.as_deref().unwrap_or("version unknown")),
        meta.losses.total(),
        match kind {
            StackKind::Hoon => unresolved(capture),
            _ => String::new(),
        }
    ));
    options.colors = Palette::Basic(palette);
    options.bgcolors = Some(BackgroundColor::Flat((255, 255, 255).into()));
    if kind == StackKind::PageFault {
        options.count_name = "faults".to_owned();
    } else {
        options.count_name = "ms".to_owned();
        options.factor = 1e-6;
    }
    // The same capture gives the same picture.
    options.deterministic = true;
    options
}
