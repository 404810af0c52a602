//! What a hint of a Hoon stack is a hint at.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Knots at the head of a path that name a desk at a moment: ship, desk, case.
const BEAM_KNOTS: usize = 3;

/// A place in the ship's own code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// A place in a source.
    Spot(Spot),
    /// Code that says what to print when it fails. Where it stands is known only if it says so itself.
    Mean(MeanSite),
    /// A text to print.
    Text(String),
    /// A hint that tells no place.
    Tag(String),
}

/// A place in a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spot {
    /// The file, as in `/app/dojo/hoon`.
    pub path: String,
    /// Where it begins.
    pub line: u32,
    /// Its column, from 1.
    pub column: u32,
    /// Where it ends.
    pub end_line: u32,
    /// Its column.
    pub end_column: u32,
}

/// A `%mean` by its code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MeanSite {
    /// Hash of the code (`mug` of the trap's battery): the same wherever the same source was compiled.
    pub mug: u32,
    /// A text from the code's constants.
    pub hint: Option<String>,
    /// A place that the code tells of itself.
    pub spot: Option<Spot>,
}

impl Site {
    /// Its name, to the line.
    pub fn line(&self) -> String {
        match self {
            Self::Spot(spot)
            | Self::Mean(MeanSite {
                spot: Some(spot), ..
            }) => {
                format!("{}:{}", spot.path, spot.line)
            }
            Self::Mean(mean) => mean.to_string(),
            Self::Text(text) => format!("%mean/{text}"),
            Self::Tag(tag) => format!("%{tag}"),
        }
    }

    /// Its name, to the file.
    pub fn file(&self) -> String {
        match self.spot() {
            Some(spot) => spot.path.clone(),
            None => self.line(),
        }
    }

    /// Whose code it is: `/app/dojo` for an agent, `gall` for a vane. Nothing for libraries, which work
    /// for who calls them, and for what tells no place.
    pub fn owner(&self) -> Option<String> {
        let path = &self.spot()?.path;
        let mut knots = path.split('/').skip(1).peekable();
        if knots.peek().is_some_and(|knot| knot.starts_with('~')) {
            knots.nth(BEAM_KNOTS - 1);
        }
        let (area, name) = (knots.next()?, knots.next()?);
        match (area, name) {
            ("sys", "vane") => knots.next().map(str::to_owned),
            ("sys", "arvo") => Some("arvo".to_owned()),
            ("app" | "ted" | "gen", name) => Some(format!("/{area}/{name}")),
            _ => None,
        }
    }

    fn spot(&self) -> Option<&Spot> {
        match self {
            Self::Spot(spot)
            | Self::Mean(MeanSite {
                spot: Some(spot), ..
            }) => Some(spot),
            Self::Mean(_) | Self::Text(_) | Self::Tag(_) => None,
        }
    }
}

impl fmt::Display for MeanSite {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(to, "%mean/{hint}@{:08x}", self.mug),
            None => write!(to, "%mean@{:08x}", self.mug),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(path: &str) -> Site {
        Site::Spot(Spot {
            path: path.to_owned(),
            line: 984,
            column: 7,
            end_line: 991,
            end_column: 22,
        })
    }

    #[test]
    fn names_follow_the_field() {
        assert_eq!(spot("/app/dojo/hoon").line(), "/app/dojo/hoon:984");
        assert_eq!(spot("/app/dojo/hoon").file(), "/app/dojo/hoon");
        let mut mean = MeanSite {
            mug: 0x1a2_b3c4,
            hint: Some("find".to_owned()),
            spot: None,
        };
        assert_eq!(Site::Mean(mean.clone()).line(), "%mean/find@01a2b3c4");
        mean.hint = None;
        assert_eq!(Site::Mean(mean).file(), "%mean@01a2b3c4");
    }

    #[test]
    fn the_owner_is_the_agent_or_vane() {
        for (path, owner) in [
            ("/app/dojo/hoon", Some("/app/dojo")),
            ("/~zod/base/4/app/dojo/hoon", Some("/app/dojo")),
            ("/sys/vane/gall/hoon", Some("gall")),
            ("/sys/arvo/hoon", Some("arvo")),
            ("/sys/zuse/hoon", None),
            ("/lib/strand/hoon", None),
            ("/app", None),
            ("/~zod", None),
        ] {
            assert_eq!(spot(path).owner().as_deref(), owner, "{path}");
        }
    }
}
