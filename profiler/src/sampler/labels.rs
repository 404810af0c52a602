//! Which agents and vanes ran in a window, by the labels on mars' spin page: looks at it, and what
//! they say of the time.

use std::collections::BTreeMap;

use crate::model::TopStacks;

/// What stands for computing under no label.
const NO_LABEL: &str = "[no label]";
/// What stands for stacks that there were too many of.
const OTHERS: &str = "[other labels]";
/// Most stacks of labels that a window tells apart, most labels of one, and most letters of a label:
/// the page belongs to the ship, which may write anything.
const MAX_STACKS: usize = 256;
const MAX_LABELS: usize = 32;
const MAX_LETTERS: usize = 64;
/// Looks at a computation after which labels would have been seen, if the ship's kernel left any.
const ENOUGH: u64 = 20;

/// What one look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// These labels, outermost first.
    Labels(Vec<String>),
    /// A computation under none.
    NoLabel,
    /// No computation.
    Idle,
    /// Nothing that could be read.
    Unreadable,
}

/// The looks of a window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSums {
    looks: u64,
    unlabelled: u64,
    unreadable: u64,
    stacks: BTreeMap<Vec<String>, u64>,
    /// Why there were none.
    missing: Option<String>,
}

impl LabelSums {
    /// Of a ship without a page.
    pub fn missing(why: String) -> Self {
        Self {
            missing: Some(why),
            ..Self::default()
        }
    }

    /// Adds a look.
    pub fn note(&mut self, look: Look) {
        self.looks += 1;
        match look {
            Look::Idle => {}
            Look::NoLabel => self.unlabelled += 1,
            Look::Unreadable => self.unreadable += 1,
            Look::Labels(labels) => {
                let cut = |label: &String| label.chars().take(MAX_LETTERS).collect();
                let mut labels: Vec<String> = labels.iter().take(MAX_LABELS).map(cut).collect();
                if self.stacks.len() >= MAX_STACKS && !self.stacks.contains_key(&labels) {
                    labels = vec![OTHERS.to_owned()];
                }
                *self.stacks.entry(labels).or_default() += 1;
            }
        }
    }

    /// Time by labels in a window of this length: each look stands for the time to the next. Nothing if
    /// no label was seen.
    pub fn top(&self, duration_ns: u64) -> Option<TopStacks> {
        if self.stacks.is_empty() {
            return None;
        }
        let readable = self.looks - self.unreadable;
        let time = |looks: u64| {
            let ns = u128::from(duration_ns) * u128::from(looks) / u128::from(readable.max(1));
            u64::try_from(ns).unwrap_or(duration_ns)
        };
        let stacks = self
            .stacks
            .iter()
            .map(|(labels, looks)| (labels.clone(), time(*looks)));
        let unlabelled = (vec![NO_LABEL.to_owned()], time(self.unlabelled));
        let all = stacks.chain([unlabelled]).filter(|(_, ns)| *ns > 0);
        Some(TopStacks::keep(all.collect()))
    }

    /// What could not be measured, and why.
    pub fn lack(&self) -> Option<String> {
        let why = match &self.missing {
            Some(why) => why.clone(),
            None if self.stacks.is_empty() && self.unlabelled >= ENOUGH => {
                "the ship's kernel leaves no %spin labels".to_owned()
            }
            None if self.looks > 0 && self.unreadable * 2 > self.looks => {
                "the spin page could not be read at most looks".to_owned()
            }
            None => return None,
        };
        Some(format!("agents and vanes ({why})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(list: &[&str]) -> Look {
        Look::Labels(list.iter().map(|label| (*label).to_owned()).collect())
    }

    #[test]
    fn looks_stand_for_time() {
        let mut sums = LabelSums::default();
        for _ in 0..6 {
            sums.note(labels(&["call/gall", "on-poke/dojo"]));
        }
        sums.note(labels(&["call/ames"]));
        sums.note(Look::NoLabel);
        (0..12).for_each(|_| sums.note(Look::Idle));
        sums.note(Look::Unreadable);
        let top = sums.top(60_000).unwrap();
        let found: Vec<_> = top
            .top
            .iter()
            .map(|s| (s.frames.join(" "), s.weight_ns))
            .collect();
        let stack = |name: &str, ns| (name.to_owned(), ns);
        assert_eq!(
            found,
            [
                stack("call/gall on-poke/dojo", 18_000),
                stack("[no label]", 3_000),
                stack("call/ames", 3_000),
            ]
        );
        assert_eq!(sums.lack(), None);
    }

    #[test]
    fn what_was_not_seen_is_not_nothing() {
        let mut none = LabelSums::default();
        (0..50).for_each(|_| none.note(Look::Idle));
        assert_eq!((none.top(1), none.lack()), (None, None));
        (0..20).for_each(|_| none.note(Look::NoLabel));
        assert_eq!(none.top(1), None);
        assert!(none.lack().unwrap().contains("%spin"));
        let why = "no page".to_owned();
        assert!(LabelSums::missing(why).lack().unwrap().contains("no page"));
    }

    #[test]
    fn a_ship_that_writes_anything_fills_no_memory() {
        let mut sums = LabelSums::default();
        for i in 0..10_000 {
            sums.note(Look::Labels(vec![format!("{i}-{}", "x".repeat(5000)); 50]));
        }
        assert!(sums.stacks.len() <= MAX_STACKS + 1);
        let longest = sums.stacks.keys().flatten().map(|label| label.len()).max();
        assert!(longest.unwrap() <= MAX_LETTERS);
        let widest = sums.stacks.keys().map(Vec::len).max();
        assert_eq!(widest, Some(MAX_LABELS));
    }
}
