//! `profile catalogue`: every fix, without a capture.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{DONE, print};
use crate::catalogue::advice::{ADVICES, Advice};
use crate::catalogue::{ENTRIES, Entry};
use crate::render::catalogue::markdown;
use crate::render::page::Page;

/// Version of the JSON.
const SCHEMA_VERSION: u32 = 1;
/// Where the text of a field begins.
const FIELD: usize = 10;

#[derive(Debug, Args)]
pub(super) struct CatalogueArgs {
    /// A fix, to see all of it with its commands. Left out: all fixes, in short.
    id: Option<String>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = CatalogueFormat::Text)]
    format: CatalogueFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CatalogueFormat {
    /// For people.
    Text,
    /// For programs, with a schema version.
    Json,
    /// For the documentation.
    Markdown,
}

#[derive(Serialize)]
struct Catalogue<'a> {
    schema_version: u32,
    fixes: &'a [Entry],
    advices: &'a [Advice],
}

pub(super) fn run(arguments: &CatalogueArgs) -> anyhow::Result<u8> {
    let fixes = match &arguments.id {
        None => ENTRIES,
        Some(id) => std::slice::from_ref(find(id)?),
    };
    match arguments.format {
        CatalogueFormat::Text => print(&text(fixes, arguments.id.is_some()))?,
        CatalogueFormat::Markdown => print(&markdown(fixes, ADVICES))?,
        CatalogueFormat::Json => {
            let catalogue = Catalogue {
                schema_version: SCHEMA_VERSION,
                fixes,
                advices: ADVICES,
            };
            print(&(serde_json::to_string_pretty(&catalogue)? + "\n"))?;
        }
    }
    Ok(DONE)
}

pub(super) fn find(id: &str) -> anyhow::Result<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.id == id).ok_or_else(|| {
        let ids: Vec<&str> = ENTRIES.iter().map(|entry| entry.id).collect();
        anyhow::anyhow!("no fix is called {id:?}; there are {}", ids.join(", "))
    })
}

fn text(fixes: &[Entry], whole: bool) -> String {
    let mut page = Page::default();
    for (i, entry) in fixes.iter().enumerate() {
        if i > 0 {
            page.blank();
        }
        heading(&mut page, entry);
        if whole {
            commands(&mut page, "do", entry.apply);
            commands(&mut page, "undo", entry.undo);
        }
    }
    page.blank();
    page.wrapped(
        "",
        "What a fix would bring to a ship is said by a capture of it: sudo profile --ship SHIP. \
         Nothing is ever changed by profile itself, but by profile trial, which asks.",
    );
    page.into_text()
}

fn heading(page: &mut Page, entry: &Entry) {
    page.line(&format!("{:<15}{}", entry.id, entry.title));
    let mut field = |name: &str, text: &str| {
        page.hanging(&format!("  {name:<width$}", width = FIELD - 2), FIELD, text);
    };
    field("cause", &cause(entry));
    field("why", entry.why);
    field("gain", entry.gain);
    field("check", entry.check);
    field("restart", entry.restart.name());
    field("risk", entry.risk.name());
    if !entry.conflicts.is_empty() {
        field("not with", &entry.conflicts.join(", "));
    }
    field("source", entry.source);
}

/// The cause, and what of it the fix can shrink.
fn cause(entry: &Entry) -> String {
    let leaves: Vec<&str> = entry.shrinks.iter().map(|leaf| leaf.name()).collect();
    match leaves.is_empty() {
        true => entry.cause.name().to_owned(),
        false => format!("{}: {}", entry.cause.name(), leaves.join("; ")),
    }
}

/// Not wrapped: they are there to be copied.
fn commands(page: &mut Page, name: &str, commands: &[&str]) {
    for command in commands {
        page.line(&format!("  {name:<width$}{command}", width = FIELD - 2));
    }
}
