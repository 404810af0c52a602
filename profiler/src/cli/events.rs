//! `profile events`: every event of a capture, one by one.

use anyhow::Context as _;

use super::{DONE, EventsArgs, INCOMPLETE, print, read_capture};

pub(super) fn run(arguments: &EventsArgs) -> anyhow::Result<u8> {
    let capture = read_capture(&arguments.capture)?;
    let listing = crate::report::listing(&capture).context(
        "the events of this capture could not be followed: its report says which probes are missing",
    )?;
    print(&crate::render::json::listing(&listing)?)?;
    Ok(if listing.lost == 0 { DONE } else { INCOMPLETE })
}
