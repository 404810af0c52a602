//! Nothing is installed without being asked for.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result, bail};

/// Whether the user agrees to changes of the machine.
#[derive(Debug)]
pub struct Consent {
    given: bool,
}

impl Consent {
    /// Given beforehand by `--yes`, or by `CI`, where nobody can be asked.
    pub fn new(yes: bool) -> Self {
        Self {
            given: yes || in_ci(),
        }
    }

    /// Shows the commands and asks; an error if the answer is no.
    pub fn ask(&self, reason: &str, commands: &[String]) -> Result<()> {
        eprintln!("{reason}. To be run:");
        for command in commands {
            eprintln!("    {command}");
        }
        if self.given {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            bail!("{reason}; run the commands above, or give --yes");
        }
        eprint!("Run them now? [y/N] ");
        std::io::stderr()
            .flush()
            .context("could not write to the terminal")?;
        let mut answer = String::new();
        std::io::stdin()
            .read_line(&mut answer)
            .context("could not read the answer")?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        bail!("{reason}; run the commands above first");
    }
}

/// Whether this is a continuous integration run.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}
