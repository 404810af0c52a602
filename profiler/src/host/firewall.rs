//! Whether this host's own packet filter lets datagrams to a port in that nobody here asked for. What a
//! provider filters in front of the host cannot be seen from it.
//!
//! Rules are evaluated for one packet: UDP, to the port, first of its flow, from anywhere outside. A rule
//! with a condition that this packet does not decide (an address, a rate, a match that is not known)
//! makes the answer unclear, unless both ways come to the same.

mod iptables;
mod nft;
mod rules;

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use rules::{Ruleset, judge};

use super::{Reading, Roots, read_text};

/// How long a command that lists rules may take.
const LIMIT: Duration = Duration::from_secs(3);

/// What becomes of such a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortAnswer {
    /// It is let in.
    Open,
    /// It is dropped or refused.
    Closed {
        /// Where the rules are: `inet filter input`, or `INPUT` of iptables.
        chain: String,
    },
    /// The rules do not decide it for any sender.
    Unclear {
        /// The chain with the rule that is in doubt.
        chain: String,
    },
}

/// The answer for one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFilter {
    /// The port.
    pub port: u16,
    /// What becomes of datagrams to it.
    pub answer: PortAnswer,
}

/// Asks for the rules. Nothing is asked that would make the kernel load a packet filter: where none is
/// loaded there are no rules.
pub fn rules(roots: &Roots) -> Reading<Ruleset> {
    let nft = match has_nf_tables(roots) {
        Some(false) => Ok(Ruleset::default()),
        Some(true) => list("nft", &["-j", "list", "ruleset"]).and_then(|text| nft::parse(&text)),
        None => Err("whether the kernel filters packets could not be told".to_owned()),
    };
    let legacy = match legacy_tables(roots) {
        false => Ok(Ruleset::default()),
        true => list("iptables-legacy-save", &[])
            .or_else(|_| list("iptables-save", &[]))
            .map(|text| iptables::parse(&text)),
    };
    match (nft, legacy) {
        (Ok(nft), Ok(legacy)) => Reading::Known(nft.with(legacy)),
        (Err(reason), _) | (_, Err(reason)) => Reading::unknown(reason),
    }
}

/// Whether nf_tables is there: as a module that is loaded, or built in; nothing if that is not known.
fn has_nf_tables(roots: &Roots) -> Option<bool> {
    if roots.sys.join("module/nf_tables").exists() {
        return Some(true);
    }
    let release = super::kernel::release(roots).ok()?;
    let list = Path::new("/lib/modules")
        .join(release)
        .join("modules.builtin");
    match read_text(&roots.host_path(&list)) {
        Ok(text) => Some(text.lines().any(|line| line.ends_with("/nf_tables.ko"))),
        // A kernel without modules, as of some virtual machines: only its symbols tell.
        Err(_) => {
            let symbols = read_text(&roots.proc.join("kallsyms")).ok()?;
            Some(symbols.contains(" nf_tables_newrule"))
        }
    }
}

/// Whether the older interface has tables: the kernel lists those in use.
fn legacy_tables(roots: &Roots) -> bool {
    let names = read_text(&roots.proc.join("net/ip_tables_names"));
    names.is_ok_and(|names| names.lines().any(|name| name.trim() == "filter"))
}

/// What a command prints.
fn list(program: &str, arguments: &[&str]) -> Result<String, String> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{program}, which lists the rules, is missing"),
        _ => format!("{program} cannot be run ({error})"),
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.map(|mut output| output.read_to_string(&mut text));
        text
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if begun.elapsed() > LIMIT => {
                // Ours, and it only lists.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{program} did not answer in time"));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = reader.join().unwrap_or_default();
    if status.success() {
        Ok(text)
    } else {
        Err(format!("{program} was refused: run as root"))
    }
}
