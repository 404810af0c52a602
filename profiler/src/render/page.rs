//! A page of text for a terminal of 80 columns.

use super::harmless;

/// Columns of the screen.
pub const WIDTH: usize = 80;

/// Text that grows line by line.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Adds one line as it is, only made harmless.
    pub fn line(&mut self, line: &str) {
        self.text.push_str(harmless(line).trim_end());
        self.text.push('\n');
    }

    /// Adds an empty line.
    pub fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Adds the lines of another page.
    pub fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// A paragraph behind a heading, indented to it.
    pub fn wrapped(&mut self, heading: &str, text: &str) {
        self.hanging(heading, heading.chars().count(), text);
    }

    /// A paragraph whose first line begins with `start` and whose others are indented.
    pub fn hanging(&mut self, start: &str, indent: usize, text: &str) {
        let text = harmless(text);
        let mut line = start.to_owned();
        let mut empty = true;
        for word in text.split(' ') {
            let width = line.chars().count() + usize::from(!empty) + word.chars().count();
            if !empty && width > WIDTH {
                self.line(&line);
                line = " ".repeat(indent);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.line(&line);
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.text
    }
}
