//! The catalogue as Markdown, for `docs/catalogue.md`.

use crate::catalogue::Entry;
use crate::catalogue::advice::Advice;

/// The whole page.
pub fn markdown(entries: &[Entry], advices: &[Advice]) -> String {
    let mut text = String::from(
        "<!-- Written by `cargo xtask docs` from profiler/src/catalogue: change it there. -->\n\
         # The catalogue of fixes\n\n\
         An entry is not believed. It looks at the host and at what a capture measured, and answers\n\
         *already so*, *would help* (with its gain), *no evidence here*, *would harm*, or *cannot tell*, each\n\
         with the number that decided. Fixes that would help are ranked by the middle of what they remove, as\n\
         a share of all stalled time; between equals the lower risk comes first, then the smaller restart.\n\
         Gains of fixes that shrink the same time are not added, and of two that contradict each other the\n\
         better one is advised. `profile` itself changes nothing: it prints the commands that fit the host.\n\n\
         | fix | for | what | restart | risk |\n|---|---|---|---|---|\n",
    );
    for entry in entries {
        let id = entry.id;
        text.push_str(&format!(
            "| [{id}](#{id}) | {} | {} | {} | {} |\n",
            entry.cause.name(),
            cell(entry.title),
            entry.restart.name(),
            entry.risk.name()
        ));
    }
    for entry in entries {
        text.push_str(&section(entry));
    }
    text.push_str(
        "\n## What became of each advice\n\n\
         The advices of the guide for performance engineers that this profiler implements, word for word.\n\n\
         | advice | verdict | fixes | why |\n|---|---|---|---|\n",
    );
    for advice in advices {
        let fixes: Vec<String> = advice
            .fixes
            .iter()
            .map(|id| format!("[{id}](#{id})"))
            .collect();
        text.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            cell(advice.quote),
            advice.verdict.name(),
            fixes.join(", "),
            cell(advice.note)
        ));
    }
    text
}

fn section(entry: &Entry) -> String {
    let leaves: Vec<&str> = entry.shrinks.iter().map(|leaf| leaf.name()).collect();
    let answers: Vec<&str> = entry.answers.iter().map(|kind| kind.name()).collect();
    let or_none = |list: Vec<&str>| match list.is_empty() {
        true => "nothing that takes time".to_owned(),
        false => list.join(", "),
    };
    let mut text = format!(
        "\n## {}\n\n**{}.** {}\n\n",
        entry.id,
        capital(entry.title),
        entry.why
    );
    let mut line = |name: &str, value: &str| text.push_str(&format!("- **{name}**: {value}\n"));
    line("Shrinks", &or_none(leaves));
    line("Looks at", entry.check);
    line("Gain", entry.gain);
    line("Answers", &answers.join(", "));
    if !entry.conflicts.is_empty() {
        line("Not together with", &entry.conflicts.join(", "));
    }
    line("Restart", entry.restart.name());
    line("Risk", entry.risk.name());
    line("Source", entry.source);
    for (name, commands) in [("Do", entry.apply), ("Undo", entry.undo)] {
        if !commands.is_empty() {
            text.push_str(&format!("\n{name}:\n```\n{}\n```\n", commands.join("\n")));
        }
    }
    text
}

/// In a table a bar ends a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}
