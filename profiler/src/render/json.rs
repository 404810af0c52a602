//! JSON for programs.

use serde::Serialize;

use crate::report::{Listing, Report};

/// The report as indented JSON, ending in a newline. Characters that a terminal could obey are
/// escaped, which JSON allows for any of them.
///
/// # Errors
/// Never seen: a report holds nothing that JSON cannot.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    pretty(report)
}

/// The events of a capture the same way.
///
/// # Errors
/// Never seen: as above.
pub fn listing(listing: &Listing) -> Result<String, serde_json::Error> {
    pretty(listing)
}

/// Any value the same way.
pub(super) fn pretty(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string_pretty(value)?;
    let mut safe = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        // Those below 0x20 are escaped already; line breaks between values are ours.
        if c != '\n' && super::is_unsafe(c) {
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe.push('\n');
    Ok(safe)
}
