//! What lies in a ship's loom, by owner, as the ship itself counts it (`%peel /mass`), and how its free
//! memory is broken up (`%peel /quic`).
//!
//! vere counts each noun once, for the first owner that it meets: agents and vanes, then the rest of the
//! kernel, then its own caches. So a part says what it has beside those before it, and parts sum.

use serde::{Deserialize, Serialize};

/// Version of [`Mass`] and of [`Fragmentation`] as JSON.
pub const SCHEMA_VERSION: u32 = 1;

/// Deepest part that is taken: an agent's own account lies six deep.
pub const MAX_DEPTH: usize = 32;

/// What vere appends to the list of owners (`pkg/vere/mars.c`, `_mars_grab`), and is none.
const MARKED: &str = "total marked";
const IDLE: &str = "free lists";
const SWEPT: &str = "sweep";
const LOOM: &str = "loom";

/// From here on holes are worth packing: the share of the heap that they are.
pub const MUCH_IDLE_RATIO: f64 = 0.10;

/// What collecting took of a heap of 48 MB (measured on vere 4.6).
const MEASURED_NS: u64 = 94_000_000;
const MEASURED_BYTES: u64 = 48_000_000;

/// A part of the loom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Who owns it, in the ship's own words.
    pub name: String,
    /// What it takes, its parts included. vere counts in 32 bits, so 4 GiB begin at zero again.
    pub bytes: u64,
    /// What it consists of; may be nothing, and may sum to less.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// The account of a loom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mass {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The ship.
    pub ship: String,
    /// When it was asked, `CLOCK_REALTIME`.
    pub taken_unix_ns: u64,
    /// From the question to the answer: for so long the ship computed nothing else, but for what was before
    /// it.
    pub took_ns: u64,
    /// Size of the loom, by the ship's arguments.
    pub loom_bytes: Option<u64>,
    /// All that has an owner.
    pub marked_bytes: Option<u64>,
    /// Holes in the heap.
    pub idle_bytes: Option<u64>,
    /// The owners, as the ship lists them.
    pub parts: Vec<Part>,
}

impl Mass {
    /// Of what the ship answered.
    pub fn new(
        ship: String,
        (taken_unix_ns, took_ns): (u64, u64),
        loom_bytes: Option<u64>,
        answered: Vec<Part>,
    ) -> Self {
        let sum = |name: &str| answered.iter().find(|part| part.name == name);
        let [marked_bytes, idle_bytes] =
            [MARKED, IDLE].map(|name| sum(name).map(|part| part.bytes));
        let is_owner = |part: &Part| ![MARKED, IDLE, SWEPT, LOOM].contains(&part.name.as_str());
        Self {
            schema_version: SCHEMA_VERSION,
            ship,
            taken_unix_ns,
            took_ns,
            loom_bytes,
            marked_bytes,
            idle_bytes,
            parts: answered.into_iter().filter(is_owner).collect(),
        }
    }

    /// What shares are of: all that has an owner.
    pub fn whole_bytes(&self) -> u64 {
        let sum = || self.parts.iter().map(|part| part.bytes).sum();
        self.marked_bytes.unwrap_or_else(sum)
    }

    /// The share of holes in the heap; nothing if the ship did not say.
    pub fn idle_ratio(&self) -> Option<f64> {
        let idle = self.idle_bytes?;
        let heap = idle.saturating_add(self.marked_bytes?);
        (heap > 0).then(|| idle as f64 / heap as f64)
    }

    /// The agents, the largest first; none if the account has no such part.
    pub fn agents(&self) -> Vec<&Part> {
        let agents = find(&self.parts, "gall")
            .and_then(|gall| gall.parts.iter().find(|part| AGENTS.contains(&&*part.name)));
        sorted(agents.map_or(&[], |agents| &agents.parts))
    }
}

/// How Gall calls its agents (urbit `pkg/arvo/sys/vane/gall.hoon`, `/whey`).
const AGENTS: [&str; 2] = ["active", "running"];

/// The first part of this name, at any depth.
fn find<'a>(parts: &'a [Part], name: &str) -> Option<&'a Part> {
    let here = parts.iter().find(|part| part.name == name);
    here.or_else(|| parts.iter().find_map(|part| find(&part.parts, name)))
}

/// The largest first, and of equal ones by name.
pub fn sorted(parts: &[Part]) -> Vec<&Part> {
    let mut sorted: Vec<&Part> = parts.iter().collect();
    sorted.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    sorted
}

/// How free memory is broken up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fragmentation {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The ship.
    pub ship: String,
    /// When it was asked, `CLOCK_REALTIME`.
    pub taken_unix_ns: u64,
    /// From the question to the answer.
    pub took_ns: u64,
    /// Free in one piece, between heap and stack.
    pub open_bytes: u64,
    /// Free in pieces, in the heap: a result may lie there, a computation needs what is open.
    pub idle_bytes: u64,
    /// The heap with its holes, by the head of the loom; nothing if that cannot be read.
    pub heap_bytes: Option<u64>,
}

