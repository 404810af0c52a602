//! Names of Hoon stacks, looked up while the capture runs.

use std::collections::BTreeMap;

use profiler_common::record::{KIND_HOON, RecordHeader};
use zerocopy::FromBytes as _;

use crate::capture::decode::decode;
use crate::hoon::HoonNames;
use crate::host::Roots;
use crate::model::Event;
use crate::ship::memory::ShipMemory;

/// The names found so far, and the memory that they are found in.
#[derive(Default)]
pub(super) struct HoonLookUps {
    names: HoonNames,
    /// By process; nothing of one whose memory may not be read.
    memories: BTreeMap<u32, Option<ShipMemory>>,
}

impl HoonLookUps {
    /// Looks the frames of a record up, if it is a Hoon stack.
    pub(super) fn look_up(&mut self, roots: &Roots, record: &[u8]) {
        // Most records are of other kinds, and are decoded when there is time.
        let kind = RecordHeader::read_from_prefix(record).map_or(0, |(header, _)| header.kind);
        if kind != KIND_HOON {
            return;
        }
        let Ok(Event::Hoon(event)) = decode(record) else {
            return;
        };
        let memory = self.memories.entry(event.thread.tgid).or_insert_with(|| {
            ShipMemory::open(roots, event.thread.tgid)
                .inspect_err(|error| log::warn!("Hoon stacks have no names: {error}"))
                .ok()
        });
        let Some(memory) = memory else { return };
        for frame in &event.frames {
            self.names.look_up(memory, frame);
        }
    }

    /// All names.
    pub(super) fn into_names(self) -> HoonNames {
        self.names
    }
}
