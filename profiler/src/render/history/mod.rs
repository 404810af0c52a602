//! The history of a ship, for people and for programs. Times are UTC.

mod chart;
pub mod csv;
pub mod json;
pub mod text;

use jiff::Timestamp;

/// A moment as RFC 3339, in whole seconds.
pub fn time(unix_ns: u64) -> String {
    let seconds = i64::try_from(unix_ns / crate::model::NS_PER_S).unwrap_or(i64::MAX);
    match Timestamp::from_second(seconds) {
        Ok(time) => time.to_string(),
        // Beyond the year 9999.
        Err(_) => format!("{seconds} s after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NS_PER_S, example};

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(example::START_UNIX_NS + 1), "2026-03-01T00:00:00Z");
        assert_eq!(
            time(951_782_399 * NS_PER_S + 999_999_999),
            "2000-02-28T23:59:59Z"
        );
        assert!(time(u64::MAX).starts_with("2554-"));
    }
}
