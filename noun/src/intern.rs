//! Numbers for nouns such that equal nouns get equal numbers, in time linear in what is stored.

use std::collections::HashMap;
use std::sync::Arc;

use crate::noun::{Atom, Cell, Noun};

/// Identity of a noun by value, valid within one [`Interner`].
pub(crate) type Id = u32;

/// Tables of the distinct atoms and cells seen. It borrows what it saw, so that addresses stay unique.
#[derive(Default)]
pub(crate) struct Interner<'a> {
    atoms: HashMap<&'a Atom, Id>,
    cells: HashMap<(Id, Id), Id>,
    by_address: HashMap<*const Cell, Id>,
    next: Id,
}

enum Step<'a> {
    Visit(&'a Noun),
    Build(&'a Arc<Cell>),
}

impl<'a> Interner<'a> {
    /// The number of `noun`, and of everything in it.
    pub(crate) fn intern(&mut self, noun: &'a Noun) -> Id {
        let mut steps = vec![Step::Visit(noun)];
        let mut built = Vec::new();
        while let Some(step) = steps.pop() {
            match step {
                Step::Visit(Noun::Atom(atom)) => {
                    let next = &mut self.next;
                    built.push(*self.atoms.entry(atom).or_insert_with(|| take_next(next)));
                }
                Step::Visit(Noun::Cell(cell)) => match self.by_address.get(&Arc::as_ptr(cell)) {
                    Some(&id) => built.push(id),
                    None => {
                        steps.push(Step::Build(cell));
                        steps.push(Step::Visit(cell.tail()));
                        steps.push(Step::Visit(cell.head()));
                    }
                },
                Step::Build(cell) => {
                    let tail = built.pop().unwrap_or_default();
                    let head = built.pop().unwrap_or_default();
                    let next = &mut self.next;
                    let id = *self
                        .cells
                        .entry((head, tail))
                        .or_insert_with(|| take_next(next));
                    self.by_address.insert(Arc::as_ptr(cell), id);
                    built.push(id);
                }
            }
        }
        built.pop().unwrap_or_default()
    }

    /// The number of a noun that was part of an interned one.
    pub(crate) fn id_of(&self, noun: &Noun) -> Option<Id> {
        match noun {
            Noun::Atom(atom) => self.atoms.get(atom).copied(),
            Noun::Cell(cell) => self.by_address.get(&Arc::as_ptr(cell)).copied(),
        }
    }
}

fn take_next(next: &mut Id) -> Id {
    *next += 1;
    *next
}
