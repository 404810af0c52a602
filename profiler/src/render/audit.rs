//! The checklist for people and for programs.

use super::page::Page;
use crate::audit::{Audit, Check, Outcome};

/// Where the evidence begins.
const EVIDENCE: usize = 40;

/// For a terminal.
pub fn text(audit: &Audit) -> String {
    let mut page = Page::default();
    let version = audit.version.as_deref().unwrap_or("version unknown");
    page.wrapped(
        "",
        &format!("{}   vere {version}   run by {}", audit.ship, audit.run_by),
    );
    page.blank();
    for check in &audit.checks {
        line(&mut page, check);
    }
    page.blank();
    page.line(&format!(
        "{} passed, {} failed, {} not applicable, {} cannot be told",
        audit.count(Outcome::Passed),
        audit.count(Outcome::Failed),
        audit.count(Outcome::NotApplicable),
        audit.count(Outcome::CannotTell)
    ));
    let mut fixes: Vec<&str> = audit
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Failed)
        .filter_map(|check| check.fix)
        .collect();
    fixes.sort_unstable();
    fixes.dedup();
    if !fixes.is_empty() {
        page.wrapped("what failed: profile catalogue ", &fixes.join(", "));
    }
    page.wrapped(
        "",
        "What a fix would bring is said by a capture: sudo profile --ship SHIP",
    );
    page.into_text()
}

fn line(page: &mut Page, check: &Check) {
    let start = format!("{:<9}{:<30} ", check.outcome.name(), check.title);
    page.hanging(&start, EVIDENCE, &check.evidence);
    if let Some(command) = check.command {
        // Not wrapped: it is there to be copied.
        page.line(&format!("         {command}"));
    }
}

/// As JSON.
///
/// # Errors
/// Never in practice: there is nothing in it that JSON has no form for.
pub fn json(audit: &Audit) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(audit)? + "\n")
}
