//! From events and sums to summaries, one file per probe family.

pub mod agents;
pub mod ames;
pub mod block;
pub mod cpu_clock;
pub mod events;
pub mod hoon;
pub mod memory;
pub mod neighbour;
pub mod sched;
pub mod snapshot;
pub mod stacks;
pub mod udp;
pub mod wholeness;
pub mod writeback;

use crate::model::{Capture, ThreadId};
use crate::ship::{Role, Ship};

/// Everything summed up.
#[derive(Debug)]
pub struct Summaries {
    /// The ship's threads, king first.
    pub threads: Vec<sched::ThreadSummary>,
    /// Their block I/O.
    pub block: Vec<block::BlockSummary>,
    /// What memory cost them.
    pub memory: memory::MemorySummary,
    /// The ship's events; nothing if they could not be followed.
    pub events: Option<events::EventsSummary>,
    /// Snapshots; nothing if they were not followed.
    pub snapshots: Option<snapshot::SnapshotSummary>,
    /// Traffic with other ships.
    pub ames: ames::AmesSummary,
    /// Their datagrams; nothing if no socket was watched.
    pub udp: Option<udp::UdpSummary>,
    /// Who else ran and wrote; nothing if the capture does not tell.
    pub neighbours: Option<neighbour::NeighbourSummary>,
    /// Their block I/O by file, on the devices of the pier and any other.
    pub files: Vec<writeback::FileSummary>,
    /// CPU samples per thread.
    pub samples: Vec<(ThreadId, u64)>,
    /// Their Hoon stacks; nothing if none were taken.
    pub hoon: Option<hoon::HoonSummary>,
    /// How many C stacks are whole; nothing if the capture does not say how its stacks end.
    pub stacks: Option<wholeness::StackCounts>,
    /// Time and events by agent and vane; nothing if no Hoon stack was taken.
    pub agents: Option<agents::AgentsSummary>,
}

/// Sums a capture up.
pub fn aggregate(capture: &Capture) -> Summaries {
    let threads = sched::summarise(capture);
    let block = block::summarise(capture, &threads);
    let events = events::summarise(capture);
    Summaries {
        agents: agents::summarise(capture, events.as_ref()),
        block,
        memory: memory::summarise(capture, &threads),
        snapshots: snapshot::summarise(capture, &threads),
        events,
        ames: ames::summarise(capture),
        udp: udp::summarise(capture),
        neighbours: neighbour::summarise(capture),
        files: writeback::summarise(&capture.totals.writeback),
        samples: cpu_clock::samples_per_thread(&capture.events),
        hoon: hoon::summarise(capture),
        stacks: wholeness::count(capture),
        threads,
    }
}

/// Role of a thread, also for a mars that was started during the capture.
fn role(ship: &Ship, followed: &[u32], thread: ThreadId, comm: &str) -> Role {
    let Some(mars) = ship
        .mars
        .as_ref()
        .filter(|_| followed.contains(&thread.tgid))
    else {
        return ship.role_of(thread.tgid, thread.tid, comm);
    };
    // A process that the king forked is the next mars; vere forks nothing else.
    let tid = if thread.tid == thread.tgid {
        mars.tgid
    } else {
        thread.tid
    };
    ship.role_of(mars.tgid, tid, comm)
}
