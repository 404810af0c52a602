//! What a ship does at this moment, for people and for programs.

use super::page::Page;
use crate::now::{
    Activity, Answer, CodeView, EventView, KingReply, ThreadView, Wait, call_words, wait_words,
};
use crate::report::units::{bytes, count, duration};
use crate::ship::Role;

/// For people.
pub fn text(answer: &Answer) -> String {
    let mut page = Page::default();
    page.wrapped("NOW  ", &answer.verdict.sentence);
    page.blank();
    let mars = answer
        .mars_tgid
        .map_or_else(|| "no mars".to_owned(), |tgid| format!("mars {tgid}"));
    page.line(&format!(
        "{}   king {}, {mars}   {} looks in {}",
        answer.ship,
        answer.king_tgid,
        answer.looks_total,
        duration(answer.watched_ns)
    ));
    page.wrapped("event         ", &event(answer.event.as_ref()));
    if let Some(view) = &answer.code {
        page.wrapped("code          ", &code(view));
    }
    for thread in answer.threads.iter().filter(|t| is_shown(t)) {
        page.wrapped(&format!("{:<14}", thread.role.name()), &thread_line(thread));
    }
    let hidden = answer.threads.iter().filter(|t| !is_shown(t)).count();
    if hidden > 0 {
        page.wrapped(
            "others        ",
            &format!("{hidden} more threads wait for work"),
        );
    }
    page.wrapped("answers       ", &king(&answer.king));
    if let Some(words) = answer.ahead.words() {
        page.wrapped("beside it     ", &words);
    }
    page.wrapped("ames          ", &ames(answer));
    page.wrapped("memory        ", &memory(answer));
    if answer.has_snapshot_files {
        page.wrapped(
            "snapshot      ",
            "its files lie in the pier: one is under way, or broke off",
        );
    }
    for note in &answer.notes {
        page.wrapped("note          ", note);
    }
    for lack in &answer.incomplete {
        page.wrapped("INCOMPLETE    ", lack);
    }
    page.into_text()
}

/// For programs.
///
/// # Errors
/// Never seen: it holds nothing that JSON cannot.
pub fn json(answer: &Answer) -> Result<String, serde_json::Error> {
    super::json::pretty(answer)
}

/// Main threads, and others that did something.
fn is_shown(thread: &ThreadView) -> bool {
    matches!(thread.role, Role::King | Role::Mars)
        || thread.ratio(Activity::Waits(Wait::Work)) < 1.0
}

fn event(event: Option<&EventView>) -> String {
    let Some(event) = event else {
        return "not known: mars' memory could not be read".to_owned();
    };
    let state = match event.running_for_ns {
        Some(ns) => format!(
            "{} runs, for {} at least",
            count(event.done.saturating_add(1)),
            duration(ns)
        ),
        None => format!("none runs; {} was the last", count(event.done)),
    };
    format!(
        "{state}; {} ended meanwhile, one ran at {:.0} % of the looks",
        count(event.ended_total),
        event.running_ratio * 100.0
    )
}

/// Whose code runs: by mars' list of hints, and by the labels of its spin page.
fn code(view: &CodeView) -> String {
    let looks = |looks: u64| format!("at {} of {} looks", count(looks), count(view.looks_total));
    let mut parts = Vec::new();
    match (&view.place, &view.owner) {
        (Some(place), Some(owner)) => parts.push(format!(
            "{} {}, {} {}",
            owner.name,
            looks(owner.looks),
            place.name,
            looks(place.looks)
        )),
        (Some(place), None) => parts.push(format!("{} {}", place.name, looks(place.looks))),
        (None, _) => parts.push("no place with a name".to_owned()),
    }
    if let Some(labels) = &view.labels {
        parts.push(format!("labels {} {}", labels.name, looks(labels.looks)));
    }
    if view.discarded_total > 0 {
        let discarded = count(view.discarded_total);
        parts.push(format!(
            "{discarded} discarded: mars changed them meanwhile"
        ));
    }
    parts.join("; ")
}

fn thread_line(thread: &ThreadView) -> String {
    let what = match thread.doing {
        Activity::Runs if thread.is_starved() => "waits for a CPU".to_owned(),
        Activity::Runs => "computes".to_owned(),
        Activity::Stopped => "is stopped".to_owned(),
        Activity::Ended => "has ended".to_owned(),
        Activity::Waits(wait) => {
            let call = thread.call.as_ref().map(call_words);
            let call = call.map(|call| format!(" in {call}")).unwrap_or_default();
            format!("waits for {}{call}", wait_words(wait))
        }
    };
    let percent = |ratio: Option<f64>| match ratio {
        Some(ratio) => format!("{:.0} %", ratio * 100.0),
        None => "not known".to_owned(),
    };
    let disk = thread.ratio(Activity::Waits(Wait::Disk));
    let disk = if disk > 0.0 {
        format!(", disk {:.0} % of looks", disk * 100.0)
    } else {
        String::new()
    };
    format!(
        "{}: {what}, for {} at least; CPU {}, run queue {}{disk}",
        thread.tid,
        duration(thread.for_ns),
        percent(thread.on_cpu_ratio),
        percent(thread.run_queue_ratio)
    )
}

fn king(reply: &KingReply) -> String {
    match reply {
        KingReply::Answered {
            time_ns,
            queue,
            event_number,
        } => {
            let told = |number: &Option<u64>| number.map_or_else(|| "not told".to_owned(), count);
            format!(
                "the king in {}; unanswered requests at mars: {}; last event back: {}",
                duration(*time_ns),
                told(queue),
                told(event_number)
            )
        }
        KingReply::Silent { after_ns } => {
            format!("none from the king within {}", duration(*after_ns))
        }
        KingReply::NotAsked { reason } => format!("not asked: {reason}"),
    }
}

/// A reading that there is none of says why.
fn not_known(reason: Option<&str>) -> String {
    format!("not known: {}", reason.unwrap_or("no reason was given"))
}

fn ames(answer: &Answer) -> String {
    match answer.ames.known() {
        Some(queue) => format!(
            "{} wait in the king's sockets, {} datagrams lost meanwhile",
            bytes(queue.receive_queue_bytes),
            queue
                .lost_total
                .map_or_else(|| "an unknown number of".to_owned(), count)
        ),
        None => not_known(answer.ames.reason()),
    }
}

fn memory(answer: &Answer) -> String {
    let faults = answer.mars_major_faults_total;
    let faults = faults.map_or_else(|| "an unknown number of".to_owned(), count);
    let swap = match answer.swapped_in_pages.known() {
        Some(pages) => format!("{} pages came from swap (whole machine)", count(*pages)),
        None => format!(
            "pages from swap {}",
            not_known(answer.swapped_in_pages.reason())
        ),
    };
    format!("{faults} major faults of mars, {swap}")
}
