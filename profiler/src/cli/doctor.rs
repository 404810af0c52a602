//! `profile doctor`: can this host be profiled?

use std::path::Path;

use serde::Serialize;

use super::{DONE, DoctorArgs, FAILED, Format, print};
use crate::capture::points;
use crate::host::Roots;
use crate::host::doctor::{Answer, Check, NeededTracepoint, can_profile, checks, gather};
use crate::render::page::Page;
use crate::ship::Selector;

/// Version of the JSON.
const SCHEMA_VERSION: u32 = 1;
/// Room that a capture may need.
const OUTPUT_NEEDED_BYTES: u64 = 160 << 20;

#[derive(Serialize)]
struct Answers<'a> {
    schema_version: u32,
    can_profile: bool,
    checks: &'a [Check],
}

pub(super) fn run(arguments: &DoctorArgs) -> anyhow::Result<u8> {
    let roots = Roots::default();
    let selector = Selector::of(arguments.ship.as_deref());
    let ship = crate::ship::access(&roots, &selector);
    let facts = gather(&roots, needed(), ship, Path::new("."), OUTPUT_NEEDED_BYTES);
    let checks = checks(&facts);
    let can_profile = can_profile(&checks);
    match arguments.format {
        Format::Text => print(&text(&checks, can_profile))?,
        Format::Json => {
            let answers = Answers {
                schema_version: SCHEMA_VERSION,
                can_profile,
                checks: &checks,
            };
            print(&(serde_json::to_string_pretty(&answers)? + "\n"))?;
        }
    }
    Ok(if can_profile { DONE } else { FAILED })
}

fn needed() -> Vec<NeededTracepoint> {
    let needed = points::TRACEPOINTS
        .iter()
        .map(|tracepoint| NeededTracepoint {
            name: tracepoint.name.to_owned(),
            required: tracepoint.required,
            without: tracepoint.without.to_owned(),
        });
    needed.collect()
}

fn text(checks: &[Check], can_profile: bool) -> String {
    let mut page = Page::default();
    for check in checks {
        match &check.answer {
            Answer::Ok { found } => page.wrapped("ok       ", &format!("{}: {found}", check.title)),
            Answer::Lack { sentence, command } => {
                let word = if check.required {
                    "LACK     "
                } else {
                    "lack     "
                };
                page.wrapped(word, &format!("{}: {sentence}", check.title));
                // Not wrapped: it is there to be copied.
                page.line(&format!("         {command}"));
            }
            Answer::CannotTell { reason } => {
                page.wrapped("unknown  ", &format!("{}: {reason}", check.title));
            }
        }
    }
    page.line(if can_profile {
        "This host can be profiled."
    } else {
        "This host cannot be profiled until what is marked LACK is mended."
    });
    page.into_text()
}
