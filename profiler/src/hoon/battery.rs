//! The code of a `%mean`: the place that it tells of itself, or a text of its constants.
//!
//! The code is a Nock formula. Only what it is made of is read, never run: each opcode says which of
//! its parts are formulas (urbit.org, "Nock 4K").

use profiler_common::hoon::{TAG_SPOT, is_cell};

use super::Memory;
use super::nouns::{Checked, Nouns, Unresolved};
use super::resolve::spot;
use super::site::{MeanSite, Spot};

/// Most formulas of one battery that are looked at. Printing is short code.
const MAX_FORMULAS: usize = 192;
/// Most nouns of one constant that are looked at.
const MAX_CONSTANT: usize = 48;
/// Longest hint, in bytes.
const MAX_HINT: usize = 48;
/// Shortest hint: shorter texts are numbers that happen to be letters.
const MIN_HINT: usize = 3;
/// Names of forms of a text (`tank`), and of hints: they say nothing of this code.
const COMMON: [&str; 12] = [
    "leaf", "rose", "palm", "spot", "mean", "hunk", "lose", "memo", "spin", "slog", "xmas", "bout",
];

/// The site of the battery. `mug` is its hash.
pub(super) fn site<M: Memory>(
    nouns: &mut Nouns<'_, M>,
    battery: Checked,
    mug: u32,
) -> Result<MeanSite, Unresolved> {
    let mut site = MeanSite {
        mug,
        hint: None,
        spot: None,
    };
    match search(nouns, battery, &mut site) {
        // What was found up to the limit is found every time.
        Ok(()) | Err(Unresolved::TooLarge) => Ok(site),
        Err(error) => Err(error),
    }
}

fn search<M: Memory>(
    nouns: &mut Nouns<'_, M>,
    battery: Checked,
    site: &mut MeanSite,
) -> Result<(), Unresolved> {
    let mut formulas = vec![battery];
    for _ in 0..MAX_FORMULAS {
        let Some(formula) = formulas.pop() else {
            return Ok(());
        };
        let (head, tail) = nouns.cell(formula)?;
        if is_cell(head.noun) {
            formulas.extend([tail, head]);
            continue;
        }
        match head.noun {
            1 if site.hint.is_none() => site.hint = hint(nouns, tail)?,
            2 | 5 | 7 | 8 | 12 => {
                let (first, second) = nouns.cell(tail)?;
                formulas.extend([second, first]);
            }
            3 | 4 => formulas.push(tail),
            6 => {
                let (test, branches) = nouns.cell(tail)?;
                let (yes, no) = nouns.cell(branches)?;
                formulas.extend([no, yes, test]);
            }
            9 => formulas.push(nouns.cell(tail)?.1),
            10 | 11 => {
                let (hint, formula) = nouns.cell(tail)?;
                formulas.push(formula);
                if is_cell(hint.noun) {
                    let (tag, clue) = nouns.cell(hint)?;
                    // A place is only believed with a hash.
                    if head.noun == 11 && tag.noun == TAG_SPOT && clue.mug.is_some() {
                        site.spot = Some(constant_spot(nouns, clue)?);
                        return Ok(());
                    }
                    formulas.push(clue);
                }
            }
            // 0 is a place in the subject; the rest is no formula.
            _ => {}
        }
    }
    Err(Unresolved::TooLarge)
}

/// The place in `[1 spot]`.
fn constant_spot<M: Memory>(nouns: &mut Nouns<'_, M>, clue: Checked) -> Result<Spot, Unresolved> {
    let (one, constant) = nouns.cell(clue)?;
    match one.noun {
        1 => spot(nouns, constant),
        _ => Err(Unresolved::Malformed),
    }
}

/// The first text in a constant: a cord, or a list of characters.
fn hint<M: Memory>(
    nouns: &mut Nouns<'_, M>,
    constant: Checked,
) -> Result<Option<String>, Unresolved> {
    let mut parts = vec![constant];
    for _ in 0..MAX_CONSTANT {
        let Some(part) = parts.pop() else { break };
        if !is_cell(part.noun) {
            match nouns.atom::<{ MAX_HINT / 4 }>(part) {
                Ok(bytes) => {
                    if let Some(text) = text(&bytes) {
                        return Ok(Some(text));
                    }
                }
                // A number, or a text for readers with time.
                Err(Unresolved::TooLarge) => {}
                Err(error) => return Err(error),
            }
            continue;
        }
        if let Some(text) = tape(nouns, part)? {
            return Ok(Some(text));
        }
        let (head, tail) = nouns.cell(part)?;
        parts.extend([tail, head]);
    }
    Ok(None)
}

/// The text that a list of characters is, up to the longest hint.
fn tape<M: Memory>(
    nouns: &mut Nouns<'_, M>,
    mut list: Checked,
) -> Result<Option<String>, Unresolved> {
    let mut bytes = Vec::new();
    while is_cell(list.noun) && bytes.len() < MAX_HINT {
        let (head, tail) = nouns.cell(list)?;
        match u8::try_from(head.noun) {
            Ok(byte) if byte == b' ' || byte.is_ascii_graphic() => bytes.push(byte),
            _ => return Ok(None),
        }
        list = tail;
    }
    Ok(text(&bytes))
}

/// The bytes as a hint, if they are one: printable, not too short, and not of a form.
fn text(bytes: &[u8]) -> Option<String> {
    let printable = bytes
        .iter()
        .all(|&byte| byte == b' ' || byte.is_ascii_graphic());
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let is_hint = printable && text.len() >= MIN_HINT && !COMMON.contains(&text);
    is_hint.then(|| text.to_owned())
}
