//! From bytes to events. The bytes may come from a file that somebody else made: every length
//! and every kind is checked, and nothing is taken for an enum that was not compared first.

use profiler_common::block::{BioDoneRecord, BioRecord};
use profiler_common::cpu_clock::SampleRecord;
use profiler_common::hoon::{ENDS, HoonFrame, HoonRecord, MAX_FRAMES, MAX_ROADS};
use profiler_common::memory::FaultRecord;
use profiler_common::record::{
    KIND_BIO, KIND_BIO_DONE, KIND_FAULT, KIND_HOON, KIND_SAMPLE, KIND_SNAPSHOT, KIND_SYSCALL,
    KIND_TASK, KIND_WAIT, RecordHeader, StackLengths,
};
use profiler_common::sched::{TASK_EXITING, TASK_FORKED, TaskRecord, WaitRecord};
use profiler_common::snapshot::SnapshotRecord;
use profiler_common::stack::{
    WALK_BROKEN, WALK_FULL, WALK_GAP, WALK_NONE, WALK_ROOT, WALK_UNKNOWN,
};
use profiler_common::syscall::{
    CALL_EPOLL_PWAIT, CALL_FDATASYNC, CALL_SIGALTSTACK, CALL_WRITEV, HEAD_BYTES, SyscallRecord,
};
use thiserror::Error;
use zerocopy::{FromBytes, FromZeros as _, IntoBytes as _};

use crate::model::{
    BioDoneEvent, BioEvent, Call, Event, FaultEvent, HoonEvent, SampleEvent, SnapshotEvent, Stack,
    StackEnd, SyscallEvent, TaskEvent, ThreadId, WaitEvent,
};

/// Why a record makes no sense.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than its kind has.
    #[error("a record of {0} bytes is too short")]
    Short(usize),
    /// Not a kind that this version knows.
    #[error("a record is of the unknown kind {0}")]
    Kind(u32),
    /// Its stack lengths do not fit its bytes.
    #[error("a record's stacks do not fit its length")]
    Stack,
    /// A field holds a value that it cannot have.
    #[error("a record's field {0} holds {1}")]
    Field(&'static str, u64),
}

/// Decodes one record.
///
/// # Errors
/// If the bytes are not one whole record.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let (header, _) =
        RecordHeader::read_from_prefix(bytes).map_err(|_| DecodeError::Short(bytes.len()))?;
    match header.kind {
        KIND_WAIT => wait(bytes).map(|event| Event::Wait(Box::new(event))),
        KIND_SAMPLE => sample(bytes).map(Event::Sample),
        KIND_BIO => bio(bytes).map(Event::Bio),
        KIND_BIO_DONE => bio_done(bytes).map(Event::BioDone),
        KIND_TASK => task(bytes).map(Event::Task),
        KIND_FAULT => fault(bytes).map(Event::Fault),
        KIND_SNAPSHOT => snapshot(bytes).map(Event::Snapshot),
        KIND_SYSCALL => syscall(bytes).map(Event::Syscall),
        KIND_HOON => hoon(bytes).map(Event::Hoon),
        kind => Err(DecodeError::Kind(kind)),
    }
}

/// Puts events in the order of their times. CPUs write to the ring buffer side by side, so what
/// comes out of it is nearly, but not quite, in order. Equal times keep their order.
pub fn order(events: &mut [Event]) {
    events.sort_by_key(Event::ktime_ns);
}

fn take<T: FromBytes>(bytes: &[u8]) -> Result<(T, &[u8]), DecodeError> {
    T::read_from_prefix(bytes).map_err(|_| DecodeError::Short(bytes.len()))
}

fn thread(header: &RecordHeader) -> ThreadId {
    ThreadId {
        tgid: header.tgid,
        tid: header.tid,
    }
}

/// No user address is larger (57 bits with five levels of page tables, half of them the kernel's).
const USER_END: u64 = 1 << 56;

/// The frames behind a record; copies of the stack behind them are for [`crate::unwind`].
fn stack(lengths: &StackLengths, rest: &[u8]) -> Result<Stack, DecodeError> {
    let [user_bytes, kernel_bytes, copy_bytes] =
        [lengths.user_bytes, lengths.kernel_bytes, lengths.copy_bytes].map(usize::from);
    if user_bytes % 8 != 0
        || kernel_bytes % 8 != 0
        || user_bytes + kernel_bytes + copy_bytes != rest.len()
    {
        return Err(DecodeError::Stack);
    }
    let end = match lengths.walk {
        WALK_UNKNOWN => StackEnd::Unknown,
        WALK_ROOT => StackEnd::Root,
        WALK_BROKEN => StackEnd::Broken,
        WALK_FULL => StackEnd::Full,
        WALK_NONE => StackEnd::NotTaken,
        WALK_GAP => StackEnd::Gap,
        walk => return Err(DecodeError::Field("walk", walk.into())),
    };
    let addresses = |bytes: &[u8]| {
        let words = bytes.chunks_exact(8);
        words
            .map(|w| u64::from_le_bytes([w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]]))
            .collect()
    };
    let (user, rest) = rest.split_at(user_bytes);
    let (kernel, _) = rest.split_at(kernel_bytes);
    let mut user: Vec<u64> = addresses(user);
    // Where a program's first function keeps no frame pointer, the walk ends in whatever it found.
    let plausible = user.iter().take_while(|address| **address < USER_END);
    user.truncate(plausible.count());
    Ok(Stack {
        user,
        end,
        kernel: addresses(kernel),
    })
}

