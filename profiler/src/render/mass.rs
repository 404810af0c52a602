//! What lies in a loom, for people and for programs.

use super::page::{Page, WIDTH};
use super::{harmless, moment};
use crate::mass::{Cost, Fragmentation, MUCH_IDLE_RATIO, Mass, Part, sorted};
use crate::report::units::{bytes, duration, percent};

/// Parts with a smaller share of the whole are summed up in one line.
const MIN_RATIO: f64 = 0.01;
/// Columns of sizes, and of shares.
const BYTES: usize = 12;
const SHARE: usize = 9;
/// Columns of names.
const NAME: usize = WIDTH - BYTES - SHARE;
/// Most agents that are named below the tree.
const MOST_AGENTS: usize = 5;

/// What asking costs, before it is asked.
pub fn cost(ship: &str, cost: Cost) -> String {
    let how_long = match cost {
        Cost::About { heap_bytes, ns } => format!(
            "about {} for its heap of {}",
            duration(ns),
            bytes(heap_bytes)
        ),
        Cost::AtMost { loom_bytes, ns } => format!(
            "at most about {}, were its loom of {} full (as root the heap itself could be looked at)",
            duration(ns),
            bytes(loom_bytes)
        ),
        Cost::Unknown => "2 s for each GiB of its heap".to_owned(),
    };
    let mut page = Page::default();
    page.wrapped(
        "",
        &format!(
            "{ship} stands still while it counts its memory: {how_long}, and longer where parts of it are \
             on disk or in swap. Until then it computes no event and answers nobody; it cannot be \
             called off."
        ),
    );
    page.into_text()
}

/// The tree of owners, so many levels deep.
pub fn text(mass: &Mass, depth: usize) -> String {
    let mut page = Page::default();
    let (when, took) = (moment(mass.taken_unix_ns), duration(mass.took_ns));
    page.wrapped(
        "",
        &format!("{}   asked {when} UTC, answered after {took}", mass.ship),
    );
    page.wrapped("", &sums(mass));
    page.blank();
    page.line(&row("IN THE LOOM, by owner", "size", "share"));
    let tree = Tree {
        whole: mass.whole_bytes(),
        depth,
    };
    tree.parts(&mut page, &mass.parts, 0);
    agents(&mut page, mass);
    advice(&mut page, mass.idle_ratio());
    page.into_text()
}

/// Sizes of the whole, as far as the ship said them.
fn sums(mass: &Mass) -> String {
    let mut text = format!("{} in use", bytes(mass.whole_bytes()));
    if let Some(idle) = mass.idle_bytes {
        let share = mass.idle_ratio().map_or(String::new(), |ratio| {
            format!(" ({} of the heap)", percent(ratio))
        });
        text.push_str(&format!(", {} of holes between{share}", bytes(idle)));
    }
    if let Some(loom) = mass.loom_bytes {
        text.push_str(&format!(", loom {}", bytes(loom)));
    }
    text
}

/// How the tree is shown.
struct Tree {
    whole: u64,
    depth: usize,
}

impl Tree {
    fn parts(&self, page: &mut Page, parts: &[Part], level: usize) {
        let shown = |part: &&&Part| self.ratio(part.bytes) >= MIN_RATIO;
        let sorted = sorted(parts);
        let large = sorted.iter().take_while(shown).count();
        // One line for one part says more with its name.
        let named = if sorted.len() == large + 1 {
            large + 1
        } else {
            large
        };
        for part in sorted.iter().take(named) {
            self.line(page, &part.name, part.bytes, level);
            if level + 1 < self.depth && self.ratio(part.bytes) >= MIN_RATIO {
                self.parts(page, &part.parts, level + 1);
            }
        }
        let rest: Vec<u64> = sorted.iter().skip(named).map(|part| part.bytes).collect();
        let sum = rest.iter().copied().fold(0, u64::saturating_add);
        if sum > 0 {
            self.line(page, &format!("{} smaller ones", rest.len()), sum, level);
        }
    }

