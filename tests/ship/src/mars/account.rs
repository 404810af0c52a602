//! What lies in the loom, by owner, in the shape and with the names of a 4.6 ship (vere `mars.c`, `_mars_grab`;
//! `manage.c`, `u3m_mark`; urbit `arvo.hoon`, `+whey`, and `gall.hoon`, `/whey`). The sizes are made up: shares of the
//! heap that add up to it.

use noun::Noun;

/// The share of the heap that is holes, per mille.
pub const IDLE_PER_MILLE: u64 = 30;

/// A part, and its share of what has an owner, per mille; a group has that of its parts.
enum Part {
    Leaf(&'static str, u64),
    Group(&'static str, &'static [Part]),
}

use Part::{Group, Leaf};

/// The kernel's own account, then the runtime's.
const OWNERS: &[Part] = &[
    Group(
        "arvo",
        &[
            Group("hoon", &[Leaf("one", 20), Leaf("two", 20), Leaf("qua", 10)]),
            Leaf("pit", 30),
            Group("lull", &[Leaf("dot", 5), Leaf("typ", 15)]),
            Group("zuse", &[Leaf("dot", 10), Leaf("typ", 30)]),
            Group("vane", VANES),
        ],
    ),
    Group(
        "total arvo stuff",
        &[Leaf("kernel", 40), Leaf("wish cache", 5)],
    ),
    Group(
        "total jet stuff",
        &[Leaf("warm jet state", 10), Leaf("cold jet state", 35)],
    ),
    Group(
        "total nock stuff",
        &[Leaf("bytecode programs", 50), Leaf("bytecode cache", 10)],
    ),
    Group(
        "total road stuff",
        &[
            Leaf("namespace", 0),
            Leaf("persistent memoization cache", 30),
        ],
    ),
    Leaf("space profile", 1),
];

const VANES: &[Part] = &[
    Group("ames", &[Leaf("peers-known", 60), Leaf("peers-alien", 4)]),
    Group("behn", &[Leaf("timers", 1), Leaf("dot", 5)]),
    Group("clay", &[Leaf("domestic", 90), Leaf("object-store", 110)]),
    Group("eyre", &[Leaf("channels", 10)]),
    Group("gall", &[Leaf("foreign", 9), Group("active", AGENTS)]),
];

const AGENTS: &[Part] = &[
    Leaf("groups", 150),
    Leaf("chat", 110),
    Leaf("channels", 90),
    Leaf("hood", 20),
    Leaf("dojo", 15),
    Leaf("spider", 5),
];

/// `(list [name bytes (list …)])` of a heap with its holes.
pub fn parts(heap_bytes: u64, loom_bytes: u64) -> Noun {
    let idle = idle_bytes(heap_bytes);
    let whole: u64 = OWNERS.iter().map(Part::per_mille).sum();
    let owned = |part: &Part| part.noun(heap_bytes - idle, whole);
    let marked = OWNERS
        .iter()
        .map(|part| part.bytes(heap_bytes - idle, whole))
        .sum();
    let sums = [
        ("total marked", marked),
        ("free lists", idle),
        ("sweep", marked),
        // Sizes are counted in 32 bits.
        ("loom", loom_bytes & u64::from(u32::MAX)),
    ];
    let sums = sums.map(|(name, bytes)| part(name, bytes, Noun::null()));
    Noun::list(OWNERS.iter().map(owned).chain(sums).collect::<Vec<_>>())
}

/// The holes of a heap.
pub fn idle_bytes(heap_bytes: u64) -> u64 {
    heap_bytes * IDLE_PER_MILLE / 1000
}

impl Part {
    fn per_mille(&self) -> u64 {
        match self {
            Leaf(_, share) => *share,
            Group(_, parts) => parts.iter().map(Self::per_mille).sum(),
        }
    }

    fn bytes(&self, owned_bytes: u64, whole: u64) -> u64 {
        match self {
            Leaf(_, share) => owned_bytes * share / whole,
            Group(_, parts) => parts
                .iter()
                .map(|part| part.bytes(owned_bytes, whole))
                .sum(),
        }
    }

    fn noun(&self, owned_bytes: u64, whole: u64) -> Noun {
        let bytes = self.bytes(owned_bytes, whole);
        match self {
            Leaf(name, _) => part(name, bytes, Noun::null()),
            Group(name, parts) => {
                let parts = parts.iter().map(|part| part.noun(owned_bytes, whole));
                part(name, bytes, Noun::list(parts.collect::<Vec<_>>()))
            }
        }
    }
}

fn part(name: &str, bytes: u64, parts: Noun) -> Noun {
    Noun::tuple([Noun::cord(name), Noun::from(bytes), parts])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_add_up_to_what_is_marked() {
        let account = parts(64 << 20, 2 << 30);
        let items = account.as_list().unwrap();
        let bytes = |part: &&Noun| part.as_tuple::<3>().unwrap()[1].as_u64().unwrap();
        let (owners, sums) = items.split_at(OWNERS.len());
        assert_eq!(owners.iter().map(bytes).sum::<u64>(), bytes(&sums[0]));
        assert!(bytes(&sums[0]) + bytes(&sums[1]) <= 64 << 20);
        assert_eq!(bytes(&sums[3]), 2 << 30);
    }
}
