//! From a report to what people and programs read. Names that come from the traced processes may
//! hold anything; each renderer makes them harmless at its own border.

mod agents;
pub mod audit;
pub mod baseline;
pub mod catalogue;
pub mod detail;
pub mod diff;
mod events;
mod fixes;
pub mod flamegraph;
pub mod history;
pub mod journal;
pub mod json;
pub mod mass;
pub mod now;
pub mod page;
pub mod ping;
pub mod text;
pub mod trial;

/// Whether a character could change what a terminal does or how a line reads: control characters
/// (C1 too, which UTF-8 terminals may obey), the overrides of writing direction, and the two that XML
/// must not hold.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A moment to the minute, UTC: `2026-03-01 12:00`.
fn moment(unix_ns: u64) -> String {
    let time = i64::try_from(unix_ns / 1_000_000_000).map(jiff::Timestamp::from_second);
    match time {
        Ok(Ok(time)) => time.strftime("%Y-%m-%d %H:%M").to_string(),
        _ => "time unknown".to_owned(),
    }
}

/// A text for one line of a terminal: unsafe characters are shown as `\u{…}`.
pub fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_are_shown_and_not_obeyed() {
        assert_eq!(
            harmless("a\u{1b}[31mb\u{9b}1m\n"),
            "a\\u{1b}[31mb\\u{9b}1m\\u{a}"
        );
        assert_eq!(harmless("evil\u{202e}exe"), "evil\\u{202e}exe");
        assert_eq!(harmless("~zod, µs, 日本"), "~zod, µs, 日本");
    }
}
