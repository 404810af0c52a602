//! In which order is measured. Each round is a window without the change and one with it, and every second
//! round is in the other order: what drifts steadily meanwhile then weighs on both alike.

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name, which is that of its folder too: `1-without`.
    pub name: String,
    /// Whether the changes are made in it.
    pub applied: bool,
}

/// The windows of so many rounds, the first without the change.
pub fn slots(rounds: u32) -> Vec<Slot> {
    (0..rounds)
        .flat_map(|round| {
            let first = round % 2 == 1;
            [first, !first].map(|applied| Slot {
                name: format!("{}-{}", round + 1, if applied { "with" } else { "without" }),
                applied,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_round_is_in_the_other_order() {
        let slots = slots(3);
        let names: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "1-without",
                "1-with",
                "2-with",
                "2-without",
                "3-without",
                "3-with"
            ]
        );
        assert!(
            slots
                .iter()
                .all(|slot| slot.applied != slot.name.contains("out"))
        );
    }
}
