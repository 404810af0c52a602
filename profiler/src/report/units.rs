//! Numbers as people read them, always with their unit.

use crate::attribute::{Attribution, EventTimes};
use crate::model::NS_PER_S;

/// A duration with two or three significant digits: `38 ms`, `1.21 s`, `0.3 ms`, `7 µs`.
pub fn duration(ns: u64) -> String {
    let of = |unit: u64| ns as f64 / unit as f64;
    match ns {
        0 => "0 ms".to_owned(),
        1..=999 => format!("{ns} ns"),
        1_000..=99_999 => format!("{:.0} µs", of(1_000)),
        100_000..=9_949_999 => format!("{:.1} ms", of(1_000_000)),
        9_950_000..=999_499_999 => format!("{:.0} ms", of(1_000_000)),
        _ if ns < 99 * NS_PER_S => format!("{:.2} s", of(NS_PER_S)),
        _ => format!("{:.0} s", of(NS_PER_S)),
    }
}

/// Time that went into something: of each event on average, if it is that of events; else in all.
pub fn spent(ns: u64, attribution: &Attribution) -> String {
    let events = attribution.events.as_ref().map(EventTimes::count);
    match events.and_then(|events| ns.checked_div(events)) {
        Some(ns) => format!("{} an event", duration(ns)),
        None => duration(ns),
    }
}

/// A share in per cent with one digit.
pub fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

/// A range of shares in whole per cent: `40-62 %`, `50 %`.
pub fn percent_range(low: f64, high: f64) -> String {
    let (low, high) = ((low * 100.0).round(), (high * 100.0).round());
    if low == high {
        format!("{high:.0} %")
    } else {
        format!("{low:.0}-{high:.0} %")
    }
}

/// A range of durations in the unit of the longer: `5.3-154 ms`, `0.01-1.21 s`.
pub fn duration_range(low_ns: u64, high_ns: u64) -> String {
    let high = duration(high_ns);
    let low = duration(low_ns);
    if low == high {
        return high;
    }
    let unit = |text: &str| text.split(' ').nth(1).unwrap_or_default().to_owned();
    if unit(&low) == unit(&high) {
        let number = low.split(' ').next().unwrap_or_default();
        return format!("{number}-{high}");
    }
    let low = match unit(&high).as_str() {
        "s" => format!("{:.2}", low_ns as f64 / NS_PER_S as f64),
        "ms" => format!("{:.1}", low_ns as f64 / 1e6),
        "µs" => format!("{:.1}", low_ns as f64 / 1e3),
        _ => low_ns.to_string(),
    };
    format!("{low}-{high}")
}

/// A count with thousands separated: `41,202`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size: `9.5 MiB`, `512 bytes`.
pub fn bytes(size: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    match UNITS.iter().find(|(unit, _)| size >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", size as f64 / *unit as f64),
        None => format!("{size} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_a_sensible_precision() {
        let cases = [
            (0, "0 ms"),
            (999, "999 ns"),
            (7_300, "7 µs"),
            (300_000, "0.3 ms"),
            (9_949_999, "9.9 ms"),
            (38_000_000, "38 ms"),
            (1_210_000_000, "1.21 s"),
            (120_000_000_000, "120 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(duration(ns), text);
        }
    }

    #[test]
    fn ranges_have_one_unit() {
        let cases = [
            (5_300_000, 154_000_000, "5.3-154 ms"),
            (5_300_000, 1_210_000_000, "0.01-1.21 s"),
            (300_000, 154_000_000, "0.3-154 ms"),
            (7_000, 300_000, "0.0-0.3 ms"),
            (154_000_000, 154_100_000, "154 ms"),
            (0, 154_000_000, "0-154 ms"),
        ];
        for (low, high, text) in cases {
            assert_eq!(duration_range(low, high), text);
        }
    }

    #[test]
    fn counts_sizes_and_ranges() {
        assert_eq!(
            (count(7), count(1_848), count(1_234_567)),
            ("7".into(), "1,848".into(), "1,234,567".into())
        );
        assert_eq!(
            (bytes(512), bytes(9_961_472)),
            ("512 bytes".into(), "9.5 MiB".into())
        );
        assert_eq!(
            (percent_range(0.4, 0.617), percent_range(0.5, 0.5)),
            ("40-62 %".into(), "50 %".into())
        );
    }
}