    fn line(&self, page: &mut Page, name: &str, size: u64, level: usize) {
        let name = format!("{:indent$}{}", "", harmless(name), indent = 2 * level);
        let share = match size <= self.whole {
            true => percent(self.ratio(size)),
            // Sizes are counted in 32 bits: the whole began anew at 4 GiB.
            false => "-".to_owned(),
        };
        page.line(&row(&name, &bytes(size), &share));
    }

    /// The share of the whole; none of nothing.
    fn ratio(&self, size: u64) -> f64 {
        match self.whole {
            0 => 0.0,
            whole => size as f64 / whole as f64,
        }
    }
}

fn row(name: &str, size: &str, share: &str) -> String {
    let name = match name.chars().count() <= NAME {
        true => name.to_owned(),
        false => name.chars().take(NAME - 1).chain(['…']).collect(),
    };
    format!("{name:<NAME$}{size:>BYTES$}{share:>SHARE$}")
}

fn agents(page: &mut Page, mass: &Mass) {
    let agents = mass.agents();
    if agents.is_empty() {
        return;
    }
    let named: Vec<String> = agents
        .iter()
        .take(MOST_AGENTS)
        .map(|agent| format!("%{} {}", agent.name, bytes(agent.bytes)))
        .collect();
    page.blank();
    page.wrapped("LARGEST AGENTS  ", &named.join(" · "));
}

fn advice(page: &mut Page, idle_ratio: Option<f64>) {
    page.blank();
    page.wrapped(
        "",
        &match much_idle(idle_ratio) {
            Some(ratio) => format!(
                "{} of the heap are holes, which |pack joins: profile catalogue pack. What to do about \
                 large agents: profile catalogue suspend-apps",
                percent(ratio)
            ),
            None => "What to do about it: profile catalogue suspend-apps, meld".to_owned(),
        },
    );
}

fn much_idle(idle_ratio: Option<f64>) -> Option<f64> {
    idle_ratio.filter(|ratio| *ratio >= MUCH_IDLE_RATIO)
}

/// As JSON, all of the tree.
///
/// # Errors
/// Never seen: it holds nothing that JSON cannot.
pub fn json(mass: &Mass) -> serde_json::Result<String> {
    super::json::pretty(mass)
}

/// How free memory is broken up.
pub fn fragmentation(free: &Fragmentation) -> String {
    let mut page = Page::default();
    let (when, took) = (moment(free.taken_unix_ns), duration(free.took_ns));
    page.wrapped(
        "",
        &format!("{}   asked {when} UTC, answered after {took}", free.ship),
    );
    page.blank();
    let share = match (free.heap_bytes, free.idle_ratio()) {
        (Some(heap), Some(ratio)) => format!("{} of the heap of {}", percent(ratio), bytes(heap)),
        _ => "share not known: the size of the heap cannot be read (run as root)".to_owned(),
    };
    for (name, size, text) in [
        (
            "open",
            free.open_bytes,
            "in one piece: what events compute in",
        ),
        (
            "idle",
            free.idle_bytes,
            "holes in the heap, of use for results only",
        ),
        ("", 0, &share),
    ] {
        let size = if name.is_empty() {
            String::new()
        } else {
            bytes(size)
        };
        page.hanging(&format!("{name:<6}{size:>BYTES$}   "), 21, text);
    }
    if free.idle_ratio().is_some() {
        page.blank();
        page.line(match much_idle(free.idle_ratio()) {
            Some(_) => "|pack joins them: profile catalogue pack",
            None => "So few are not worth a |pack.",
        });
    }
    page.into_text()
}

