//! Response times for people and for programs.

use super::page::Page;
use crate::ping::{Fate, Ping, Pings, Summary, Times};
use crate::report::units::duration;

/// What is asked: the ship by its name, the king by its process id, by which socket.
pub fn head(ship: &str, king_tgid: u32, socket: &str) -> String {
    let mut page = Page::default();
    page.wrapped("", &format!("{ship}, king {king_tgid}, by {socket}"));
    page.line("Asks the king alone, then mars through Nock (reads /zen/lag). No question is an");
    page.line("event; hanging up is one where the ship has Khan.");
    page.into_text()
}

/// The line of one question.
pub fn line(ping: &Ping) -> String {
    let fate = match ping.fate {
        Fate::Answered {
            time_ns,
            late: false,
        } => duration(time_ns),
        Fate::Answered {
            time_ns,
            late: true,
        } => format!("{}, after it had been given up", duration(time_ns)),
        Fate::Lost => "no answer in time".to_owned(),
        Fate::NotAsked { waiting_for } => {
            format!("not asked: the answer to {waiting_for} is still waited for")
        }
    };
    format!("{}  {:>4}  {fate}\n", ping.way.name(), ping.sequence)
}

/// The table at the end.
pub fn summary(pings: &Pings) -> String {
    let mut page = Page::default();
    page.blank();
    page.line(&format!(
        "{:<6}{:>9}{:>9}{:>9}{:>9}{:>9}  {:>8}{:>6}{:>6}",
        "", "min", "p50", "p95", "p99", "max", "answers", "late", "lost"
    ));
    for one in &pings.summaries {
        page.line(&row(one));
    }
    page.into_text()
}

fn row(summary: &Summary) -> String {
    let times = match summary.times {
        Some(Times {
            min_ns,
            p50_ns,
            p95_ns,
            p99_ns,
            max_ns,
        }) => [min_ns, p50_ns, p95_ns, p99_ns, max_ns].map(duration),
        None => [const { String::new() }; 5].map(|_| "-".to_owned()),
    };
    let times: String = times.iter().map(|time| format!("{time:>9}")).collect();
    let answers = format!("{}/{}", summary.answered_total, summary.asked_total);
    format!(
        "{:<6}{times}  {answers:>8}{:>6}{:>6}",
        summary.way.name(),
        summary.late_total,
        summary.lost_total
    )
}

/// For programs.
///
/// # Errors
/// Never seen: it holds nothing that JSON cannot.
pub fn json(pings: &Pings) -> Result<String, serde_json::Error> {
    super::json::pretty(pings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ping::Way;

    #[test]
    fn lines_and_table_fit_a_screen_and_show_no_zero_for_nothing() {
        let ping = |way, fate| Ping {
            way,
            sequence: 12,
            fate,
        };
        let answered = Fate::Answered {
            time_ns: 61_000,
            late: false,
        };
        let pings = vec![ping(Way::King, answered), ping(Way::Nock, Fate::Lost)];
        assert_eq!(line(&pings[0]), "king    12  61 µs\n");
        assert_eq!(line(&pings[1]), "nock    12  no answer in time\n");
        let text = summary(&Pings::new("~zod".to_owned(), 5, pings));
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let nock = ["nock", "-", "-", "-", "-", "-", "0/1", "0", "1"];
        assert_eq!(rows.last().map(Vec::as_slice), Some(&nock[..]));
    }
}
