//! A ship's windows over a span of time: in buckets, in finer buckets for a chart, and as a whole.
//!
//! Time without a window is a gap and never a zero. A window counts for the bucket that it begins
//! in; a bucket in which none begins, but which an earlier window covers, is no gap either.

mod series;

use std::collections::BTreeMap;

pub use series::{Series, verdict_word};

use crate::model::{NS_PER_S, ShipKey, StackSum, Window, WindowSum};

/// Buckets of the chart at most: columns on the screen.
pub const CHART_BUCKETS: u64 = 60;
/// Buckets that a table may have at most.
pub const MAX_ROWS: u64 = 10_000;
/// Between two windows, a sampler stores the first: no gap.
const PAUSE_NS: u64 = 2 * NS_PER_S;
/// Rows of which less than this was sampled are marked.
const WHOLE_RATIO: f64 = 0.95;
/// Rows of a table that is still read at a glance.
const ROWS: u64 = 24;
/// Lengths of buckets that people think in, in seconds.
const LENGTHS_S: [u64; 17] = [
    60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
    1_209_600, 2_419_200, 7_257_600,
];

/// The shortest length of buckets, of those that people think in, that makes about 24 rows.
pub fn fitting_ns(span_ns: u64) -> u64 {
    let mut lengths = LENGTHS_S.iter().map(|s| s * NS_PER_S);
    lengths
        .find(|length| span_ns.div_ceil(*length) <= ROWS)
        .unwrap_or(span_ns.div_ceil(ROWS))
}

/// What `profile history` shows.
#[derive(Debug, Clone)]
pub struct History {
    /// The ship.
    pub ship: ShipKey,
    /// The beginning of what is shown.
    pub from_unix_ns: u64,
    /// Its end.
    pub to_unix_ns: u64,
    /// Length of a row.
    pub every_ns: u64,
    /// Rows, gaps among them.
    pub rows: Vec<Row>,
    /// The same in finer buckets.
    pub chart: Vec<Row>,
    /// All of it, stacks included.
    pub total: WindowSum,
    /// Where there was no sampler.
    pub gaps: Vec<Gap>,
}

/// One bucket.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its beginning.
    pub from_unix_ns: u64,
    /// Its end.
    pub to_unix_ns: u64,
    /// Time in it that windows cover, those that began earlier included.
    pub covered_ns: u64,
    /// The windows that begin in it, without their stacks.
    pub sum: WindowSum,
}

/// What a bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// Windows of its own.
    Sampled,
    /// Only a window that began in an earlier one.
    Covered,
    /// Nothing.
    Gap,
}

impl Row {
    /// What it has.
    pub fn state(&self) -> RowState {
        match (self.sum.windows, self.covered_ns) {
            (0, 0) => RowState::Gap,
            (0, _) => RowState::Covered,
            _ => RowState::Sampled,
        }
    }

    /// Share of it that windows cover.
    pub fn covered_ratio(&self) -> f64 {
        let length_ns = self.to_unix_ns.saturating_sub(self.from_unix_ns);
        crate::attribute::ratio(self.covered_ns.min(length_ns), length_ns)
    }

    /// Whether noticeably less than the whole of it was sampled.
    pub fn is_partial(&self) -> bool {
        self.covered_ratio() < WHOLE_RATIO
    }
}

/// Time without a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Its beginning.
    pub from_unix_ns: u64,
    /// Its end.
    pub to_unix_ns: u64,
}

impl Gap {
    /// Its length.
    pub fn duration_ns(&self) -> u64 {
        self.to_unix_ns.saturating_sub(self.from_unix_ns)
    }
}

/// Makes a history of windows that come one by one.
#[derive(Debug)]
pub struct Builder {
    history: History,
    covered_until_unix_ns: u64,
    longest_ns: u64,
}

