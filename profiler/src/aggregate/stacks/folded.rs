//! Stacks with their weights, each frame's name once.

use std::collections::BTreeMap;

use super::{Layer, StackFrame};

/// Number of a frame in its [`Folded`].
pub type FrameId = u32;

/// What was under a stack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Time in ns; faults, where the time of none was measured.
    pub total: u64,
    /// How many samples, waits or faults.
    pub count: u64,
    /// The sum of the squares of their times: what a sum of so many random parts varies by.
    pub squares: u128,
}

impl Weight {
    /// Of `count` parts that are alike and sum to `total`.
    pub fn of(total: u64, count: u64) -> Self {
        let part = u128::from(total / count.max(1));
        Self {
            total,
            count,
            squares: part.saturating_mul(part).saturating_mul(count.into()),
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.count = self.count.saturating_add(other.count);
        self.squares = self.squares.saturating_add(other.squares);
    }
}

/// Weights of one frame, or of all: those of a capture, and those of the one that it is compared with.
pub type Sides = [Weight; 2];

/// Stacks, outermost frame first, with their weights.
#[derive(Debug, Default)]
pub struct Folded {
    frames: Vec<StackFrame>,
    ids: BTreeMap<StackFrame, FrameId>,
    stacks: BTreeMap<Vec<FrameId>, Sides>,
}

/// One frame of the tree that stacks make, each behind the one that it is in.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// How many frames it is in.
    pub depth: usize,
    /// Which frame.
    pub frame: &'a StackFrame,
    /// The row that it is in; nothing for an outermost frame.
    pub parent: Option<usize>,
    /// Of the stacks that end with it.
    pub own: Sides,
    /// Of these and all that go on from it.
    pub sum: Sides,
}

impl Folded {
    /// The number of a frame, which it is given if it has none.
    pub fn id(&mut self, frame: StackFrame) -> FrameId {
        if let Some(id) = self.ids.get(&frame) {
            return *id;
        }
        // A capture has fewer frames than bytes, and those are below 4 GiB.
        let id = self.frames.len() as FrameId;
        self.frames.push(frame.clone());
        self.ids.insert(frame, id);
        id
    }

    /// The number of a frame by its parts.
    pub fn named(&mut self, name: impl Into<String>, layer: Layer) -> FrameId {
        self.id(StackFrame {
            name: name.into(),
            layer,
        })
    }

    /// A frame by its number.
    pub fn frame(&self, id: FrameId) -> &StackFrame {
        &self.frames[id as usize]
    }

    /// Adds to a stack of one side: 0 is the capture, 1 what it is compared with.
    pub fn add(&mut self, stack: Vec<FrameId>, side: usize, weight: Weight) {
        if weight.total > 0 && !stack.is_empty() {
            self.stacks.entry(stack).or_default()[side].add(weight);
        }
    }

    /// Whether there is no stack of one side.
    pub fn is_empty(&self, side: usize) -> bool {
        self.stacks.values().all(|sides| sides[side].total == 0)
    }

    /// All weights.
    pub fn total(&self) -> Sides {
        let mut total = Sides::default();
        for sides in self.stacks.values() {
            add(&mut total, sides);
        }
        total
    }

    /// Stacks and the weights of the capture, in the order of their names.
    pub fn stacks(&self) -> Vec<(Vec<&StackFrame>, Weight)> {
        let mut stacks: Vec<(Vec<&StackFrame>, Weight)> = self
            .stacks
            .iter()
            .filter(|(_, sides)| sides[0].total > 0)
            .map(|(ids, sides)| (ids.iter().map(|id| self.frame(*id)).collect(), sides[0]))
            .collect();
        stacks.sort_by(|(one, _), (other, _)| one.cmp(other));
        stacks
    }

    /// The tree that the stacks make: frames in the order of their names, each followed by those in it.
    pub fn rows(&self) -> Vec<Row<'_>> {
        // Names are compared once, and not for each stack.
        let ranks: BTreeMap<FrameId, u32> = (0..)
            .zip(self.ids.values())
            .map(|(r, id)| (*id, r))
            .collect();
        let mut stacks: Vec<(Vec<(u32, FrameId)>, &Sides)> = self
            .stacks
            .iter()
            .map(|(ids, sides)| (ids.iter().map(|id| (ranks[id], *id)).collect(), sides))
            .collect();
        stacks.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut rows: Vec<Row<'_>> = Vec::new();
        // The rows of the stack before, outermost first.
        let mut path: Vec<usize> = Vec::new();
        let mut last: &[(u32, FrameId)] = &[];
        for (stack, sides) in &stacks {
            let shared = last.iter().zip(stack).take_while(|(a, b)| a == b).count();
            path.truncate(shared);
            for (_, id) in &stack[shared..] {
                rows.push(Row {
                    depth: path.len(),
                    frame: self.frame(*id),
                    parent: path.last().copied(),
                    own: Sides::default(),
                    sum: Sides::default(),
                });
                path.push(rows.len() - 1);
            }
            if let Some(innermost) = path.last() {
                rows[*innermost].own = **sides;
            }
            for row in &path {
                add(&mut rows[*row].sum, sides);
            }
            last = stack;
        }
        rows
    }
}

fn add(to: &mut Sides, more: &Sides) {
    for (to, more) in to.iter_mut().zip(more) {
        to.add(*more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_make_a_tree_whose_sums_are_theirs() {
        let mut folded = Folded::default();
        // In an order that is not that of the names.
        let [b, a, c] = ["b", "a", "c"].map(|name| folded.named(name, Layer::Vere));
        folded.add(vec![b], 0, Weight::of(5, 1));
        folded.add(vec![a, c], 0, Weight::of(20, 2));
        folded.add(vec![a, b], 1, Weight::of(7, 1));
        folded.add(vec![a], 0, Weight::of(1, 1));
        folded.add(vec![a], 0, Weight::of(0, 0));
        assert_eq!(folded.named("b", Layer::Vere), b);
        let rows: Vec<_> = folded
            .rows()
            .iter()
            .map(|row| {
                let totals = |sides: Sides| sides.map(|side| side.total);
                (
                    row.depth,
                    row.frame.name.clone(),
                    row.parent,
                    totals(row.own),
                    totals(row.sum),
                )
            })
            .collect();
        let row = |depth, name: &str, parent, own, sum| (depth, name.to_owned(), parent, own, sum);
        assert_eq!(
            rows,
            [
                row(0, "a", None, [1, 0], [21, 7]),
                row(1, "b", Some(0), [0, 7], [0, 7]),
                row(1, "c", Some(0), [20, 0], [20, 0]),
                row(0, "b", None, [5, 0], [5, 0]),
            ]
        );
        assert_eq!(folded.total().map(|side| side.total), [26, 7]);
        assert_eq!(folded.total()[0].squares, 1 + 25 + 200);
        assert_eq!(folded.stacks().len(), 3);
    }
}
