//! The history for a terminal of 80 columns.

use super::super::page::Page;
use super::{chart, time};
use crate::attribute::{Cause, ratio};
use crate::history::{Gap, History, Row, RowState, Series, verdict_word};
use crate::model::{StackSum, WindowSum};
use crate::report::units::{bytes, count, duration, percent};

/// Gaps that are shown one by one.
const GAPS: usize = 3;
/// Stacks that are shown of each kind.
const STACKS: usize = 2;
/// Innermost frames that are shown of each.
const FRAMES: usize = 3;
/// Lines of things that were lost or not measured.
const NOTES: usize = 6;
const NONE: &str = "-";

/// The history as text.
pub fn render(history: &History) -> String {
    let mut page = Page::default();
    head(&mut page, history);
    table(&mut page, history);
    let series = Series::telling(&history.total);
    if let Some(lines) = chart::lines(history, series) {
        page.blank();
        page.line(&series.title().to_uppercase());
        for line in lines {
            page.line(&line);
        }
    }
    shares(&mut page, &history.total);
    findings(&mut page, &history.total);
    stacks(&mut page, &history.total);
    notes(&mut page, &history.total);
    own_cost(&mut page, &history.total);
    page.into_text()
}

fn head(page: &mut Page, history: &History) {
    let versions: Vec<&str> = history
        .total
        .vere_versions
        .keys()
        .map(String::as_str)
        .collect();
    let version = match versions.as_slice() {
        [] => "version unknown".to_owned(),
        versions => versions.join(", "),
    };
    page.wrapped("", &format!("{}   vere {version}", history.ship.label));
    page.line(&format!(
        "{} to {}   {}, {}",
        time(history.from_unix_ns),
        time(history.to_unix_ns),
        windows(history.total.windows),
        span(history.total.duration_ns)
    ));
    let missing = crate::model::sum(history.gaps.iter().map(Gap::duration_ns));
    if missing == 0 {
        page.line("no gaps");
        return;
    }
    let mut longest: Vec<&Gap> = history.gaps.iter().collect();
    longest.sort_by_key(|gap| std::cmp::Reverse(gap.duration_ns()));
    let shown: Vec<String> = longest
        .iter()
        .take(GAPS)
        .map(|gap| {
            format!(
                "{} from {}",
                span(gap.duration_ns()),
                time(gap.from_unix_ns)
            )
        })
        .collect();
    let and = if history.gaps.len() > GAPS {
        ", the longest: "
    } else {
        ": "
    };
    page.wrapped(
        "NO SAMPLER  ",
        &format!(
            "{} in {}{and}{}",
            span(missing),
            match history.gaps.len() {
                1 => "one gap".to_owned(),
                gaps => format!("{gaps} gaps"),
            },
            shown.join(", ")
        ),
    );
}

