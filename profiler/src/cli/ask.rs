//! A question that a person answers on the terminal.

use std::io::{self, IsTerminal as _, Write as _};

/// Whether there is somebody to ask.
pub fn is_possible() -> bool {
    io::stdin().is_terminal()
}

/// Asks, and gives the line that was typed; an empty one at the end of input.
///
/// # Errors
/// If the terminal cannot be read or written to.
pub fn ask(question: &str) -> io::Result<String> {
    let mut stderr = io::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        // The cursor still stands behind the question.
        writeln!(stderr)?;
    }
    Ok(line.trim().to_owned())
}