impl Builder {
    /// For the windows of `ship` that begin in `from_unix_ns..to_unix_ns`. No row is shorter than
    /// it takes to have [`MAX_ROWS`].
    pub fn new(ship: ShipKey, from_unix_ns: u64, to_unix_ns: u64, every_ns: u64) -> Self {
        let to_unix_ns = to_unix_ns.max(from_unix_ns.saturating_add(1));
        let span_ns = to_unix_ns - from_unix_ns;
        let every_ns = every_ns.max(span_ns.div_ceil(MAX_ROWS)).max(1);
        let column_ns = span_ns.div_ceil(CHART_BUCKETS).max(1);
        let rows = buckets(
            from_unix_ns - from_unix_ns % every_ns,
            from_unix_ns,
            to_unix_ns,
            every_ns,
        );
        Self {
            history: History {
                ship,
                from_unix_ns,
                to_unix_ns,
                every_ns,
                rows,
                chart: buckets(from_unix_ns, from_unix_ns, to_unix_ns, column_ns),
                total: WindowSum::default(),
                gaps: Vec::new(),
            },
            covered_until_unix_ns: from_unix_ns,
            longest_ns: 0,
        }
    }

    /// Adds a window. They come in the order of their beginnings.
    pub fn add(&mut self, window: &Window) {
        let mut sum = WindowSum::from(window);
        sum.stacks.clear();
        let (start, end) = (window.start_unix_ns, window.end_unix_ns());
        let history = &mut self.history;
        // A window that began before the first moment shown may reach into it.
        let pause_ns = match history.total.windows {
            0 => PAUSE_NS.max(window.duration_ns),
            _ => PAUSE_NS,
        };
        if start > self.covered_until_unix_ns.saturating_add(pause_ns) {
            history.gaps.push(Gap {
                from_unix_ns: self.covered_until_unix_ns,
                to_unix_ns: start,
            });
        }
        self.covered_until_unix_ns = self.covered_until_unix_ns.max(end);
        self.longest_ns = self.longest_ns.max(window.duration_ns);
        history.total.add(&sum);
        for rows in [&mut history.rows, &mut history.chart] {
            enter(rows, start, end, &sum);
        }
    }

    /// The history, with the stacks of all windows. Nothing if there was no window.
    pub fn finish(mut self, stacks: BTreeMap<String, StackSum>) -> Option<History> {
        let mut history = self.history;
        if history.total.windows == 0 {
            return None;
        }
        history.total.stacks = stacks;
        // The window in hand is not stored yet.
        let in_hand_ns = self.longest_ns.saturating_add(PAUSE_NS);
        if history.to_unix_ns > self.covered_until_unix_ns.saturating_add(in_hand_ns) {
            history.gaps.push(Gap {
                from_unix_ns: self.covered_until_unix_ns,
                to_unix_ns: history.to_unix_ns,
            });
        } else if let Some(last) = history.rows.last_mut() {
            let in_hand_ns = history
                .to_unix_ns
                .saturating_sub(self.covered_until_unix_ns.max(last.from_unix_ns));
            last.covered_ns = last.covered_ns.saturating_add(in_hand_ns);
        }
        self.longest_ns = self.longest_ns.max(1);
        history.chart = widen(history.chart, self.longest_ns);
        Some(history)
    }
}

/// Empty buckets from `first_unix_ns` on; the outermost are cut to what is shown.
fn buckets(first_unix_ns: u64, from_unix_ns: u64, to_unix_ns: u64, length_ns: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut start = first_unix_ns;
    while start < to_unix_ns {
        let end = start.saturating_add(length_ns);
        rows.push(Row {
            from_unix_ns: start.max(from_unix_ns),
            to_unix_ns: end.min(to_unix_ns),
            covered_ns: 0,
            sum: WindowSum::default(),
        });
        start = end;
    }
    rows
}

fn enter(rows: &mut [Row], start: u64, end: u64, sum: &WindowSum) {
    let first = rows.partition_point(|row| row.to_unix_ns <= start);
    let rows = rows.get_mut(first..).unwrap_or_default();
    if let Some(row) = rows.first_mut() {
        row.sum.add(sum);
    }
    for row in rows.iter_mut().take_while(|row| row.from_unix_ns < end) {
        let inside_ns = row
            .to_unix_ns
            .min(end)
            .saturating_sub(row.from_unix_ns.max(start));
        row.covered_ns = row.covered_ns.saturating_add(inside_ns);
    }
}