/// A long time in the two largest units.
fn span(ns: u64) -> String {
    let seconds = ns / crate::model::NS_PER_S;
    match seconds {
        0..=119 => duration(ns),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn windows(number: u64) -> String {
    match number {
        1 => "1 window".to_owned(),
        _ => format!("{} windows", count(number)),
    }
}

fn table(page: &mut Page, history: &History) {
    page.blank();
    page.line(&columns([
        "UTC", "events", "/s", "mars", "event", "commit", "lost", "major", "heap", "disk",
        "verdict",
    ]));
    page.line(&columns([
        "", "", "", "CPU", "p95", "p95", "dgrams", "faults", "", "free", "",
    ]));
    let mut partial = false;
    for row in &history.rows {
        match row.state() {
            RowState::Gap => page.line(&format!("{:<11} no sampler", short_time(row))),
            RowState::Covered => page.line(&format!("{:<11} see above", short_time(row))),
            RowState::Sampled => {
                partial |= row.is_partial();
                page.line(&cells(row));
            }
        }
    }
    let mut legend =
        "k, M are thousands and millions; K, M, G of heap and disk are KiB, MiB, GiB; \
                      - was not measured"
            .to_owned();
    if partial {
        legend.push_str("; * was sampled only in part");
    }
    page.wrapped("", &legend);
}

/// `MM-DD hh:mm`.
fn short_time(row: &Row) -> String {
    let time = time(row.from_unix_ns);
    time.get(5..16).unwrap_or(&time).replace('T', " ")
}

fn columns(cells: [&str; 11]) -> String {
    let [
        time,
        events,
        rate,
        mars,
        event,
        commit,
        drops,
        faults,
        heap,
        disk,
        verdict,
    ] = cells;
    format!(
        "{time:<12}{events:>7}{rate:>5}{mars:>6}{event:>8}{commit:>8}{drops:>7}{faults:>7}\
         {heap:>6}{disk:>6} {verdict}"
    )
}

fn cells(row: &Row) -> String {
    let sum = &row.sum;
    let known = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    let mark = if row.is_partial() { "*" } else { "" };
    let time = format!("{}{mark}", short_time(row));
    let events = known(sum.events.as_ref().map(|e| short_count(e.sum.count)));
    let rate = known(Series::EventRate.of(sum).map(short_rate));
    let mars = known(
        Series::MarsOnCpu
            .of(sum)
            .map(|r| format!("{:.0} %", r * 100.0)),
    );
    let of = |series: Series| known(series.of(sum).map(|ns| duration(ns as u64)));
    let drops = known(sum.udp.as_ref().map(|udp| short_count(udp.sum.dropped)));
    let faults = known(sum.faults.as_ref().map(|f| short_count(f.sum.major)));
    let heap = known(sum.loom.as_ref().map(|l| short_bytes(l.value.heap_bytes)));
    let disk = known(
        sum.disk_space
            .as_ref()
            .map(|d| short_bytes(d.value.available_bytes)),
    );
    // From the store, which knows causes that we may not.
    let verdict: String = verdict_word(sum).chars().take(7).collect();
    columns([
        &time,
        &events,
        &rate,
        &mars,
        &of(Series::EventP95),
        &of(Series::CommitP95),
        &drops,
        &faults,
        &heap,
        &disk,
        &verdict,
    ])
}

fn short_count(number: u64) -> String {
    match number {
        0..=99_999 => count(number),
        100_000..=9_999_999 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}

fn short_rate(rate: f64) -> String {
    if rate < 100.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

fn short_bytes(size: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let found = UNITS.iter().find(|(shift, _)| size >> shift > 0);
    match found {
        Some((shift, unit)) => {
            let value = size as f64 / (1_u64 << shift) as f64;
            let digits = usize::from(value < 99.95);
            format!("{value:.digits$}{unit}")
        }
        None => size.to_string(),
    }
}

fn shares(page: &mut Page, total: &WindowSum) {
    let all = crate::model::sum(total.leaves.values().map(|leaf| leaf.total_ns));
    if all == 0 {
        return;
    }
    page.blank();
    page.line(&format!(
        "{:<25}{:>8}{:>12}",
        "WHERE TIME WENT", "share", "time"
    ));
    // In the order of the tree; causes that we do not know come last.
    let mut causes: Vec<&str> = Cause::ALL.into_iter().map(Cause::name).collect();
    for leaf in total.leaves.values() {
        if !causes.contains(&leaf.cause.as_str()) {
            causes.push(&leaf.cause);
        }
    }
    for cause in causes {
        let mut leaves: Vec<(&String, u64)> = total
            .leaves
            .iter()
            .filter(|(_, leaf)| leaf.cause == cause && leaf.total_ns > 0)
            .map(|(name, leaf)| (name, leaf.total_ns))
            .collect();
        leaves.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        let cause_ns = crate::model::sum(leaves.iter().map(|(_, ns)| *ns));
        if cause_ns == 0 && cause != Cause::Unexplained.name() {
            continue;
        }
        page.line(&share_line(cause, cause_ns, all));
        let leaves = leaves.iter().filter(|(name, _)| name.as_str() != cause);
        for (name, ns) in leaves {
            page.line(&share_line(&format!("  {name}"), *ns, all));
        }
    }
}

fn share_line(name: &str, ns: u64, all: u64) -> String {
    format!("{name:<25}{:>8}{:>12}", percent(ratio(ns, all)), span(ns))
}

fn findings(page: &mut Page, total: &WindowSum) {
    if total.findings.is_empty() {
        return;
    }
    page.blank();
    page.line("FINDINGS");
    // Severe before notice, as it happens, in the reverse of the alphabet.
    for ((severity, _), finding) in total.findings.iter().rev() {
        let start = format!("  {severity:<7} ");
        page.hanging(
            &start,
            10,
            &format!(
                "in {}, at last: {}",
                windows(finding.windows),
                finding.sentence.value
            ),
        );
    }
}

fn stacks(page: &mut Page, total: &WindowSum) {
    let shown = total.stacks.iter().filter(|(_, sum)| sum.total_ns() > 0);
    for (i, (kind, sum)) in shown.enumerate() {
        if i == 0 {
            page.blank();
            page.line("HEAVIEST STACKS, innermost first");
        }
        for (frames, weight_ns) in heaviest(sum) {
            let share = percent(ratio(weight_ns, sum.total_ns()));
            let inner: Vec<&str> = frames
                .iter()
                .rev()
                .take(FRAMES)
                .map(String::as_str)
                .collect();
            let start = format!("  {kind:<11}{share:>7}  ");
            page.hanging(&start, 22, &inner.join(" < "));
        }
    }
}

fn heaviest(sum: &StackSum) -> impl Iterator<Item = (&Vec<String>, u64)> {
    let mut stacks: Vec<(&Vec<String>, u64)> = sum
        .weights_ns
        .iter()
        .map(|(frames, weight_ns)| (frames, *weight_ns))
        .collect();
    stacks.sort_by_key(|(_, weight_ns)| std::cmp::Reverse(*weight_ns));
    stacks.into_iter().take(STACKS)
}

fn notes(page: &mut Page, total: &WindowSum) {
    let lost = total
        .losses
        .iter()
        .map(|(reason, lost)| ("LOST  ", format!("{} {reason}", count(*lost))));
    let not_measured = total.not_measured.iter().map(|(what, n)| {
        let text = format!("in {}: {what}", windows(*n));
        ("NOT MEASURED  ", text)
    });
    let cut_short = total.cut_short.iter().map(|(reason, n)| {
        let text = format!("{}: {reason}", windows(*n));
        ("CUT SHORT  ", text)
    });
    let notes: Vec<(&str, String)> = lost.chain(not_measured).chain(cut_short).collect();
    if !notes.is_empty() {
        page.blank();
    }
    for (heading, text) in notes.iter().take(NOTES) {
        page.wrapped(heading, text);
    }
    if notes.len() > NOTES {
        page.line(&format!(
            "and {} more such lines, see --json",
            notes.len() - NOTES
        ));
    }
    if total.clock_steps_ns > crate::model::NS_PER_S {
        page.wrapped(
            "CLOCK  ",
            &format!(
                "the wall clock jumped by {} in all",
                span(total.clock_steps_ns)
            ),
        );
    }
}

fn own_cost(page: &mut Page, total: &WindowSum) {
    page.blank();
    let cost = &total.own_cost;
    let mut cpu = ratio(cost.process_cpu_ns, total.duration_ns);
    let mut text = String::new();
    match &cost.programs_cpu_ns {
        Some(programs) => {
            cpu += ratio(programs.sum, programs.duration_ns);
            text.push_str("; its programs' part is an estimate");
        }
        None => text.push_str("; its programs' time was not measured"),
    }
    if cost.thinned > 0 {
        text.push_str(&format!(
            "; it thinned out in {} to stay within its budget",
            windows(cost.thinned)
        ));
    }
    let line = format!(
        "profile itself: ~{:.2} % of one CPU, {} of memory{text}",
        cpu * 100.0,
        bytes(cost.max_resident_bytes)
    );
    page.wrapped("", &line);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::history;
    use crate::model::example::MINUTE_NS;

    #[test]
    fn it_fits_the_screen_and_shows_gaps() {
        let mut history = history(240, 10 * MINUTE_NS);
        history.ship.label = "~zod\u{1b}[31m".to_owned();
        let text = render(&history);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        println!("{text}");
        assert!(text.starts_with("~zod\\u{1b}[31m   vere 4.6\n"));
        assert!(text.contains("NO SAMPLER  50 min in one gap: 50 min from 2026-03-01T01:"));
        assert_eq!(text.matches(" no sampler\n").count(), 5);
        for words in [
            "LOG COMMIT, P95",
            "WHERE TIME WENT",
            "FINDINGS",
            "HEAVIEST STACKS",
            "NOT MEASURED  in ",
            "LOST  ",
            "profile itself: ~",
        ] {
            assert!(text.contains(words), "{words}");
        }
    }

    #[test]
    fn numbers_fit_their_columns() {
        for size in [
            0,
            1_023,
            1 << 20,
            1_073_000_000,
            99 << 30,
            1_000 << 30,
            u64::MAX,
        ] {
            assert!(short_bytes(size).chars().count() <= 10, "{size}");
        }
        assert_eq!(short_bytes(1_932_735_283), "1.8G");
        assert_eq!(short_count(99_999), "99,999");
        assert_eq!(short_count(123_456), "123k");
        assert_eq!(span(90_061 * crate::model::NS_PER_S), "25 h 1 min");
    }
}
