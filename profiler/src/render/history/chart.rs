//! A chart of block characters.

use crate::history::{History, RowState, Series};

/// Lines of the chart.
const HEIGHT: usize = 5;
/// Eighths of a line.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns before the chart, for its labels.
const LABEL: usize = 14;
/// Where there was no sampler, or the number was not measured.
const GAP: char = '·';

/// The lines of the chart, top first; nothing if the number was never measured.
pub(super) fn lines(history: &History, series: Series) -> Option<Vec<String>> {
    let values = values(history, series);
    let known = || values.iter().flatten().copied();
    let max = known().reduce(f64::max)?;
    let min = known().reduce(f64::min)?;
    // From zero, so that a height is a size.
    let top = if max > 0.0 { max } else { 1.0 };
    let mut lines = Vec::new();
    for line in (0..HEIGHT).rev() {
        let label = match line {
            _ if line == HEIGHT - 1 => format!("max {}", series.text(max)),
            0 => format!("min {}", series.text(min)),
            _ => String::new(),
        };
        let columns = values.iter().map(|value| match value {
            Some(value) => block(*value / top, line),
            None if line == 0 => GAP,
            None => ' ',
        });
        lines.push(format!("{label:>LABEL$} ▕{}", columns.collect::<String>()));
    }
    Some(lines)
}

/// A column without a window of its own shows the one that covers it.
fn values(history: &History, series: Series) -> Vec<Option<f64>> {
    let mut last = None;
    let values = history.chart.iter().map(|row| {
        last = match row.state() {
            RowState::Sampled => series.of(&row.sum),
            RowState::Covered => last,
            RowState::Gap => None,
        };
        last
    });
    values.collect()
}

/// What of a column of this height, as a share of the chart's, is in the line. A value that is
/// not 0 is seen.
fn block(ratio: f64, line: usize) -> char {
    let eighths = (ratio * (HEIGHT * 8) as f64).round() as usize;
    let eighths = if line == 0 { eighths.max(1) } else { eighths };
    BLOCKS
        .get(eighths.saturating_sub(line * 8).min(8))
        .copied()
        .unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::history;
    use crate::model::example::MINUTE_NS;

    #[test]
    fn gaps_are_dots_and_columns_are_sixty() {
        let history = history(240, 10 * MINUTE_NS);
        let lines = lines(&history, Series::CommitP95).expect("it was measured");
        assert_eq!(lines.len(), HEIGHT);
        let bottom = &lines[HEIGHT - 1];
        assert_eq!(bottom.chars().filter(|c| *c == GAP).count(), 12);
        assert_eq!(bottom.chars().count(), LABEL + 2 + 60);
        assert!(lines[0].contains("max ") && bottom.contains("min "));
        assert!(lines[0].contains('█') || lines[0].contains('▇'));
    }

    #[test]
    fn blocks_stack_up() {
        assert_eq!(block(1.0, HEIGHT - 1), '█');
        assert_eq!(block(0.5, HEIGHT - 1), ' ');
        assert_eq!(block(0.0, 0), '▁');
        assert_eq!(block(0.1, 0), '▄');
    }
}