/// The same as JSON.
///
/// # Errors
/// Never seen: it holds nothing that JSON cannot.
pub fn fragmentation_json(free: &Fragmentation) -> serde_json::Result<String> {
    super::json::pretty(free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mass::SCHEMA_VERSION;
    use crate::mass::tests::mass;

    const TREE: &str = "\
~zod   asked 2026-09-21 14:13 UTC, answered after 94 ms
34.2 MiB in use, 4.7 MiB of holes between (12.0 % of the heap), loom 2.0 GiB

IN THE LOOM, by owner                                              size    share
arvo                                                           31.3 MiB   91.5 %
  vane                                                         26.5 MiB   77.5 %
    gall                                                       14.1 MiB   41.3 %
      active                                                   14.0 MiB   41.0 %
        groups                                                  8.6 MiB   25.1 %
        chat                                                    4.8 MiB   13.9 %
        evil\\u{1b}[31m                                        390.6 KiB    1.1 %
        dojo                                                  293.0 KiB    0.8 %
      foreign                                                  97.7 KiB    0.3 %
    clay                                                       10.5 MiB   30.7 %
    ames                                                        1.9 MiB    5.6 %
  hoon                                                          3.8 MiB   11.2 %
  zuse                                                        976.6 KiB    2.8 %
total arvo stuff                                                2.9 MiB    8.4 %
  kernel                                                        2.9 MiB    8.4 %
2 smaller ones                                                 61.5 KiB    0.2 %

LARGEST AGENTS  %groups 8.6 MiB · %chat 4.8 MiB · %evil\\u{1b}[31m 390.6 KiB ·
                %dojo 293.0 KiB

12.0 % of the heap are holes, which |pack joins: profile catalogue pack. What to
do about large agents: profile catalogue suspend-apps
";

    const FREE: &str = "\
~zod   asked 2026-09-21 14:13 UTC, answered after 0.2 ms

open       2.0 GiB   in one piece: what events compute in
idle       4.6 MiB   holes in the heap, of use for results only
                     12.0 % of the heap of 38.1 MiB

|pack joins them: profile catalogue pack
";

    fn assert_fits(text: &str) {
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_tree_fits_a_screen() {
        let tree = text(&mass(), 5);
        assert_fits(&tree);
        assert_eq!(tree, TREE);
        let shallow = text(&mass(), 2);
        assert!(shallow.contains("\n  vane ") && !shallow.contains("gall "));
        assert!(shallow.contains("%groups"));
    }

    #[test]
    fn long_names_are_cut_and_nothing_is_divided_by_nothing() {
        let mut odd = mass();
        odd.parts[0].name = "\u{1b}".repeat(100);
        assert_fits(&text(&odd, 32));
        assert!(!json(&odd).unwrap().contains('\u{1b}'));
        odd.marked_bytes = Some(0);
        assert!(!text(&odd, 32).contains("NaN"));
        // Sizes begin anew at 4 GiB, so a part may be larger than the whole.
        odd.marked_bytes = Some(1);
        assert_fits(&text(&odd, 32));
    }

    #[test]
    fn holes_are_shown_beside_the_heap_or_without_a_share() {
        let mut free = Fragmentation {
            schema_version: SCHEMA_VERSION,
            ship: "~zod".to_owned(),
            taken_unix_ns: 1_790_000_000_000_000_000,
            took_ns: 200_000,
            open_bytes: 2 << 30,
            idle_bytes: 4_800_000,
            heap_bytes: Some(40_000_000),
        };
        assert_eq!(fragmentation(&free), FREE);
        free.idle_bytes = 4_000;
        assert!(fragmentation(&free).contains("not worth a |pack"));
        free.heap_bytes = None;
        let text = fragmentation(&free);
        assert_fits(&text);
        assert!(text.contains("share not known") && !text.contains("|pack"));
    }

    #[test]
    fn what_it_costs_is_said_whatever_is_known() {
        for (heap, loom, words) in [
            (
                Some(48_000_000),
                None,
                "about 94 ms for its heap of 45.8 MiB",
            ),
            (None, Some(1 << 31), "at most about 4.21 s"),
            (None, None, "2 s for each GiB"),
        ] {
            let text = cost("~zod", Cost::of(heap, loom));
            assert_fits(&text);
            assert!(text.replace('\n', " ").contains(words), "{text}");
        }
    }
}