/// Takes neighbours together, so that no bucket is shorter than a window.
fn widen(rows: Vec<Row>, longest_ns: u64) -> Vec<Row> {
    let length_ns = rows
        .first()
        .map_or(1, |row| row.to_unix_ns - row.from_unix_ns)
        .max(1);
    let together = usize::try_from(longest_ns.div_ceil(length_ns)).unwrap_or(usize::MAX);
    let widened = rows.chunks(together.max(1)).filter_map(|neighbours| {
        let mut row = neighbours.first()?.clone();
        for more in neighbours.iter().skip(1) {
            row.to_unix_ns = more.to_unix_ns;
            row.covered_ns = row.covered_ns.saturating_add(more.covered_ns);
            row.sum.add(&more.sum);
        }
        Some(row)
    });
    widened.collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::example::{self, MINUTE_NS, START_UNIX_NS};

    /// The example's minutes, without those from 100 to 150.
    pub(crate) fn history(minutes: u64, every_ns: u64) -> History {
        let to = START_UNIX_NS + minutes * MINUTE_NS;
        let mut builder = Builder::new(example::ship(), START_UNIX_NS, to, every_ns);
        let mut stacks = WindowSum::default();
        for minute in (0..minutes).filter(|minute| !(100..150).contains(minute)) {
            let window = example::window(minute);
            stacks.add_window(&window);
            builder.add(&window);
        }
        builder.finish(stacks.stacks).expect("there are windows")
    }

    #[test]
    fn gaps_are_gaps_and_rows_add_up() {
        let history = history(240, 10 * MINUTE_NS);
        assert_eq!(history.rows.len(), 24);
        let states: Vec<RowState> = history.rows.iter().map(Row::state).collect();
        assert!(states[10..15].iter().all(|state| *state == RowState::Gap));
        assert_eq!(
            states.iter().filter(|s| **s == RowState::Sampled).count(),
            19
        );
        assert_eq!(history.gaps.len(), 1);
        assert!(history.gaps[0].duration_ns().abs_diff(50 * MINUTE_NS) < NS_PER_S);
        let mut sum = WindowSum::default();
        for row in &history.rows {
            sum.add(&row.sum);
        }
        sum.stacks.clone_from(&history.total.stacks);
        assert_eq!(sum, history.total);
    }

    #[test]
    fn rows_shorter_than_a_window_are_covered() {
        let history = history(5, MINUTE_NS / 2);
        let states: Vec<RowState> = history.rows.iter().map(Row::state).collect();
        assert_eq!(states.len(), 10);
        assert_eq!(states[..2], [RowState::Sampled, RowState::Covered]);
        assert!(history.gaps.is_empty());
        assert_eq!(history.chart.len(), 5);
    }

    #[test]
    fn partial_rows_are_marked_and_the_window_in_hand_is_no_gap() {
        let to = START_UNIX_NS + 119 * MINUTE_NS + MINUTE_NS / 2;
        let mut builder = Builder::new(example::ship(), START_UNIX_NS, to, 60 * MINUTE_NS);
        for minute in (30..119).map(example::window) {
            builder.add(&minute);
        }
        let history = builder.finish(BTreeMap::new()).expect("there are windows");
        assert_eq!(history.gaps.len(), 1);
        let partial: Vec<bool> = history.rows.iter().map(Row::is_partial).collect();
        assert_eq!(partial, [true, false]);
    }

    #[test]
    fn buckets_fit_the_screen() {
        let hour = 3_600 * NS_PER_S;
        assert_eq!(fitting_ns(24 * hour), hour);
        assert_eq!(fitting_ns(hour), 300 * NS_PER_S);
        assert_eq!(fitting_ns(7 * 24 * hour), 12 * hour);
        assert!(fitting_ns(u64::MAX) > 0);
        let all = Builder::new(example::ship(), 0, u64::MAX, 1);
        assert!(all.history.rows.len() as u64 <= MAX_ROWS + 1);
        assert!(all.finish(BTreeMap::new()).is_none());
    }
}
