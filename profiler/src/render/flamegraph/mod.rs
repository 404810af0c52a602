//! Flamegraphs: of one capture, or of what changed between two.

mod colour;
mod lack;
mod paint;
mod title;

use std::io;

use inferno::flamegraph::color::BackgroundColor;
use inferno::flamegraph::{Options, from_lines};
use thiserror::Error;

use super::harmless;
use crate::aggregate::stacks::{
    Difference, FoldOptions, Folded, Row, Scale, Sides, StackKind, fold,
};
use crate::hoon::Folding;
use crate::model::Capture;
use crate::report::units::percent;
use paint::{Look, number, paint};

/// The flamegraphs of a deep dive, with the names of their files.
pub const KINDS: [(StackKind, &str); 8] = [
    (StackKind::OnCpu, "on-cpu.svg"),
    (StackKind::OffCpu, "off-cpu.svg"),
    (StackKind::Hoon, "hoon.svg"),
    (StackKind::Mixed, "mixed.svg"),
    (StackKind::BlockIo, "block-io.svg"),
    (StackKind::PageFault, "page-fault.svg"),
    (StackKind::Dirty, "dirty.svg"),
    (StackKind::Wakeup, "wakeup.svg"),
];

/// What the widths of differences sum to: what JavaScript's numbers hold exactly, and more.
const DIFFERENCE_WIDTH: f64 = 1e12;

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum FlamegraphError {
    /// A capture holds no stack of its kind.
    #[error("{0}")]
    Lacks(String),
    /// It cannot be drawn (never seen).
    #[error("the flamegraph cannot be drawn: {0}")]
    Svg(#[from] io::Error),
}

/// What is to be drawn.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// Of this capture.
    pub capture: &'a Capture,
    /// What changed since this one; nothing if the picture is of the capture alone.
    pub baseline: Option<&'a Capture>,
    /// Which stacks.
    pub kind: StackKind,
    /// How fine Hoon is named.
    pub folding: Folding,
}

impl<'a> Picture<'a> {
    /// Of one capture, Hoon by line.
    pub fn of(capture: &'a Capture, kind: StackKind) -> Self {
        Self {
            capture,
            baseline: None,
            kind,
            folding: Folding::Line,
        }
    }
}

/// An SVG.
///
/// # Errors
/// If a capture holds no stack of this kind.
pub fn render(picture: &Picture<'_>) -> Result<Vec<u8>, FlamegraphError> {
    let options = FoldOptions {
        folding: picture.folding,
        by_role: picture.baseline.is_some(),
    };
    let mut folded = Folded::default();
    let captures = [Some(picture.capture), picture.baseline];
    for (side, capture) in captures.into_iter().enumerate() {
        let Some(capture) = capture else { continue };
        fold(capture, picture.kind, options, &mut folded, side);
        if folded.is_empty(side) {
            let lack = lack::sentence(capture, picture.kind, side);
            return Err(FlamegraphError::Lacks(lack));
        }
    }
    let (rows, total) = (folded.rows(), folded.total());
    match picture.baseline {
        None => Ok(of_one(picture, &rows, &total)?),
        Some(baseline) => Ok(of_two(picture, baseline, &rows, &total)?),
    }
}

fn of_one(picture: &Picture<'_>, rows: &[Row<'_>], total: &Sides) -> io::Result<Vec<u8>> {
    let widths = rows.iter().map(|row| row.own[0].total);
    let unit = title::Unit::of(picture);
    let layers = colour::layers(picture.kind, rows);
    let source = title::source(picture.capture);
    let details = |sides: &Sides| {
        let share = sides[0].total as f64 / total[0].total.max(1) as f64;
        let amount = unit.amount(&sides[0]);
        format!(
            "{amount}, {} of {}; {source}",
            percent(share),
            unit.of_all(&total[0])
        )
    };
    let looks: Vec<Look> = rows
        .iter()
        .zip(&layers)
        .map(|(row, layer)| Look {
            name: name(&row.frame.name),
            details: details(&row.sum),
            colour: colour::of(*layer, row.frame),
        })
        .collect();
    let text = title::of_one(picture, &unit, &total[0]);
    draw(
        rows,
        widths,
        &looks,
        details(total),
        &text,
        &colour::legend(&layers),
    )
}

fn of_two(
    picture: &Picture<'_>,
    baseline: &Capture,
    rows: &[Row<'_>],
    total: &Sides,
) -> io::Result<Vec<u8>> {
    let scale = Scale::of([picture.capture, baseline], *total);
    let whole = Difference::of(total, total, &scale);
    let widths = rows.iter().map(|row| {
        let own = Difference::of(&row.own, total, &scale);
        (own.width() / whole.width() * DIFFERENCE_WIDTH) as u64
    });
    let unit = title::Unit::of(picture);
    let source = title::sources(picture.capture, baseline);
    let details =
        |difference: &Difference| format!("{}; {source}", unit.change(difference, &scale));
    let looks: Vec<Look> = rows
        .iter()
        .map(|row| {
            let difference = Difference::of(&row.sum, total, &scale);
            Look {
                name: name(&row.frame.name),
                details: details(&difference),
                colour: colour::of_difference(&difference),
            }
        })
        .collect();
    let text = title::of_two(picture, baseline, &unit, &scale, total);
    let legend = colour::legend_of_differences();
    draw(rows, widths, &looks, details(&whole), &text, &legend)
}

/// Lays the rows out by inferno, and paints them. `widths` are the rows' own.
fn draw(
    rows: &[Row<'_>],
    widths: impl Iterator<Item = u64>,
    looks: &[Look],
    all: String,
    text: &title::Text,
    legend: &[(String, paint::Colour)],
) -> io::Result<Vec<u8>> {
    let mut lines: Vec<String> = Vec::new();
    // Numbers of the rows that lead to this one.
    let mut path: Vec<String> = Vec::new();
    for (index, (row, width)) in rows.iter().zip(widths).enumerate() {
        path.truncate(row.depth);
        path.push(number(index));
        if width > 0 {
            lines.push(format!("{} {width}", path.join(";")));
        }
    }
    let mut options = Options::default();
    options.title.clone_from(&text.title);
    options.subtitle = Some(text.subtitle.clone());
    options.name_type = "Frame:".to_owned();
    options.bgcolors = Some(BackgroundColor::Flat((255, 255, 255).into()));
    // No chance in it: the same capture gives the same picture.
    options.deterministic = true;
    let mut svg = Vec::new();
    from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)?;
    let svg = String::from_utf8(svg).map_err(io::Error::other)?;
    let all = Look {
        name: "all".to_owned(),
        details: all,
        colour: colour::GREY,
    };
    paint(&svg, looks, &all, legend)
}

/// A frame's name as it is shown.
fn name(name: &str) -> String {
    harmless(name)
}
