//! Names that were once found, by the range of addresses that a function takes: so the next address
//! in the same function needs no look-up.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Addresses, Frame, FrameKind, NamedRange, NamedRanges, SampledStack};

/// Functions that are remembered of a process or the kernel; then it begins anew.
const LIMIT: usize = 20_000;
/// Characters that are kept of a name: the store keeps them for months.
const MAX_NAME: usize = 256;
/// What stands for an address without a name. Not the address itself, which differs from start to start:
/// the store keeps every name that it has ever seen.
const UNNAMED: &str = "[unnamed]";

/// The functions of one process, or the kernel's, by their first address.
type Functions = BTreeMap<u64, Function>;

#[derive(Debug)]
struct Function {
    end: u64,
    /// Nothing if it is known to have none.
    name: Option<String>,
}

/// All names known.
#[derive(Debug, Default)]
pub struct Names {
    user: BTreeMap<u32, Functions>,
    kernel: Functions,
}

impl Names {
    /// The addresses of stacks of which it is not known whether they have a name.
    pub fn missing<'a>(&self, stacks: impl IntoIterator<Item = &'a SampledStack>) -> Addresses {
        let mut missing = Addresses::default();
        for stack in stacks {
            let tgid = stack.thread.tgid;
            for (address, kind) in stack.stack.lookups() {
                if self.function(tgid, address, kind).is_none() {
                    match kind {
                        FrameKind::User => missing.user.entry(tgid).or_default().insert(address),
                        FrameKind::Kernel => missing.kernel.insert(address),
                    };
                }
            }
        }
        missing
    }

    /// Remembers an answer. What was asked for and is not in it has no name.
    pub fn learn(&mut self, asked: &Addresses, found: NamedRanges) {
        for (tgid, ranges) in found.user {
            remember(self.user.entry(tgid).or_default(), ranges);
        }
        remember(&mut self.kernel, found.kernel);
        for (tgid, addresses) in &asked.user {
            forgo(self.user.entry(*tgid).or_default(), addresses);
        }
        forgo(&mut self.kernel, &asked.kernel);
    }

    /// Forgets a process that has ended; another one may get its number.
    pub fn forget(&mut self, tgid: u32) {
        self.user.remove(&tgid);
    }

    /// The frame of an address.
    pub fn frame(&self, tgid: u32, address: u64, kind: FrameKind) -> Frame {
        let function = self.function(tgid, address, kind);
        let name = function.and_then(|function| function.name.clone());
        Frame {
            name: name.unwrap_or_else(|| UNNAMED.to_owned()),
            kind,
        }
    }

    fn function(&self, tgid: u32, address: u64, kind: FrameKind) -> Option<&Function> {
        let functions = match kind {
            FrameKind::User => self.user.get(&tgid)?,
            FrameKind::Kernel => &self.kernel,
        };
        let (_, function) = functions.range(..=address).next_back()?;
        (address < function.end).then_some(function)
    }
}

fn remember(functions: &mut Functions, ranges: Vec<NamedRange>) {
    if functions.len() > LIMIT {
        functions.clear();
    }
    for range in ranges {
        let name = Some(range.name.chars().take(MAX_NAME).collect());
        let end = range.end;
        functions.insert(range.start, Function { end, name });
    }
}

fn forgo(functions: &mut Functions, addresses: &BTreeSet<u64>) {
    for &address in addresses {
        let before = functions.range(..=address).next_back();
        if before.is_none_or(|(_, function)| address >= function.end) {
            let end = address.saturating_add(1);
            functions.insert(address, Function { end, name: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Stack, ThreadId};

    fn stack(user: &[u64]) -> SampledStack {
        SampledStack {
            thread: ThreadId { tgid: 7, tid: 8 },
            wait: None,
            stack: Stack {
                user: user.to_vec(),
                ..Stack::default()
            },
            count: 1,
            total_ns: 0,
        }
    }

    #[test]
    fn a_function_is_asked_for_once() {
        let mut names = Names::default();
        let stacks = [stack(&[0x110, 0x900])];
        let asked = names.missing(&stacks);
        // The outer one is a return address.
        assert_eq!(asked.user[&7], BTreeSet::from([0x110, 0x8ff]));
        let range = NamedRange {
            start: 0x100,
            end: 0x200,
            name: "f".to_owned(),
        };
        let found = NamedRanges {
            user: BTreeMap::from([(7, vec![range])]),
            ..NamedRanges::default()
        };
        names.learn(&asked, found);
        assert!(names.missing(&stacks).is_empty());
        assert!(names.missing(&[stack(&[0x1ff])]).is_empty());
        assert!(!names.missing(&[stack(&[0x200])]).is_empty());
        assert_eq!(names.frame(7, 0x180, FrameKind::User).name, "f");
        assert_eq!(names.frame(7, 0x8ff, FrameKind::User).name, UNNAMED);
        names.forget(7);
        assert_eq!(names.missing(&stacks), asked);
    }
}
