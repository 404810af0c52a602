//! What an event is here: hashing of the loom for the asked time, writes to clean pages, and a result to copy.

use std::os::fd::BorrowedFd;

use anyhow::Context;
use noun::{Noun, jam, murmur3};
use serde_json::{Value, json};

use super::bracket::Bracket;
use crate::compute::Computer;
use crate::hoon::{Code, PIECES};
use crate::loom::{self, Kid, Loom, PAGE_BYTES};
use crate::options::Hints;
use crate::ovum::{Ovum, Workload};
use crate::packet;
use crate::spin;
use crate::stream::Outbox;
use crate::sys::monotonic_ns;
use crate::task::Gift;

/// The loom, and what computes on it.
pub struct Kernel {
    /// The memory of the ship.
    pub loom: Loom,
    bracket: Bracket,
    pub(super) computer: Computer,
    code: Code,
    next_page: usize,
    /// What each event prints.
    text: String,
}

/// An event that was computed.
pub struct Poked {
    /// The event as it goes into the log: the one asked for, or the note that it failed.
    pub ovum: Ovum,
    /// When it happened, as Urbit counts time.
    pub now: u128,
    /// Checksum of the state after it.
    pub mug: u32,
    /// What the king shall do.
    pub effects: Vec<Noun>,
    /// The beginning of its line of ground truth.
    pub truth: Value,
}

/// One bracket of a computation, in CLOCK_MONOTONIC.
pub(super) struct Attempt {
    pub(super) start_ktime_ns: u64,
    end_ktime_ns: u64,
    /// When it wrote to clean pages of the heap.
    dirtied_ktime_ns: (u64, u64),
    is_done: bool,
}

impl Kernel {
    /// A kernel on a loom whose heap is mapped.
    pub fn new(
        loom: Loom,
        hints: Hints,
        spin: Option<spin::Page>,
        print_bytes: usize,
    ) -> anyhow::Result<Self> {
        let (heap, bytes) = loom.heap();
        // SAFETY: the heap stays mapped to the end of the process, and is written to only between computations and
        // by this thread.
        let computer = unsafe { Computer::calibrate(heap, bytes) };
        let code = Code::write(&loom, hints, spin);
        Ok(Self {
            code,
            loom,
            bracket: Bracket::new()?,
            computer,
            next_page: 1,
            text: "x".repeat(print_bytes),
        })
    }

