//! `profile history`: what the sampler stored, over time.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::{DONE, HistoryArgs, HistoryFormat, print};
use crate::history::{Builder, MAX_ROWS, fitting_ns};
use crate::model::{NS_PER_S, ShipKey};
use crate::render::history::{csv, json, text, time};
use crate::store::{Range, Reader, Store};

pub(super) fn run(arguments: &HistoryArgs) -> anyhow::Result<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let reader = Store::read_only(&arguments.store)?;
    let ship = choose(&reader, arguments)?;
    let (first, last) = reader
        .span(&ship)?
        .with_context(|| format!("the store holds no window of {}", ship.label))?;

    let to = arguments.until.map_or(now, |until| until.before(now));
    let since = arguments.since.before(now);
    if since >= to {
        bail!("--since must be before --until");
    }
    // Before its first window a ship was not sampled at all: no gap.
    let from = since.max(first.min(to.saturating_sub(1)));
    let every = arguments
        .every
        .map_or_else(|| fitting_ns(to - from), |every| every.0);
    if (to - from) / every > MAX_ROWS {
        bail!("that makes more than {MAX_ROWS} rows: give a longer --every or a later --since");
    }

    let mut builder = Builder::new(ship.clone(), from, to, every);
    let range = Range {
        from_unix_ns: from,
        to_unix_ns: to,
    };
    let stacks = reader.for_each(range, Some(&ship), |window| builder.add(&window))?;
    let Some(history) = builder.finish(stacks) else {
        bail!(
            "the store holds no window of {} from {} to {}: its windows begin from {} to {}, give \
             another --since or --until",
            ship.label,
            time(since),
            time(to),
            time(first),
            time(last)
        );
    };
    print(&match arguments.format() {
        HistoryFormat::Text => text::render(&history),
        HistoryFormat::Json => json::render(&history)?,
        HistoryFormat::Csv => csv::render(&history),
    })?;
    Ok(DONE)
}

/// The ship that was named, or the only one there is.
fn choose(reader: &Reader, arguments: &HistoryArgs) -> anyhow::Result<ShipKey> {
    let ships = reader.ships()?;
    if ships.is_empty() {
        bail!(
            "the store {} is empty: the sampler stores its first window when it is over",
            arguments.store.display()
        );
    }
    let fits = |ship: &ShipKey| match &arguments.ship {
        Some(name) => {
            let path = name.trim_end_matches('/');
            *name == ship.label
                || format!("~{name}") == ship.label
                || path == ship.pier.trim_end_matches('/')
        }
        None => true,
    };
    let names = |ships: &[&ShipKey]| {
        let names = ships
            .iter()
            .map(|ship| format!("{} ({})", ship.label, ship.pier));
        names.collect::<Vec<_>>().join(", ")
    };
    let found: Vec<&ShipKey> = ships.iter().filter(|ship| fits(ship)).collect();
    match found.as_slice() {
        [ship] => Ok((*ship).clone()),
        [] => bail!(
            "the store holds no window of {}, but of {}",
            arguments.ship.as_deref().unwrap_or_default(),
            names(&ships.iter().collect::<Vec<_>>())
        ),
        several => bail!(
            "the store holds several ships, name one with --ship by its name or pier: {}",
            names(several)
        ),
    }
}

/// A moment: so long ago, or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// So many nanoseconds ago.
    Ago(u64),
    /// `CLOCK_REALTIME`.
    At(u64),
}

impl Moment {
    fn before(self, now_unix_ns: u64) -> u64 {
        match self {
            Self::Ago(ns) => now_unix_ns.saturating_sub(ns),
            Self::At(unix_ns) => unix_ns,
        }
    }

    /// Reads `24h`, or RFC 3339.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(Length(ns)) = Length::parse(text) {
            return Ok(Self::Ago(ns));
        }
        text.parse::<Timestamp>()
            .ok()
            .and_then(|time| u64::try_from(time.as_nanosecond()).ok())
            .map(Self::At)
            .ok_or_else(|| {
                "give how long ago (90m, 24h, 7d) or a time (2026-03-01T12:00:00Z)".to_owned()
            })
    }
}

/// A length of time, in nanoseconds; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length(u64);

impl Length {
    /// Reads `30s`, `15m`, `1h`, `7d`, `4w`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const UNITS: [(char, u64); 5] = [
            ('s', 1),
            ('m', 60),
            ('h', 3_600),
            ('d', 86_400),
            ('w', 604_800),
        ];
        let read = || {
            let (_, seconds) = UNITS.iter().find(|(unit, _)| text.ends_with(*unit))?;
            let number: u64 = text.get(..text.len() - 1)?.parse().ok()?;
            number.checked_mul(*seconds)?.checked_mul(NS_PER_S)
        };
        read()
            .filter(|ns| *ns > 0)
            .map(Self)
            .ok_or_else(|| "give a length such as 30s, 15m, 1h, 7d or 4w".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_lengths_are_read() {
        assert_eq!(Moment::parse("24h"), Ok(Moment::Ago(86_400 * NS_PER_S)));
        assert_eq!(
            Moment::parse("2026-03-01T01:00:00+01:00"),
            Ok(Moment::At(crate::model::example::START_UNIX_NS))
        );
        for text in [
            "",
            "h",
            "0h",
            "-1h",
            "24",
            "1.5h",
            "9999999999w",
            "yesterday",
            "1µ",
        ] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
        assert_eq!(Length::parse("15m"), Ok(Length(900 * NS_PER_S)));
        assert_eq!(Moment::Ago(5).before(3), 0);
    }
}
