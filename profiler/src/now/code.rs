//! Whose code runs: the place in Hoon and the labels of agent and vane, from several looks.
//!
//! Mars writes to what is read meanwhile. A look that saw no sound list of hints is discarded and
//! counted; one that saw hints at the wrong moment may still be wrong, so a place is given with the
//! number of looks that saw it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::Moment;

/// What one look at the code saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodeLook {
    /// The list of hints.
    pub hints: Hints,
    /// Labels on the spin page, outermost first; nothing if there is no page, or it changed meanwhile.
    pub labels: Option<Vec<String>>,
}

/// The list of hints at one look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Hints {
    /// No sound list.
    #[default]
    Discarded,
    /// A list without a place that has a name.
    Nameless,
    /// The innermost place that has a name, and the agent or vane.
    Place {
        /// `/app/dojo/hoon:984`.
        place: String,
        /// `/app/dojo`.
        owner: Option<String>,
    },
}

/// Whose code runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CodeView {
    /// Looks at a computation.
    pub looks_total: u64,
    /// Of these, how many saw no sound list of hints.
    pub discarded_total: u64,
    /// Where it was at most looks; nothing if no look told.
    pub place: Option<Seen>,
    /// Where it was at the last look that told.
    pub last_place: Option<String>,
    /// The agent or vane at most looks, by its places.
    pub owner: Option<Seen>,
    /// The labels at most looks, outermost first, joined by ` > `; nothing if none were seen.
    pub labels: Option<Seen>,
}

/// What was seen, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// What.
    pub name: String,
    /// At how many looks.
    pub looks: u64,
}

/// Sums the looks up; nothing if none fell into a computation.
pub fn view(moments: &[Moment]) -> Option<CodeView> {
    let looks: Vec<&CodeLook> = moments.iter().filter_map(|m| m.code.as_ref()).collect();
    if looks.is_empty() {
        return None;
    }
    let discarded = looks.iter().filter(|look| look.hints == Hints::Discarded);
    let places = looks.iter().filter_map(|look| match &look.hints {
        Hints::Place { place, owner } => Some((place, owner.as_ref())),
        _ => None,
    });
    let labels: Vec<String> = looks
        .iter()
        .filter_map(|look| look.labels.as_ref())
        .filter(|labels| !labels.is_empty())
        .map(|labels| labels.join(" > "))
        .collect();
    Some(CodeView {
        looks_total: looks.len() as u64,
        discarded_total: discarded.count() as u64,
        place: most(places.clone().map(|(place, _)| place.as_str())),
        last_place: places.clone().next_back().map(|(place, _)| place.clone()),
        owner: most(places.filter_map(|(_, owner)| owner).map(String::as_str)),
        labels: most(labels.iter().map(String::as_str)),
    })
}

fn most<'a>(names: impl Iterator<Item = &'a str>) -> Option<Seen> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .min_by_key(|(name, looks)| (Reverse(*looks), *name));
    most.map(|(name, looks)| Seen {
        name: name.to_owned(),
        looks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(hints: Hints, labels: Option<&[&str]>) -> Moment {
        let labels = labels.map(|labels| labels.iter().map(|l| (*l).to_owned()).collect());
        Moment {
            code: Some(CodeLook { hints, labels }),
            ..Moment::default()
        }
    }

    fn place(place: &str, owner: Option<&str>) -> Hints {
        Hints::Place {
            place: place.to_owned(),
            owner: owner.map(str::to_owned),
        }
    }

    #[test]
    fn the_place_of_most_looks_is_told_with_their_number() {
        let gall: &[&str] = &["call/gall", "on-poke/dojo"];
        let moments = [
            Moment::default(),
            moment(place("/app/dojo/hoon:9", Some("/app/dojo")), Some(gall)),
            moment(Hints::Discarded, None),
            moment(place("/app/dojo/hoon:9", Some("/app/dojo")), Some(gall)),
            moment(Hints::Nameless, Some(&[])),
            moment(place("/lib/strand/hoon:3", Some("/app/dojo")), Some(gall)),
        ];
        let view = view(&moments).unwrap();
        let seen = |name: &str, looks| {
            Some(Seen {
                name: name.to_owned(),
                looks,
            })
        };
        assert_eq!((view.looks_total, view.discarded_total), (5, 1));
        assert_eq!(view.place, seen("/app/dojo/hoon:9", 2));
        assert_eq!(view.last_place.as_deref(), Some("/lib/strand/hoon:3"));
        assert_eq!(view.owner, seen("/app/dojo", 3));
        assert_eq!(view.labels, seen("call/gall > on-poke/dojo", 3));
        assert_eq!(super::view(&[Moment::default()]), None);
    }

    #[test]
    fn looks_that_tell_nothing_tell_no_place() {
        let view = view(&[
            moment(Hints::Discarded, None),
            moment(Hints::Nameless, None),
        ]);
        let view = view.unwrap();
        assert_eq!((view.place, view.owner, view.labels), (None, None, None));
    }
}
