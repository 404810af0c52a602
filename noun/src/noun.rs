//! A noun: an atom, which is a natural number of any size, or a cell, which is a pair of nouns.

use std::fmt;
use std::sync::Arc;

use crate::intern::Interner;

/// An atom or a cell. Cloning shares; nothing in a noun can change.
#[derive(Clone)]
pub enum Noun {
    /// A natural number.
    Atom(Atom),
    /// A pair.
    Cell(Arc<Cell>),
}

/// A natural number of any size.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Atom(Size);

/// Numbers up to 64 bits are never stored as bytes, so equal atoms are equal in form.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Size {
    Small(u64),
    /// Little-endian, more than 8 bytes, the last of them not zero.
    Large(Arc<[u8]>),
}

/// A pair of nouns.
pub struct Cell {
    head: Noun,
    tail: Noun,
}

impl Atom {
    /// The number whose little-endian bytes these are.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let length = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let bytes = &bytes[..length];
        let mut word = [0; 8];
        match word.get_mut(..length) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Self(Size::Small(u64::from_le_bytes(word)))
            }
            None => Self(Size::Large(bytes.into())),
        }
    }

    /// Little-endian bytes without trailing zeros; none for 0.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = match &self.0 {
            Size::Small(number) => number.to_le_bytes().to_vec(),
            Size::Large(bytes) => return bytes.to_vec(),
        };
        bytes.truncate(self.bit_length().div_ceil(8) as usize);
        bytes
    }

    /// The number, if it fits.
    pub fn as_u64(&self) -> Option<u64> {
        match &self.0 {
            Size::Small(number) => Some(*number),
            Size::Large(_) => None,
        }
    }

    /// The number, if it fits.
    pub fn as_u128(&self) -> Option<u128> {
        match &self.0 {
            Size::Small(number) => Some(u128::from(*number)),
            Size::Large(bytes) => {
                let mut word = [0; 16];
                word.get_mut(..bytes.len())?.copy_from_slice(bytes);
                Some(u128::from_le_bytes(word))
            }
        }
    }

    /// Bits without leading zeros; 0 for the number 0. Hoon's `met 0`.
    pub fn bit_length(&self) -> u64 {
        match &self.0 {
            Size::Small(number) => u64::from(64 - number.leading_zeros()),
            Size::Large(bytes) => {
                let last = bytes.last().map_or(8, |last| last.leading_zeros());
                bytes.len() as u64 * 8 - u64::from(last)
            }
        }
    }

    /// The text whose UTF-8 bytes this atom is (Hoon's `@t`), if it is text.
    pub fn to_text(&self) -> Option<String> {
        String::from_utf8(self.to_bytes()).ok()
    }
}

impl From<u64> for Atom {
    fn from(number: u64) -> Self {
        Self(Size::Small(number))
    }
}

impl From<u128> for Atom {
    fn from(number: u128) -> Self {
        Self::from_bytes(&number.to_le_bytes())
    }
}

impl Cell {
    /// The first of the pair.
    pub fn head(&self) -> &Noun {
        &self.head
    }

    /// The second of the pair.
    pub fn tail(&self) -> &Noun {
        &self.tail
    }
}

impl Noun {
    /// The atom 0, which is also the empty list and "yes".
    pub fn null() -> Self {
        Self::from(0_u64)
    }

    /// A loobean: 0 is yes, 1 is no.
    pub fn loobean(yes: bool) -> Self {
        Self::from(u64::from(!yes))
    }

    /// A pair.
    pub fn cell(head: Noun, tail: Noun) -> Self {
        Self::Cell(Arc::new(Cell { head, tail }))
    }

    /// `[a b c]`, which is `[a [b c]]`. Of nothing, null.
    pub fn tuple<const N: usize>(items: [Noun; N]) -> Self {
        let mut items = items.into_iter().rev();
        let last = items.next().unwrap_or_else(Self::null);
        items.fold(last, |tail, head| Self::cell(head, tail))
    }

    /// A null-terminated list.
    pub fn list<I>(items: I) -> Self
    where
        I: IntoIterator<Item = Noun>,
        I::IntoIter: DoubleEndedIterator,
    {
        items
            .into_iter()
            .rev()
            .fold(Self::null(), |tail, head| Self::cell(head, tail))
    }

    /// Text as an atom (Hoon's `@t`), such as `%live`.
    pub fn cord(text: &str) -> Self {
        Self::Atom(Atom::from_bytes(text.as_bytes()))
    }

    /// A list of cords: `/port/ames` is `path(["port", "ames"])`.
    pub fn path<const N: usize>(knots: [&str; N]) -> Self {
        Self::list(knots.map(Self::cord))
    }

    /// The atom, if it is one.
    pub fn as_atom(&self) -> Option<&Atom> {
        match self {
            Self::Atom(atom) => Some(atom),
            Self::Cell(_) => None,
        }
    }

    /// Head and tail, if it is a cell.
    pub fn as_cell(&self) -> Option<(&Noun, &Noun)> {
        match self {
            Self::Atom(_) => None,
            Self::Cell(cell) => Some((&cell.head, &cell.tail)),
        }
    }