/// A task's name as the kernel keeps it: bytes up to the first zero, of any encoding.
pub fn comm(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn wait(bytes: &[u8]) -> Result<WaitEvent, DecodeError> {
    let (record, rest) = take::<WaitRecord>(bytes)?;
    let end = record.header.ktime_ns;
    if record.start_ktime_ns > end {
        return Err(DecodeError::Field("start_ktime_ns", record.start_ktime_ns));
    }
    if record.woken_ktime_ns > end {
        return Err(DecodeError::Field("woken_ktime_ns", record.woken_ktime_ns));
    }
    let woken =
        (record.woken_ktime_ns != 0).then(|| record.woken_ktime_ns.max(record.start_ktime_ns));
    let other = |tgid, tid, name: &[u8]| (ThreadId { tgid, tid }, comm(name));
    Ok(WaitEvent {
        thread: thread(&record.header),
        start_ktime_ns: record.start_ktime_ns,
        woken_ktime_ns: woken,
        end_ktime_ns: end,
        syscall_nr: record.syscall_nr,
        task_state: record.task_state,
        waker: other(record.waker_tgid, record.waker_tid, &record.waker_comm),
        behind: other(record.behind_tgid, record.behind_tid, &record.behind_comm),
        cpu: record.header.cpu,
        stack: stack(&record.stack, rest)?,
    })
}

fn sample(bytes: &[u8]) -> Result<SampleEvent, DecodeError> {
    let (record, rest) = take::<SampleRecord>(bytes)?;
    Ok(SampleEvent {
        thread: thread(&record.header),
        ktime_ns: record.header.ktime_ns,
        stack: stack(&record.stack, rest)?,
    })
}

fn fault(bytes: &[u8]) -> Result<FaultEvent, DecodeError> {
    let (record, rest) = take::<FaultRecord>(bytes)?;
    if record.waited_ns > record.header.ktime_ns {
        return Err(DecodeError::Field("waited_ns", record.waited_ns));
    }
    if record.count > u64::from(u32::MAX) {
        return Err(DecodeError::Field("count", record.count));
    }
    Ok(FaultEvent {
        thread: thread(&record.header),
        ktime_ns: record.header.ktime_ns,
        address: record.address,
        waited_ns: record.waited_ns,
        count: record.count,
        stack: stack(&record.stack, rest)?,
    })
}

fn snapshot(bytes: &[u8]) -> Result<SnapshotEvent, DecodeError> {
    let (record, rest) = take::<SnapshotRecord>(bytes)?;
    if !rest.is_empty() {
        return Err(DecodeError::Stack);
    }
    if record.start_ktime_ns > record.header.ktime_ns {
        return Err(DecodeError::Field("start_ktime_ns", record.start_ktime_ns));
    }
    Ok(SnapshotEvent {
        thread: thread(&record.header),
        start_ktime_ns: record.start_ktime_ns,
        end_ktime_ns: record.header.ktime_ns,
    })
}

fn syscall(bytes: &[u8]) -> Result<SyscallEvent, DecodeError> {
    let (record, head) = take::<SyscallRecord>(bytes)?;
    if head.len() != record.head_bytes as usize || head.len() > HEAD_BYTES {
        return Err(DecodeError::Field("head_bytes", record.head_bytes.into()));
    }
    let call = match record.call {
        CALL_SIGALTSTACK => Call::SignalStack {
            flags: record.value as u32,
            event_number: record.detail,
        },
        CALL_WRITEV => Call::Frame {
            fd: record.fd,
            bytes: record.value,
            head: head.to_vec(),
            turn_ktime_ns: (record.detail != 0).then_some(record.detail),
        },
        CALL_FDATASYNC => Call::Sync { fd: record.fd },
        CALL_EPOLL_PWAIT => Call::LoopTurn,
        call => return Err(DecodeError::Field("call", call.into())),
    };
    Ok(SyscallEvent {
        thread: thread(&record.header),
        ktime_ns: record.header.ktime_ns,
        call,
    })
}

fn hoon(bytes: &[u8]) -> Result<HoonEvent, DecodeError> {
    let (record, rest) = take::<HoonRecord>(bytes)?;
    if record.end as usize >= ENDS {
        return Err(DecodeError::Field("end", record.end.into()));
    }
    if record.roads as usize > MAX_ROADS {
        return Err(DecodeError::Field("roads", record.roads.into()));
    }
    let mut frames = vec![HoonFrame::new_zeroed(); rest.len() / size_of::<HoonFrame>()];
    if rest.len() != record.frame_bytes as usize
        || rest.len() % size_of::<HoonFrame>() != 0
        || frames.len() > MAX_FRAMES
    {
        return Err(DecodeError::Stack);
    }
    frames.as_mut_bytes().copy_from_slice(rest);
    Ok(HoonEvent {
        thread: thread(&record.header),
        ktime_ns: record.header.ktime_ns,
        event_number: record.event_number,
        end: record.end,
        roads: record.roads,
        frames,
    })
}

fn bio(bytes: &[u8]) -> Result<BioEvent, DecodeError> {
    let (record, rest) = take::<BioRecord>(bytes)?;
    Ok(BioEvent {
        thread: thread(&record.header),
        queued_ktime_ns: record.header.ktime_ns,
        sector: record.sector,
        dev: record.dev,
        opf: record.opf,
        bytes: record.bytes,
        stack: stack(&record.stack, rest)?,
    })
}

fn bio_done(bytes: &[u8]) -> Result<BioDoneEvent, DecodeError> {
    let (record, rest) = take::<BioDoneRecord>(bytes)?;
    let done = record.header.ktime_ns;
    if !rest.is_empty() {
        return Err(DecodeError::Stack);
    }
    if record.queued_ktime_ns > done {
        return Err(DecodeError::Field(
            "queued_ktime_ns",
            record.queued_ktime_ns,
        ));
    }
    let issued = record.issued_ktime_ns;
    if issued != 0 && !(record.queued_ktime_ns..=done).contains(&issued) {
        return Err(DecodeError::Field("issued_ktime_ns", issued));
    }
    Ok(BioDoneEvent {
        thread: thread(&record.header),
        queued_ktime_ns: record.queued_ktime_ns,
        issued_ktime_ns: (issued != 0).then_some(issued),
        done_ktime_ns: done,
        dev: record.dev,
        opf: record.opf,
        bytes: record.bytes,
        error: record.error,
    })
}

fn task(bytes: &[u8]) -> Result<TaskEvent, DecodeError> {
    let (record, rest) = take::<TaskRecord>(bytes)?;
    if !rest.is_empty() {
        return Err(DecodeError::Stack);
    }
    let parent_tgid = match record.change {
        TASK_FORKED => Some(record.parent_tgid),
        TASK_EXITING => None,
        change => return Err(DecodeError::Field("change", change.into())),
    };
    Ok(TaskEvent {
        thread: thread(&record.header),
        ktime_ns: record.header.ktime_ns,
        comm: comm(&record.comm),
        parent_tgid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample_bytes(user: &[u64], kernel: &[u64]) -> Vec<u8> {
        let mut record = SampleRecord::new_zeroed();
        record.header.kind = KIND_SAMPLE;
        record.header.tgid = 7;
        record.header.tid = 8;
        record.stack.user_bytes = user.len() as u16 * 8;
        record.stack.kernel_bytes = kernel.len() as u16 * 8;
        [record.as_bytes(), user.as_bytes(), kernel.as_bytes()].concat()
    }

    #[test]
    fn a_sample_keeps_both_stacks_apart() {
        let Ok(Event::Sample(sample)) = decode(&sample_bytes(&[1, 2], &[3])) else {
            panic!("sample")
        };
        assert_eq!(sample.thread, ThreadId { tgid: 7, tid: 8 });
        assert_eq!(
            sample.stack,
            Stack {
                user: vec![1, 2],
                kernel: vec![3],
                end: StackEnd::Unknown,
            }
        );
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_an_error_or_another_event_but_no_panic() {
        let whole = sample_bytes(&[1, 2, 3], &[4]);
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length} bytes");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let _ = decode(&flipped);
            }
        }
    }

    #[test]
    fn a_hoon_stack_keeps_its_frames() {
        let frame = HoonFrame {
            kind: 1,
            noun: 0xc000_0001,
            mug: 7,
        };
        let mut record = HoonRecord::new_zeroed();
        record.header.kind = KIND_HOON;
        record.roads = 2;
        record.frame_bytes = 24;
        let whole = [record.as_bytes(), [frame, frame].as_bytes()].concat();
        let Ok(Event::Hoon(event)) = decode(&whole) else {
            panic!("{:?}", decode(&whole))
        };
        assert_eq!((event.roads, event.frames), (2, vec![frame, frame]));
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length} bytes");
        }
        record.end = ENDS as u32;
        assert_eq!(
            decode(&[record.as_bytes(), [frame, frame].as_bytes()].concat()),
            Err(DecodeError::Field("end", ENDS as u64))
        );
    }

    #[test]
    fn times_that_run_backwards_are_refused() {
        let mut record = BioDoneRecord::new_zeroed();
        record.header.kind = KIND_BIO_DONE;
        record.header.ktime_ns = 10;
        record.queued_ktime_ns = 11;
        assert_eq!(
            decode(record.as_bytes()),
            Err(DecodeError::Field("queued_ktime_ns", 11))
        );
        record.queued_ktime_ns = 5;
        record.issued_ktime_ns = 4;
        assert_eq!(
            decode(record.as_bytes()),
            Err(DecodeError::Field("issued_ktime_ns", 4))
        );
    }
}
