//! Which colour stands for what.

use std::collections::BTreeSet;

use super::paint::Colour;
use crate::aggregate::stacks::{Difference, Layer, Row, StackFrame, StackKind};
use crate::attribute::Cause;

/// Grey of threads and of all.
pub const GREY: Colour = [205, 205, 205];
/// Grey of what is within noise.
const NOISE: Colour = [222, 222, 222];
/// By how much frames of one colour differ, so that neighbours can be told apart.
const SHADES: u64 = 24;

const fn of_layer(layer: Layer) -> (&'static str, Colour) {
    match layer {
        Layer::Thread => ("thread", GREY),
        Layer::Hoon => ("Hoon", [110, 200, 110]),
        Layer::Vere => ("vere", [240, 190, 90]),
        Layer::Jet => ("jet", [90, 195, 195]),
        Layer::Library => ("library", [190, 150, 225]),
        Layer::Kernel => ("kernel", [238, 130, 95]),
        Layer::Cause(Cause::Disk) => ("disk", [120, 155, 230]),
        Layer::Cause(Cause::Cpu) => ("cpu", [240, 160, 80]),
        Layer::Cause(Cause::Memory) => ("memory", [120, 195, 120]),
        Layer::Cause(Cause::Ames) => ("ames", [195, 140, 215]),
        Layer::Cause(Cause::Unexplained) => ("unexplained", [215, 115, 115]),
        Layer::Idle => ("for work", [225, 225, 225]),
        Layer::Note => ("not known", [185, 185, 185]),
    }
}

/// The layers that the rows are coloured by.
pub fn layers(kind: StackKind, rows: &[Row<'_>]) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::with_capacity(rows.len());
    for row in rows {
        // Off the CPU, what is in a cause has its colour.
        let inherited = row.parent.map(|parent| layers[parent]);
        let layer = match (kind, inherited) {
            (StackKind::OffCpu, Some(cause @ Layer::Cause(_))) => cause,
            _ => row.frame.layer,
        };
        layers.push(layer);
    }
    layers
}

/// What the colours stand for.
pub fn legend(layers: &[Layer]) -> Vec<(String, Colour)> {
    let used: BTreeSet<Layer> = layers.iter().copied().collect();
    let named = used.into_iter().filter(|layer| *layer != Layer::Thread);
    named
        .map(|layer| {
            let (name, colour) = of_layer(layer);
            (name.to_owned(), colour)
        })
        .collect()
}

/// Of a frame in a layer: the layer's, a little darker or lighter by its name.
pub fn of(layer: Layer, frame: &StackFrame) -> Colour {
    let (_, colour) = of_layer(layer);
    // FNV-1a, the same on every machine.
    let hash = frame
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    // Below `SHADES`, so it fits.
    let shade = ((hash >> 32) % SHADES) as u8;
    colour.map(|part| part.saturating_sub(shade))
}

/// Of a difference: red for more, blue for less, the stronger the more of the frame it is; grey within
/// noise.
pub fn of_difference(difference: &Difference) -> Colour {
    if difference.is_noise {
        return NOISE;
    }
    // From 0 (white) to the full colour, which a frame of one side alone has.
    let faded = (215.0 * (1.0 - difference.relative().abs())) as u8;
    if difference.after > difference.before {
        [245, faded, faded]
    } else {
        [faded, faded, 245]
    }
}

/// What the colours of differences stand for.
pub fn legend_of_differences() -> Vec<(String, Colour)> {
    [
        ("more", [245, 60, 60]),
        ("less", [60, 60, 245]),
        ("within noise", NOISE),
    ]
    .map(|(name, colour)| (name.to_owned(), colour))
    .to_vec()
}
