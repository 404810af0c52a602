//! Holds the modules to the borders that ARCHITECTURE.md draws.

#![expect(clippy::expect_used, reason = "a test says by a panic what is wrong")]

use std::fs;
use std::path::{Path, PathBuf};

/// Modules that turn values into values.
const PURE: [&str; 15] = [
    "audit",
    "diff",
    "mass",
    "model",
    "hoon",
    "history",
    "aggregate",
    "attribute",
    "sampler",
    "catalogue",
    "recommend",
    "report",
    "now",
    "ping",
    "render",
];

/// What a pure module may not name: files, clocks, processes, the environment, aya, maps whose
/// order is random.
const IMPURE: [&str; 10] = [
    "std::fs",
    "File::",
    "std::env",
    "std::process",
    "std::net",
    "Instant",
    "SystemTime",
    "aya::",
    "tokio",
    "HashMap",
];

/// Modules at the border that do not know each other; `cli` wires them together.
const APART: [&str; 5] = ["baselines", "capture", "host", "render", "store"];

fn sources(module: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src")
        .join(module);
    let mut directories = vec![root];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)
            .expect("a module is a directory")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                sources.push((path, text));
            }
        }
    }
    assert!(!sources.is_empty(), "{module} has no sources");
    sources
}

/// Whether a file holds tests of its module and nothing else.
fn is_test(path: &Path) -> bool {
    let source = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let source = source.expect("it was found there");
    source.components().any(|part| part.as_os_str() == "tests")
}

/// The code of a source: neither its comments nor its tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let without_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
    without_tests
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn pure_modules_touch_nothing_outside() {
    for module in PURE {
        for (path, text) in sources(module) {
            if is_test(&path) {
                continue;
            }
            for line in code(&text) {
                let named = IMPURE.iter().find(|name| line.contains(**name));
                assert!(named.is_none(), "{}: {line}", path.display());
            }
        }
    }
}

#[test]
fn modules_at_the_border_do_not_know_each_other() {
    for module in APART {
        for (path, text) in sources(module) {
            for line in code(&text) {
                for other in APART
                    .iter()
                    .chain(&["cli"])
                    .filter(|other| **other != module)
                {
                    let import = format!("crate::{other}");
                    // Facts that the host gave are values like others once they are read.
                    assert!(
                        !line.contains(&import),
                        "{} imports {other}: {line}",
                        path.display()
                    );
                }
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for module in PURE.iter().chain(&APART).chain(&["cli", "ship", "trial"]) {
        for (path, text) in sources(module) {
            assert!(
                text.starts_with("//!"),
                "{} does not open with //!",
                path.display()
            );
        }
    }
}
