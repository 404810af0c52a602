//! A terminal of our own, on which a program asks and is answered.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{Error, Result};

/// What a terminal makes of Ctrl-D: the end of input.
const END_OF_INPUT: &str = "\x04";

/// Whoever types on it.
#[derive(Debug)]
pub struct Keyboard {
    terminal: File,
}

impl Keyboard {
    /// A new terminal, and its end that a program gets as its input.
    pub fn open() -> Result<(Self, OwnedFd)> {
        let (terminal, input) = pair().map_err(|errno| Error::Missing {
            what: format!("a terminal ({errno})"),
            remedy: "mount -t devpts devpts /dev/pts".into(),
        })?;
        let terminal = File::from(terminal);
        Ok((Self { terminal }, input))
    }

    /// Types a line.
    pub fn line(&self, text: &str) -> Result<()> {
        self.keys(&format!("{text}\n"))
    }

    /// Ends the input.
    pub fn end(&self) -> Result<()> {
        self.keys(END_OF_INPUT)
    }

    /// Answers with a line, or with the end of input.
    pub fn answer(&self, line: Option<&str>) -> Result<()> {
        match line {
            Some(text) => self.line(text),
            None => self.end(),
        }
    }

    fn keys(&self, text: &str) -> Result<()> {
        let written = (&self.terminal).write_all(text.as_bytes());
        written.map_err(Error::path("write", Path::new("/dev/ptmx")))
    }
}

fn pair() -> std::result::Result<(OwnedFd, OwnedFd), Errno> {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let input = open(name, flags, Mode::empty())?;
    Ok((terminal, input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn what_is_typed_is_read_to_the_end() {
        let (keyboard, input) = Keyboard::open().unwrap();
        keyboard.line("yes").unwrap();
        keyboard.end().unwrap();
        let mut text = String::new();
        File::from(input).read_to_string(&mut text).unwrap();
        assert_eq!(text, "yes\n");
    }
}