    /// The number, if it is an atom of at most 64 bits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_atom()?.as_u64()
    }

    /// Whether this is the cord `text`.
    pub fn is_cord(&self, text: &str) -> bool {
        self.as_atom()
            .is_some_and(|atom| *atom == Atom::from_bytes(text.as_bytes()))
    }

    /// Whether this is the atom 0.
    pub fn is_null(&self) -> bool {
        self.as_u64() == Some(0)
    }

    /// `[a b c]` taken apart into exactly `N` nouns, the last of which may be a cell.
    pub fn as_tuple<const N: usize>(&self) -> Option<[&Noun; N]> {
        let mut items = [self; N];
        for index in 1..N {
            let (head, tail) = items[index - 1].as_cell()?;
            items[index - 1] = head;
            items[index] = tail;
        }
        Some(items)
    }

    /// The items of a null-terminated list; `None` if it does not end in null.
    pub fn as_list(&self) -> Option<Vec<&Noun>> {
        let mut items = Vec::new();
        let mut rest = self;
        while let Some((head, tail)) = rest.as_cell() {
            items.push(head);
            rest = tail;
        }
        rest.is_null().then_some(items)
    }
}

impl From<Atom> for Noun {
    fn from(atom: Atom) -> Self {
        Self::Atom(atom)
    }
}

impl From<u64> for Noun {
    fn from(number: u64) -> Self {
        Self::Atom(number.into())
    }
}

impl From<u128> for Noun {
    fn from(number: u128) -> Self {
        Self::Atom(number.into())
    }
}

impl PartialEq for Noun {
    /// Takes time in proportion to what is stored, however often parts are shared.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Atom(ours), Self::Atom(theirs)) => ours == theirs,
            (Self::Cell(ours), Self::Cell(theirs)) => {
                Arc::ptr_eq(ours, theirs) || {
                    let mut interner = Interner::default();
                    interner.intern(self) == interner.intern(other)
                }
            }
            _ => false,
        }
    }
}

impl Eq for Noun {}

/// Dropping a long list cell by cell, since the derived drop would recurse once per item and overflow the stack.
impl Drop for Cell {
    fn drop(&mut self) {
        let mut dying = Vec::new();
        take_last_reference(&mut self.head, &mut dying);
        take_last_reference(&mut self.tail, &mut dying);
        while let Some(mut cell) = dying.pop() {
            take_last_reference(&mut cell.head, &mut dying);
            take_last_reference(&mut cell.tail, &mut dying);
        }
    }
}

fn take_last_reference(noun: &mut Noun, dying: &mut Vec<Cell>) {
    if let Noun::Cell(_) = noun
        && let Noun::Cell(cell) = std::mem::replace(noun, Noun::null())
        && let Some(cell) = Arc::into_inner(cell)
    {
        dying.push(cell);
    }
}

/// Most nodes that `Debug` prints: shared parts would otherwise make the text exponentially long.
const DEBUG_NODES: usize = 256;

impl fmt::Debug for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        enum Part<'a> {
            Noun(&'a Noun, bool),
            Text(&'static str),
        }
        let mut parts = vec![Part::Noun(self, false)];
        let mut nodes = 0;
        while let Some(part) = parts.pop() {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Noun(..) if nodes >= DEBUG_NODES => return f.write_str("…"),
                Part::Noun(Noun::Atom(atom), _) => write!(f, "{atom:?}")?,
                Part::Noun(Noun::Cell(cell), in_tail) => {
                    if !in_tail {
                        f.write_str("[")?;
                        parts.push(Part::Text("]"));
                    }
                    parts.push(Part::Noun(&cell.tail, true));
                    parts.push(Part::Text(" "));
                    parts.push(Part::Noun(&cell.head, false));
                }
            }
            nodes += 1;
        }
        Ok(())
    }
}

impl fmt::Debug for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        let is_text = bytes.len() > 1 && bytes.iter().all(|byte| byte.is_ascii_graphic());
        match (&self.0, is_text) {
            (_, true) => write!(f, "%{}", String::from_utf8_lossy(&bytes)),
            (Size::Small(number), false) => write!(f, "{number}"),
            (Size::Large(bytes), false) => {
                f.write_str("0x")?;
                bytes
                    .iter()
                    .rev()
                    .try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atoms_have_one_form() {
        assert_eq!(
            Atom::from_bytes(&[5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Atom::from(5_u64)
        );
        assert_eq!(Atom::from(1_u128 << 64).bit_length(), 65);
        assert_eq!(Atom::from(1_u128 << 64).as_u128(), Some(1 << 64));
        assert_eq!(Atom::from(0_u64).to_bytes(), Vec::<u8>::new());
        assert_eq!(Atom::from_bytes(&[1; 17]).as_u128(), None);
    }

    #[test]
    fn tuples_and_lists_come_apart() {
        let noun = Noun::tuple([
            Noun::from(1_u64),
            Noun::cord("peel"),
            Noun::path(["port", "ames"]),
        ]);
        let [rid, tag, data] = noun.as_tuple().expect("three items");
        assert_eq!(rid.as_u64(), Some(1));
        assert!(tag.is_cord("peel"));
        assert_eq!(data.as_list().expect("a list").len(), 2);
        assert_eq!(noun.as_tuple::<6>(), None);
        assert_eq!(format!("{noun:?}"), "[1 %peel %port %ames 0]");
    }

    #[test]
    fn deeply_nested_cells_drop_and_compare() {
        let deep =
            |length: u64| (0..length).fold(Noun::null(), |noun, n| Noun::cell(noun, Noun::from(n)));
        assert_eq!(deep(100_000), deep(100_000));
        assert_ne!(deep(100_000), deep(99_999));
    }

    #[test]
    fn shared_parts_compare_in_linear_time() {
        let doubled =
            |()| (0..200).fold(Noun::from(7_u64), |noun, _| Noun::cell(noun.clone(), noun));
        assert_eq!(doubled(()), doubled(()));
        assert!(format!("{:?}", doubled(())).len() < 4096);
    }
}