impl Fragmentation {
    /// The share of holes in the heap; nothing if its size is not known.
    pub fn idle_ratio(&self) -> Option<f64> {
        let heap = self.heap_bytes.filter(|heap| *heap > 0)?;
        Some(self.idle_bytes as f64 / heap as f64)
    }
}

/// What asking costs the ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// About so long, for a heap of this size.
    About {
        /// The heap.
        heap_bytes: u64,
        /// How long the ship stands still.
        ns: u64,
    },
    /// At most so long, because the loom is no larger.
    AtMost {
        /// The loom.
        loom_bytes: u64,
        /// How long the ship stands still.
        ns: u64,
    },
    /// Neither size is known.
    Unknown,
}

impl Cost {
    /// By the heap, or where that cannot be read, by the loom.
    pub fn of(heap_bytes: Option<u64>, loom_bytes: Option<u64>) -> Self {
        let ns = |bytes: u64| {
            let ns = u128::from(bytes) * u128::from(MEASURED_NS) / u128::from(MEASURED_BYTES);
            u64::try_from(ns).unwrap_or(u64::MAX)
        };
        match (heap_bytes, loom_bytes) {
            (Some(heap_bytes), _) => Self::About {
                heap_bytes,
                ns: ns(heap_bytes),
            },
            (None, Some(loom_bytes)) => Self::AtMost {
                loom_bytes,
                ns: ns(loom_bytes),
            },
            (None, None) => Self::Unknown,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn leaf(name: &str, bytes: u64) -> Part {
        group(name, bytes, Vec::new())
    }

    fn group(name: &str, bytes: u64, parts: Vec<Part>) -> Part {
        Part {
            name: name.to_owned(),
            bytes,
            parts,
        }
    }

    /// A ship's account in the shape that 4.6 gives it.
    pub fn mass() -> Mass {
        let agents = vec![
            leaf("dojo", 300_000),
            leaf("groups", 9_000_000),
            leaf("chat", 5_000_000),
            leaf("evil\u{1b}[31m", 400_000),
        ];
        let gall = vec![
            leaf("foreign", 100_000),
            group("active", 14_700_000, agents),
        ];
        let vane = vec![
            leaf("ames", 2_000_000),
            group("gall", 14_800_000, gall),
            leaf("clay", 11_000_000),
        ];
        let arvo = vec![
            leaf("hoon", 4_000_000),
            group("vane", 27_800_000, vane),
            leaf("zuse", 1_000_000),
        ];
        let road = vec![leaf("namespace", 0), leaf("free list", 50_000)];
        let answered = vec![
            group("arvo", 32_800_000, arvo),
            group(
                "total arvo stuff",
                3_000_000,
                vec![leaf("kernel", 3_000_000)],
            ),
            group("total road stuff", 50_000, road),
            leaf("space profile", 12_936),
            leaf(MARKED, 35_862_936),
            leaf(IDLE, 4_900_000),
            leaf(SWEPT, 35_862_936),
            leaf(LOOM, 0),
        ];
        let taken = (1_790_000_000_000_000_000, 94_000_000);
        Mass::new("~zod".to_owned(), taken, Some(2 << 30), answered)
    }

    #[test]
    fn sums_are_no_owners() {
        let mass = mass();
        let names: Vec<&str> = mass.parts.iter().map(|part| part.name.as_str()).collect();
        let owners = [
            "arvo",
            "total arvo stuff",
            "total road stuff",
            "space profile",
        ];
        assert_eq!(names, owners);
        assert_eq!(
            (mass.whole_bytes(), mass.idle_bytes),
            (35_862_936, Some(4_900_000))
        );
        let idle = mass.idle_ratio().unwrap();
        assert!((0.119..0.121).contains(&idle), "{idle}");
    }

    #[test]
    fn agents_are_found_wherever_gall_is() {
        let mut mass = mass();
        let names = |mass: &Mass| -> Vec<String> {
            mass.agents().iter().map(|part| part.name.clone()).collect()
        };
        assert_eq!(names(&mass), ["groups", "chat", "evil\u{1b}[31m", "dojo"]);
        mass.parts.remove(0);
        assert!(names(&mass).is_empty());
    }

    #[test]
    fn what_was_not_said_is_not_zero() {
        let mass = Mass::new("~zod".to_owned(), (0, 0), None, vec![leaf("arvo", 7)]);
        assert_eq!((mass.marked_bytes, mass.idle_ratio()), (None, None));
        assert_eq!(mass.whole_bytes(), 7);
    }

    #[test]
    fn the_cost_is_by_the_heap_or_at_most_by_the_loom() {
        let about = Cost::About {
            heap_bytes: 480_000_000,
            ns: 940_000_000,
        };
        assert_eq!(Cost::of(Some(480_000_000), Some(2 << 30)), about);
        assert!(
            matches!(Cost::of(None, Some(1 << 31)), Cost::AtMost { ns, .. } if ns > 4_000_000_000)
        );
        assert_eq!(Cost::of(None, None), Cost::Unknown);
    }
}
