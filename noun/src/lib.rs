//! Urbit nouns as far as a tool outside the ship needs them: `jam` and `cue`, newt frames, cords and ship names.
//!
//! Everything here takes bytes that may come from anyone: decoding is bounded, never recurses, and answers with an
//! error instead of a panic.
//!
//! ```
//! use noun::{Noun, cue, jam};
//! let request = Noun::cell(Noun::from(1_u64), Noun::list([Noun::cord("live")]));
//! assert_eq!(cue(&jam(&request))?, request);
//! # Ok::<(), noun::CueError>(())
//! ```

mod bits;
mod cue;
mod intern;
mod jam;
pub mod murmur3;
pub mod newt;
mod noun;
mod prefix;
mod ship;
mod syllables;

pub use cue::{CueError, CueLimits, cue, cue_with};
pub use jam::jam;
pub use noun::{Atom, Cell, Noun};
pub use prefix::{Prefix, Token};
pub use ship::{ParseShipError, Rank, Ship};
