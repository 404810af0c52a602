//! Looks at whose code mars runs: its list of hints, and its spin page.

use profiler_common::hoon::{
    END_FRAMES, END_WHOLE, FRAME_KIND_MASK, FRAME_OTHER, HoonFrame, MAX_FRAMES,
};

use crate::hoon::{HoonNames, walk};
use crate::host::Roots;
use crate::now::{CodeLook, Hints};
use crate::ship::memory::ShipMemory;
use crate::ship::spin::SpinPage;

/// How often a list is read again that changed while it was read.
const ATTEMPTS: usize = 4;

/// What is looked at, and the names found so far.
pub(super) struct Code {
    memory: Option<ShipMemory>,
    page: Option<SpinPage>,
    names: HoonNames,
}

impl Code {
    /// Opens mars' memory. What cannot be read tells nothing; that it cannot is told where events are
    /// read.
    pub(super) fn open(roots: &Roots, mars_tgid: u32) -> Self {
        Self {
            memory: ShipMemory::open(roots, mars_tgid).ok(),
            page: SpinPage::find(roots, mars_tgid).ok(),
            names: HoonNames::default(),
        }
    }

    /// Looks once, while a computation runs.
    pub(super) fn look(&mut self) -> Option<CodeLook> {
        let memory = self.memory.as_ref()?;
        // First, so that both tell of nearly the same moment: naming may take long.
        let stack = self.page.as_ref().map(SpinPage::read);
        let labels = stack.and_then(Result::ok).map(|stack| stack.labels);
        let mut hints = Hints::Discarded;
        for _ in 0..ATTEMPTS {
            let stack = walk(memory);
            // Mars goes on meanwhile: an end in the middle is a change that fell into the walk.
            if matches!(stack.end, END_WHOLE | END_FRAMES) && stack.frames.iter().all(is_sound) {
                hints = place(&mut self.names, memory, &stack.frames);
                break;
            }
        }
        Some(CodeLook { hints, labels })
    }
}

/// Whether it is a hint that vere knows: what else lies there is memory that was used anew.
fn is_sound(frame: &HoonFrame) -> bool {
    frame.kind & FRAME_KIND_MASK != FRAME_OTHER
}

/// The innermost frame with a name, which a hash vouches for, and the innermost agent or vane.
fn place(names: &mut HoonNames, memory: &ShipMemory, frames: &[HoonFrame]) -> Hints {
    let mut found: Option<String> = None;
    for frame in frames.iter().take(MAX_FRAMES) {
        names.look_up(memory, frame);
        let Ok(site) = names.get(frame) else { continue };
        let place = found.get_or_insert_with(|| site.line());
        if let Some(owner) = site.owner() {
            return Hints::Place {
                place: place.clone(),
                owner: Some(owner),
            };
        }
    }
    match found {
        Some(place) => Hints::Place { place, owner: None },
        None => Hints::Nameless,
    }
}