    /// Becomes readable when SIGUSR1 asks for the status.
    pub fn signals(&self) -> BorrowedFd<'_> {
        self.bracket.signals()
    }

    /// Forgets the signals that were noted.
    pub fn drain_signals(&self) {
        let _noted = rustix::io::read(self.bracket.signals(), &mut [0; 64]);
    }

    /// Gives every page of a new heap content that no disk or kernel can shorten.
    pub fn fill_heap(&mut self) {
        let (heap, bytes) = self.loom.heap();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for word in 0..bytes / 4 {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            // SAFETY: the word lies in the heap.
            unsafe { heap.add(word).write((state >> 32) as u32) };
        }
    }

    /// Computes an event. One that fails is noted by a second event, as vere does it.
    pub fn poke(&mut self, now: u128, ovum: &Ovum, king: &mut Outbox) -> anyhow::Result<Poked> {
        let work = Workload::of_card(&ovum.card);
        let faults = loom::faults();
        let printed_ktime_ns = self.print(king)?;
        let first = self.compute(work);
        let (ovum, last) = if first.is_done {
            (ovum.clone(), None)
        } else {
            king.send(&Gift::Slog("bail: exit".to_owned()).to_noun())
                .context("cannot print to the king")?;
            (Ovum::crud(ovum), Some(self.compute(work.of_crud())))
        };
        let number = self.loom.event_number() + 1;
        self.loom.set_event_number(number);
        let end = last.as_ref().unwrap_or(&first);
        let attempts = [Some(&first), last.as_ref()].into_iter().flatten();
        let dirtied_ktime_ns: Vec<_> = attempts.map(|one| one.dirtied_ktime_ns).collect();
        let truth = json!({
            "event": "computed", "number": number, "bailed": last.is_some(),
            "compute_start_ktime_ns": first.start_ktime_ns, "compute_end_ktime_ns": end.end_ktime_ns,
            "dirtied_pages": loom::faults() - faults, "dirtied_ktime_ns": dirtied_ktime_ns,
            "printed_ktime_ns": printed_ktime_ns,
        });
        let effects = effects(&ovum);
        Ok(Poked {
            ovum,
            now,
            mug: self.mug(),
            effects,
            truth,
        })
    }

    /// Prints what an event prints; says from when to when it was sent, and 0 if there is nothing.
    fn print(&self, king: &mut Outbox) -> anyhow::Result<(u64, u64)> {
        if self.text.is_empty() {
            return Ok((0, 0));
        }
        let body = jam(&Gift::Slog(self.text.clone()).to_noun());
        let start_ktime_ns = monotonic_ns();
        king.send_body(&body).context("cannot print to the king")?;
        Ok((start_ktime_ns, monotonic_ns()))
    }

    /// Computes an event of the log again.
    pub fn replay(&mut self, ovum: &Ovum) {
        // It is in the log because it was done, so a failure asked for was that of an event that became a note.
        self.compute(Workload {
            bails: false,
            ..Workload::of_card(&ovum.card)
        });
        self.loom.set_event_number(self.loom.event_number() + 1);
    }

    /// Reads from the namespace. This ship knows only how far it lags behind: not at all.
    pub fn peek(&mut self, sample: &Noun) -> Noun {
        let is_lag = is_lag_peek(sample);
        self.compute(Workload {
            compute_us: PEEK_COMPUTE_US,
            ..Workload::default()
        });
        if is_lag {
            let path = Noun::path(["", "zen", "lag"]);
            Noun::tuple([
                Noun::null(),
                Noun::cord("omen"),
                path,
                Noun::cord("noun"),
                Noun::loobean(false),
            ])
        } else {
            Noun::null()
        }
    }

    /// One bracket: the computation in a road of its own, then the copy of its result to the home road.
    pub(super) fn compute(&mut self, work: Workload) -> Attempt {
        self.bracket.enter();
        let start_ktime_ns = monotonic_ns();
        let kid = self.loom.leap();
        let finished = self.run_turns(&kid, work.compute_us);
        let computed_ktime_ns = monotonic_ns();
        self.dirty(work.dirty_pages);
        let dirtied_ktime_ns = (computed_ktime_ns, monotonic_ns());
        let result = kid.allocate(
            &self.loom,
            &self.computer.hash().to_le_bytes().repeat(RESULT_BYTES / 4),
        );
        let is_done = finished && !work.bails;
        self.bracket.leave();
        self.bracket.watch_usr1();
        if is_done {
            self.keep(result);
        }
        self.loom.fall(kid);
        if is_done {
            self.bracket.leave();
        }
        Attempt {
            start_ktime_ns,
            end_ktime_ns: monotonic_ns(),
            dirtied_ktime_ns,
            is_done,
        }
    }

    /// Computes turn by turn. False if a signal cut it short.
    fn run_turns(&mut self, kid: &Kid, compute_us: u64) -> bool {
        let mut left_us = compute_us;
        loop {
            let turn_us = left_us.min(self.code.turn_us());
            left_us -= turn_us;
            let finished = self.run_pieces(kid, turn_us);
            if !finished || left_us == 0 {
                return finished;
            }
        }
    }

    /// Computes piece by piece, each under its hints. False if a signal cut it short.
    fn run_pieces(&mut self, kid: &Kid, compute_us: u64) -> bool {
        let mut left_us = compute_us;
        PIECES.iter().enumerate().all(|(index, piece)| {
            let is_last = index + 1 == PIECES.len();
            let us = if is_last {
                left_us
            } else {
                compute_us * piece.percent / 100
            };
            left_us -= us;
            self.code.enter(&self.loom, kid, index);
            let finished = self.computer.run(us);
            self.code.leave(&self.loom, kid);
            finished
        })
    }

    /// Writes to the next clean pages of the heap, as many as asked for and there are.
    pub(super) fn dirty(&mut self, wanted: u64) {
        let (heap, _) = self.loom.heap();
        let pages = self.loom.used_pages();
        let mut dirtied = 0;
        for _ in 1..pages {
            if dirtied == wanted {
                break;
            }
            let page = self.next_page;
            self.next_page = if page + 1 < pages { page + 1 } else { 1 };
            if self.loom.is_dirty(page) {
                continue;
            }
            // SAFETY: the page lies in the heap, which begins with page 1.
            unsafe {
                let word = heap.add((page - 1) * PAGE_BYTES / 4);
                // Not read before: that would be a fault of its own where the page is not mapped yet.
                word.write_volatile(self.computer.hash() | 1);
            }
            dirtied += 1;
        }
    }

    /// Copies a result from the road of its event to the home heap (vere `u3m_love`).
    fn keep(&mut self, result: *const u8) {
        let (heap, _) = self.loom.heap();
        // SAFETY: both ranges lie in the loom, in different roads, and are as long as a result.
        unsafe { std::ptr::copy_nonoverlapping(result, heap.cast::<u8>(), RESULT_BYTES) };
    }

    fn mug(&self) -> u32 {
        murmur3::mug(&self.computer.hash().to_le_bytes())
    }
}

/// CPU time of a peek, in microseconds: what is left of 0.3 ms when the sockets are paid for.
const PEEK_COMPUTE_US: u64 = 100;

/// Bytes of an event's result. It goes to the start of the heap.
const RESULT_BYTES: usize = 4096;

/// What the king shall do: set the next timer, or answer the packet.
fn effects(ovum: &Ovum) -> Vec<Noun> {
    let Some((tag, data)) = ovum.card.as_cell() else {
        return Vec::new();
    };
    let card = if tag.is_cord("wake") {
        Noun::tuple([Noun::cord("doze"), Noun::null()])
    } else if tag.is_cord("hear")
        && let Some([lane, blob, _work]) = data.as_tuple()
        && let Some(ack) = blob
            .as_atom()
            .and_then(|blob| packet::acknowledge(&blob.to_bytes()))
    {
        Noun::tuple([
            Noun::cord("send"),
            lane.clone(),
            Noun::Atom(noun::Atom::from_bytes(&ack)),
        ])
    } else {
        return Vec::new();
    };
    vec![Noun::cell(ovum.wire.clone(), card)]
}

/// `[gang each]` with `[1 %once view desk spur]`, where the spur is `/lag/zen` or `/lac/fad`, in either order.
fn is_lag_peek(sample: &Noun) -> bool {
    let spur = || {
        let [_gang, _full_path_or_not, _once, _view, _desk, spur] = sample.as_tuple()?;
        // The gang is `[~ ~]`, itself a cell.
        Some(spur)
    };
    let known = [
        ["zen", "lag"],
        ["lag", "zen"],
        ["fad", "lac"],
        ["lac", "fad"],
    ];
    spur().is_some_and(|spur| known.into_iter().any(|path| *spur == Noun::path(path)))
}
