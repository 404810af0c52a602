//! Records with copies of the stack made into records with whole stacks.

use profiler_common::block::BioRecord;
use profiler_common::cpu_clock::SampleRecord;
use profiler_common::memory::FaultRecord;
use profiler_common::record::{
    KIND_BIO, KIND_FAULT, KIND_SAMPLE, KIND_WAIT, RecordHeader, StackLengths,
};
use profiler_common::sched::WaitRecord;
use profiler_common::stack::{MAX_USER_FRAMES, SegmentHead, WALK_FULL, WALK_GAP, WALK_ROOT};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::join::{Code, Joined, Segment, join};

/// The record with its stack made whole and the copies left out; never longer than it was. Nothing if
/// it has no copies. `code` gives that of a process.
pub fn complete<C: Code>(record: &[u8], code: impl FnOnce(u32) -> C) -> Option<Vec<u8>> {
    let (header, _) = RecordHeader::read_from_prefix(record).ok()?;
    // The lengths are the last field of each.
    let size = match header.kind {
        KIND_WAIT => size_of::<WaitRecord>(),
        KIND_SAMPLE => size_of::<SampleRecord>(),
        KIND_BIO => size_of::<BioRecord>(),
        KIND_FAULT => size_of::<FaultRecord>(),
        _ => return None,
    };
    let (fixed, stacks) = record.split_at_checked(size)?;
    let (before, lengths) = fixed.split_at_checked(size - size_of::<StackLengths>())?;
    let mut lengths = StackLengths::read_from_bytes(lengths).ok()?;
    if lengths.copy_bytes == 0 {
        return None;
    }
    let (user, rest) = stacks.split_at_checked(lengths.user_bytes.into())?;
    let (kernel, copies) = rest.split_at_checked(lengths.kernel_bytes.into())?;
    let mut user: Vec<u64> = user
        .chunks_exact(8)
        .map(|word| word.try_into().map_or(0, u64::from_le_bytes))
        .collect();
    let walk = joined(&mut user, copies, lengths.walk, &code(header.tgid))?;
    lengths.user_bytes = (user.len() * 8) as u16;
    lengths.walk = walk;
    lengths.copy_bytes = 0;
    let whole = [before, lengths.as_bytes(), user.as_bytes(), kernel].concat();
    // Each frame that was added was read from a word of a copy.
    (whole.len() <= record.len()).then_some(whole)
}

/// Puts the frames of all segments together. How the stack ends, as one of `WALK_…`.
fn joined(user: &mut Vec<u64>, copies: &[u8], walk: u16, code: &dyn Code) -> Option<u16> {
    let segments = segments(user, copies)?;
    let last = segments.len().checked_sub(1)?;
    let (mut frames, mut has_gap, mut end) = (Vec::new(), false, walk);
    for (index, segment) in segments.iter().enumerate() {
        let (mut of_segment, joined) = join(segment, code);
        has_gap |= joined == Joined::Gap;
        if index == last && joined == Joined::Root {
            end = WALK_ROOT;
        }
        // A segment ends in the code that handlers return to, and the next begins with the address
        // that was interrupted. Both are executed next: whoever looks them up takes one from them.
        if index < last
            && matches!(joined, Joined::Chain | Joined::Gap)
            && let Some(restorer) = of_segment.last_mut()
        {
            *restorer += 1;
        }
        if index > 0
            && let Some(interrupted) = of_segment.first_mut()
        {
            *interrupted += 1;
        }
        frames.append(&mut of_segment);
    }
    if has_gap && end == WALK_ROOT {
        end = WALK_GAP;
    }
    if frames.len() > MAX_USER_FRAMES {
        frames.truncate(MAX_USER_FRAMES);
        end = WALK_FULL;
    }
    *user = frames;
    Some(end)
}

/// The segments of a record: each a head and its copy, and the frames found from there. Nothing if they
/// do not fit together.
fn segments<'a>(user: &'a [u64], mut copies: &'a [u8]) -> Option<Vec<Segment<'a>>> {
    let mut heads = Vec::new();
    while !copies.is_empty() {
        let (head, rest) = SegmentHead::read_from_prefix(copies).ok()?;
        let (stack, rest) = rest.split_at_checked(head.bytes as usize)?;
        heads.push((head, stack));
        copies = rest;
    }
    let ends = heads.iter().skip(1).map(|(head, _)| head.first as usize);
    let ends: Vec<usize> = ends.chain([user.len()]).collect();
    let last = heads.len().saturating_sub(1);
    let heads = heads.into_iter().enumerate();
    let segments = heads.zip(ends).map(|((index, (head, stack)), end)| {
        let first = head.first as usize;
        let chain = user.get(first.checked_add(1)?..end)?;
        Some(Segment {
            head,
            stack,
            is_handler: index < last,
            chain,
        })
    });
    segments.collect()
}
