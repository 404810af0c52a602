//! Values of the kernel, below `/proc/sys` and `/sys`, that are others for a while.

use std::fs;
use std::path::{Path, PathBuf};

use crate::undo::Undo;
use crate::{Error, Result};

/// A value of ours in such a file. Dropping it puts back the one that was there.
#[derive(Debug)]
pub struct Setting {
    _undo: Undo,
}

impl Setting {
    /// Writes `value` to the file at `path`.
    pub fn set(path: impl Into<PathBuf>, value: &str) -> Result<Self> {
        let path = path.into();
        let before = Self::read(&path)?;
        write(&path, value)?;
        let undo = Undo::new(format!("restore {}", path.display()), move || {
            write(&path, &before)
        });
        Ok(Self { _undo: undo })
    }

    /// What is there: of a list (`always [madvise] never`) the one in brackets.
    pub fn read(path: &Path) -> Result<String> {
        let text = fs::read_to_string(path).map_err(Error::path("read", path))?;
        Ok(chosen(&text).to_owned())
    }
}

fn chosen(text: &str) -> &str {
    let inside = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or(text.trim(), |(inside, _)| inside)
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).map_err(Error::path("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_value_is_put_back_and_of_a_list_the_chosen_one() {
        let scratch = Scratch::new("setting").unwrap();
        let path = scratch.path().join("enabled");
        fs::write(&path, "always [madvise] never\n").unwrap();
        let setting = Setting::set(&path, "always").unwrap();
        assert_eq!(Setting::read(&path).unwrap(), "always");
        drop(setting);
        assert_eq!(fs::read_to_string(&path).unwrap(), "madvise");
    }
}
