//! `profile catalogue`, `profile completions` and `profile man` as commands: no root, no ship.

#![expect(clippy::expect_used, reason = "a test says by a panic what is wrong")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use profiler::catalogue::ENTRIES;
use profiler::catalogue::advice::ADVICES;

fn profile(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_profile"))
        .args(arguments)
        .output()
        .expect("the command runs")
}

/// What it prints when it succeeds.
fn stdout(arguments: &[&str]) -> String {
    let output = profile(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = stdout(&["--help"]);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let named = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = named.filter_map(|line| line.split_whitespace().next());
    let names: Vec<String> = names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    assert!(names.contains(&"catalogue".to_owned()) && names.len() > 4);
    names
}

#[test]
fn the_catalogue_names_every_fix_and_all_of_it_fits_the_screen() {
    let text = stdout(&["catalogue"]);
    for entry in ENTRIES {
        assert!(
            text.contains(&format!("\n{:<15}{}\n", entry.id, entry.title))
                || text.starts_with(entry.id)
        );
    }
    for name in ["why", "gain", "check", "restart", "risk", "source"] {
        let lines = text
            .lines()
            .filter(|line| line.starts_with(&format!("  {name} ")));
        assert_eq!(lines.count(), ENTRIES.len(), "{name}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn one_fix_comes_with_its_commands() {
    for entry in ENTRIES {
        let text = stdout(&["catalogue", entry.id]);
        for command in entry.apply {
            assert!(text.contains(&format!("  do      {command}\n")), "{text}");
        }
        for command in entry.undo {
            assert!(text.contains(&format!("  undo    {command}\n")), "{text}");
        }
    }
}

#[test]
fn the_catalogue_is_json_too() {
    let all: serde_json::Value =
        serde_json::from_str(&stdout(&["catalogue", "--format", "json"])).expect("JSON");
    assert_eq!(all["schema_version"], 1);
    assert_eq!(all["fixes"].as_array().map(Vec::len), Some(ENTRIES.len()));
    let one: serde_json::Value =
        serde_json::from_str(&stdout(&["catalogue", "ram", "--format", "json"])).expect("JSON");
    assert_eq!(one["fixes"][0]["id"], "ram");
    assert_eq!(one["fixes"][0]["risk"], "low");
    assert_eq!(one["fixes"][0]["shrinks"][1], "swap_in");
}

/// The documentation that is made from the catalogue.
#[test]
fn the_documentation_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/catalogue.md");
    let written = fs::read_to_string(&path).expect("docs/catalogue.md, by `cargo xtask docs`");
    let current = stdout(&["catalogue", "--format", "markdown"]);
    assert!(written == current, "run `cargo xtask docs`");
    for advice in ADVICES {
        assert!(
            current.contains(&advice.quote.replace('|', "\\|")),
            "{}",
            advice.quote
        );
        for fix in advice.fixes {
            assert!(ENTRIES.iter().any(|entry| entry.id == *fix), "{fix}");
        }
    }
}

/// A line of the guide that advises something: a step of a list, or an item of a checklist.
fn is_advice(line: &str, section: &str) -> bool {
    let numbered = line
        .split_once(". ")
        .is_some_and(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let item = line.starts_with("- [ ] ") || line.starts_with("- **Improvements**");
    let trigger = section == "Scaling Triggers" && line.starts_with("- ");
    // What the domains are is no advice.
    (numbered || item || trigger) && section != "Performance Domains"
}

/// The guide lies beside the repository where the profiler is made, and nowhere else.
#[test]
fn every_advice_of_the_guide_has_a_verdict() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/requirements.md");
    let Ok(guide) = fs::read_to_string(guide) else {
        return;
    };
    for advice in ADVICES {
        assert!(
            guide.contains(advice.quote),
            "not in the guide: {}",
            advice.quote
        );
    }
    let mut section = "";
    for line in guide.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            section = heading.trim_start_matches('#').trim();
        }
        if is_advice(line, section) {
            let judged = ADVICES.iter().any(|advice| line.contains(advice.quote));
            assert!(judged, "{section}: {line}");
        }
    }
}

#[test]
fn a_fix_that_is_not_there_is_one_sentence_with_those_that_are() {
    let output = profile(&["catalogue", "no\u{1b}pe"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!error.contains('\u{1b}'));
    for entry in ENTRIES {
        assert!(error.contains(entry.id), "{error}");
    }
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]);
        for name in commands() {
            assert!(script.contains(&name), "{shell}: {name}");
        }
    }
    assert_eq!(profile(&["completions", "csh"]).status.code(), Some(2));
}

#[test]
fn the_manual_has_a_page_for_every_command_that_everybody_may_read() {
    let main = stdout(&["man"]);
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("share/man1");
    // Twice: what is there is written anew, and a link in its place is not followed.
    fs::create_dir_all(&pages).expect("a directory");
    let victim = directory.path().join("victim");
    fs::write(&victim, "mine").expect("a file");
    std::os::unix::fs::symlink(&victim, pages.join("profile.1")).expect("a link");
    for _ in 0..2 {
        stdout(&["man", "-o", pages.to_str().expect("text")]);
    }
    assert_eq!(fs::read_to_string(&victim).expect("a file"), "mine");
    assert_eq!(
        fs::read_to_string(pages.join("profile.1")).expect("a page"),
        main
    );
    for name in commands() {
        assert!(
            main.contains(&format!("profile\\-{name}(1)")),
            "{name}: {main}"
        );
        let path = pages.join(format!("profile-{name}.1"));
        let page = fs::read_to_string(&path).expect("a page");
        assert!(page.contains(".SH SYNOPSIS") && page.len() > 300, "{page}");
        let mode = fs::metadata(&path).expect("a page").permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
}

#[test]
fn a_manual_that_cannot_be_written_is_one_sentence() {
    let output = profile(&["man", "-o", "/proc/none"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(
        error.contains("/proc/none") && error.lines().count() == 1,
        "{error}"
    );
}
