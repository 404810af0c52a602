//! Tables that the first screen has no room for: of events, of peers, of files.

use super::page::Page;
use crate::aggregate::ames::{AmesSummary, BothWays, TimesSummary};
use crate::report::units::{bytes, count, duration};
use crate::report::{EventTimesLine, Report, TimesLine, WorstEvent};

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// How long events took, by kind and phase, and the slowest.
    Events,
    /// Datagrams by peer.
    Ames,
    /// Block I/O by file.
    Files,
    /// Every fix, with its reason and its commands.
    Fixes,
}

/// Columns of the first cell; a longer one has a line of its own.
const NAME_WIDTH: usize = 30;
/// Columns of each other cell.
const CELL_WIDTH: usize = 10;

/// The table.
pub fn render(report: &Report, detail: Detail) -> String {
    let mut page = Page::default();
    match detail {
        Detail::Events => match &report.event_times {
            Some(times) => events(&mut page, times),
            None => page.wrapped("Events: ", "not measured; the report says why"),
        },
        Detail::Ames => ames(&mut page, &report.ames),
        Detail::Files => files(&mut page, report),
        Detail::Fixes => page.text(&super::fixes::all(report)),
    }
    page.into_text()
}

fn row(page: &mut Page, name: &str, cells: &[String]) {
    let name = super::harmless(name);
    let mut line = match name.chars().count() {
        width if width < NAME_WIDTH => format!("{name:NAME_WIDTH$}"),
        _ => {
            page.line(&name);
            " ".repeat(NAME_WIDTH)
        }
    };
    for cell in cells {
        line.push_str(&format!("{cell:>CELL_WIDTH$}"));
    }
    page.line(&line);
}

fn head(page: &mut Page, name: &str, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
    row(page, name, &cells);
}

fn events(page: &mut Page, events: &EventTimesLine) {
    let columns = ["count", "p50", "p95", "p99", "max"];
    let line = |page: &mut Page, name: &str, times: &TimesLine| {
        let of = [times.p50_ns, times.p95_ns, times.p99_ns, times.max_ns];
        let durations = of.into_iter().map(duration);
        let cells: Vec<String> = [count(times.count)].into_iter().chain(durations).collect();
        row(page, name, &cells);
    };
    head(page, "EVENTS BY KIND", &columns);
    line(page, "all", &events.all);
    for kind in &events.kinds {
        line(page, kind.kind.name(), &kind.times);
    }
    if let Some(questions) = &events.questions {
        line(page, "questions (no events)", questions);
    }
    page.blank();
    head(page, "BY PHASE", &columns);
    for phase in &events.phases {
        line(page, phase.phase.name(), &phase.times);
    }
    if !events.behind.is_empty() {
        page.blank();
        head(page, "BEHIND OTHER EVENTS", &["time"]);
        for behind in &events.behind {
            row(page, behind.leaf.name(), &[duration(behind.total_ns)]);
        }
    }
    page.blank();
    page.line("SLOWEST");
    for event in &events.worst {
        slow(page, event);
    }
    if events.unmatched + events.unfinished > 0 {
        page.blank();
        page.line(&format!(
            "{} messages to mars could not be matched, {} had no answer yet.",
            count(events.unmatched),
            count(events.unfinished)
        ));
    }
}

fn slow(page: &mut Page, event: &WorstEvent) {
    let number = event.number.map(|number| format!(" {}", count(number)));
    let kind = event.kind.map_or("", |kind| kind.name());
    let failed = if event.failed {
        ", failed at first"
    } else {
        ""
    };
    page.line(&format!(
        "{}: event{} ({kind}), {} after the capture began{failed}",
        duration(event.duration_ns),
        number.unwrap_or_default(),
        duration(event.arrived_ns)
    ));
    let phases = event.phases.iter();
    let phases = phases.map(|(phase, ns)| format!("{} {}", phase.name(), duration(*ns)));
    page.wrapped("    way   ", &phases.collect::<Vec<_>>().join(" · "));
    let parts = event.parts.iter().filter(|part| part.total_ns > 0);
    let parts = parts.map(|part| {
        let estimate = if part.estimated { "~" } else { "" };
        let behind = match part.behind_ns {
            0 => String::new(),
            ns => format!(" ({} behind others)", duration(ns)),
        };
        format!(
            "{} {estimate}{}{behind}",
            part.leaf.name(),
            duration(part.total_ns)
        )
    });
    page.wrapped("    went  ", &parts.collect::<Vec<_>>().join(" · "));
}

fn both_ways(traffic: &BothWays) -> Vec<String> {
    let ways = [traffic.received, traffic.sent];
    ways.iter()
        .flat_map(|way| [count(way.packets), bytes(way.bytes)])
        .collect()
}

fn ames(page: &mut Page, ames: &AmesSummary) {
    let columns = ["packets in", "bytes in", "out", "bytes out", "answer"];
    match ames.peers.known() {
        Some(peers) => {
            head(page, "PEER", &columns);
            for peer in peers {
                let mut cells = both_ways(&peer.traffic);
                cells.push(peer.answer_mean_ns.map_or("-".to_owned(), duration));
                row(page, &peer.ship, &cells);
            }
            if let Some(unnamed) = ames.unnamed.known() {
                row(page, "nobody named", &both_ways(unnamed));
            }
        }
        None => page.wrapped("Peers: not measured: ", ames.peers.reason().unwrap_or("")),
    }
    if let Some(kinds) = ames.kinds.known() {
        page.blank();
        head(page, "KIND OF PACKET", &columns[..4]);
        for (kind, traffic) in kinds {
            row(page, kind, &both_ways(traffic));
        }
    }
    page.blank();
    for (name, times) in [
        ("in the socket", &ames.in_socket),
        ("peek to its page", &ames.peek_round_trips),
        ("poke to its acknowledgement", &ames.poke_round_trips),
        ("message to its acknowledgement", &ames.ames_round_trips),
    ] {
        page.wrapped(
            &format!("{name}: "),
            &times_of(times.known(), times.reason()),
        );
    }
    let drops = match ames.mesa_queue_drops.known() {
        Some(drops) => count(*drops),
        None => not_measured(ames.mesa_queue_drops.reason()),
    };
    page.wrapped("dropped by Mesa's queues: ", &drops);
}

fn not_measured(reason: Option<&str>) -> String {
    format!("not measured: {}", reason.unwrap_or("unknown"))
}

fn times_of(times: Option<&TimesSummary>, reason: Option<&str>) -> String {
    let Some(known) = times else {
        return not_measured(reason);
    };
    let quantile = |ns: Option<u64>| ns.map_or("-".to_owned(), duration);
    match known.count {
        0 => "none".to_owned(),
        number => format!(
            "{}, p50 {}, p95 {}, at most {}",
            count(number),
            quantile(known.p50_ns),
            quantile(known.p95_ns),
            duration(known.max_ns)
        ),
    }
}

fn files(page: &mut Page, report: &Report) {
    if report.file_io.is_empty() {
        page.line("No block I/O of the ship's files was seen.");
        return;
    }
    let columns = ["read", "written", "by others", "disk busy"];
    head(page, "FILE", &columns);
    for file in &report.file_io {
        let sums = [file.read, file.written, file.written_back];
        let mut cells: Vec<String> = sums.iter().map(|sum| bytes(sum.bytes)).collect();
        let busy_ns = sums
            .iter()
            .fold(0u64, |ns, sum| ns.saturating_add(sum.busy_ns));
        cells.push(duration(busy_ns));
        row(page, &format!("{} ({})", file.file, file.device), &cells);
    }
}
