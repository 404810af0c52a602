//! Stage two: references to names.

use std::collections::BTreeMap;

use profiler_common::hoon::{
    FRAME_ABSENT, FRAME_HUNK, FRAME_KIND_MASK, FRAME_LOSE, FRAME_MEAN, FRAME_SPOT, FRAME_TEXT,
    HoonFrame, V4, is_direct,
};
use serde::{Deserialize, Serialize};

use super::nouns::{Checked, Nouns, Unresolved};
use super::{MeanSite, Memory, Site, Spot, battery};

/// Most knots of a path.
const MAX_KNOTS: usize = 24;
/// Longest knot, in words of four bytes.
const MAX_KNOT_WORDS: usize = 16;
/// Longest text of a `%mean`, in words.
const MAX_TEXT_WORDS: usize = 32;
/// No source has more lines.
const MAX_LINE: u32 = 1_000_000;

/// What a hint is known by: the same key is the same hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrameKey {
    /// `profiler_common::hoon::FRAME_…`, without flags and road.
    pub kind: u32,
    /// The noun that tells what it is.
    pub noun: u32,
    /// Its hash.
    pub mug: u32,
}

impl FrameKey {
    /// Of a frame.
    pub fn of(frame: &HoonFrame) -> Self {
        Self {
            kind: frame.kind & FRAME_KIND_MASK,
            noun: frame.noun,
            mug: frame.mug,
        }
    }
}

/// A hint, looked up.
pub type Resolution = Result<Site, Unresolved>;

/// What the hints of a capture are, as far as they were looked up. What was checked by its hash is
/// remembered for good, wherever nouns move: the key is the content's, and a noun that moves gets
/// another key. The code of a `%mean` that carries no hash is looked up each time, and forgotten once
/// it turns out to be different; a place or a text without a hash gets no name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "Vec<(FrameKey, Resolution)>",
    into = "Vec<(FrameKey, Resolution)>"
)]
pub struct HoonNames {
    known: BTreeMap<FrameKey, Resolution>,
}

impl HoonNames {
    /// Looks a frame up unless it is known. To be called as soon after the sample as possible.
    pub fn look_up(&mut self, memory: &impl Memory, frame: &HoonFrame) {
        let key = FrameKey::of(frame);
        let known = self.known.get(&key);
        let is_content = key.mug != 0 || is_direct(key.noun);
        if is_absent(frame) || is_content && matches!(known, Some(Ok(_))) {
            return;
        }
        let found = resolve(memory, frame);
        let resolution = match known {
            // Two hints were at one place: neither can be told from the other any more.
            Some(known) if !is_content && *known != found => Err(Unresolved::Changed),
            _ => found,
        };
        self.known.insert(key, resolution);
    }

    /// What a frame is.
    ///
    /// # Errors
    /// Why it has no name.
    pub fn get(&self, frame: &HoonFrame) -> Result<&Site, Unresolved> {
        if is_absent(frame) {
            return Err(Unresolved::Absent);
        }
        match self.known.get(&FrameKey::of(frame)) {
            Some(Ok(site)) => Ok(site),
            Some(Err(why)) => Err(*why),
            None => Err(Unresolved::NotLookedUp),
        }
    }
}

impl From<Vec<(FrameKey, Resolution)>> for HoonNames {
    fn from(known: Vec<(FrameKey, Resolution)>) -> Self {
        Self {
            known: known.into_iter().collect(),
        }
    }
}

impl From<HoonNames> for Vec<(FrameKey, Resolution)> {
    fn from(names: HoonNames) -> Self {
        names.known.into_iter().collect()
    }
}

/// Whether the noun was not in memory when the sample was taken. Looking for it would page it in.
fn is_absent(frame: &HoonFrame) -> bool {
    frame.kind & FRAME_ABSENT != 0
}

/// What a frame is, from memory as it is now.
///
/// # Errors
/// If it cannot be read, or is not what was sampled.
pub(super) fn resolve(memory: &impl Memory, frame: &HoonFrame) -> Resolution {
    if is_absent(frame) {
        return Err(Unresolved::Absent);
    }
    let mut nouns = Nouns::new(memory, &V4);
    let noun = Checked {
        noun: frame.noun,
        mug: (frame.mug != 0).then_some(frame.mug),
    };
    match frame.kind & FRAME_KIND_MASK {
        FRAME_SPOT => spot(&mut nouns, noun).map(Site::Spot),
        FRAME_MEAN => mean(&mut nouns, noun).map(Site::Mean),
        FRAME_TEXT => {
            let bytes = nouns.atom::<MAX_TEXT_WORDS>(noun.with_hash()?)?;
            printable(bytes)
                .map(Site::Text)
                .ok_or(Unresolved::Malformed)
        }
        FRAME_HUNK => Ok(Site::Tag("hunk".to_owned())),
        FRAME_LOSE => Ok(Site::Tag("lose".to_owned())),
        _ => Err(Unresolved::Malformed),
    }
}

fn mean<M: Memory>(nouns: &mut Nouns<'_, M>, battery: Checked) -> Result<MeanSite, Unresolved> {
    let mug = match battery.mug {
        Some(mug) => mug,
        None => nouns.hash(battery.noun)?,
    };
    battery::site(nouns, battery, mug)
}

/// A place: `[path [line column] [line column]]`.
pub(super) fn spot<M: Memory>(nouns: &mut Nouns<'_, M>, noun: Checked) -> Result<Spot, Unresolved> {
    let (path, place) = nouns.cell(noun.with_hash()?)?;
    let (start, end) = nouns.cell(place)?;
    let mut point = |point| -> Result<(u32, u32), Unresolved> {
        let (line, column) = nouns.cell(point)?;
        Ok((nouns.number(line)?, nouns.number(column)?))
    };
    let ((line, column), (end_line, end_column)) = (point(start)?, point(end)?);
    if line == 0 || line > end_line || end_line > MAX_LINE {
        return Err(Unresolved::Malformed);
    }
    Ok(Spot {
        path: path_text(nouns, path)?,
        line,
        column,
        end_line,
        end_column,
    })
}

fn path_text<M: Memory>(nouns: &mut Nouns<'_, M>, path: Checked) -> Result<String, Unresolved> {
    let mut text = String::new();
    let mut rest = path;
    for _ in 0..MAX_KNOTS {
        if rest.noun == 0 {
            break;
        }
        let (knot, tail) = nouns.cell(rest)?;
        let knot = printable(nouns.atom::<MAX_KNOT_WORDS>(knot)?).ok_or(Unresolved::Malformed)?;
        if knot.contains(['/', ' ']) {
            return Err(Unresolved::Malformed);
        }
        text.push('/');
        text.push_str(&knot);
        rest = tail;
    }
    match (rest.noun, text.is_empty()) {
        (0, false) => Ok(text),
        (0, true) => Err(Unresolved::Malformed),
        _ => Err(Unresolved::TooLarge),
    }
}

/// The bytes as text of one line.
fn printable(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}
