//! The event log: an LMDB environment, and the threads that commit to it (vere `disk.c`, `db/lmdb.c`).

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use heed::byteorder::NativeEndian;
use heed::types::{Bytes, Str, U64};
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, IntegerComparator};
use noun::{Atom, Noun, Ship, cue, jam};
use serde_json::{Value, json};

use crate::ovum::Ovum;
use crate::pier::Pier;
use crate::sys::monotonic_ns;

/// Most events in one transaction (vere `disk.c:169`).
const BATCH_EVENTS: usize = 100;

/// Threads of libuv's pool.
const THREADS: usize = 4;

type Events = Database<'static, U64<NativeEndian>, Bytes, IntegerComparator>;

/// The event log of a ship, and what waits to be written to it.
pub struct Disk {
    env: Env,
    events: Events,
    pool: Arc<Pool>,
    has_threads: bool,
    is_committing: bool,
    waiting: VecDeque<Vec<u8>>,
    planned: u64,
    committed: u64,
}

/// Size of the event log's map by default, on x86_64 and elsewhere (vere `main.c:202-211`).
pub const MAP_BYTES: u64 = if cfg!(target_arch = "x86_64") {
    1 << 40
} else {
    0x7d_0000_0000
};

/// A transaction that ended.
#[derive(Debug, Clone, Copy)]
pub struct Commit {
    /// The first event in it.
    pub first_event: u64,
    /// The number of events in it.
    pub events: u64,
    /// When the thread took it up.
    pub start_ktime_ns: u64,
    /// When the data pages were to be synced, and when they were.
    pub data_sync_ktime_ns: (u64, u64),
    /// When all was done. The meta page is written, synchronously, from the end of the data sync to here.
    pub end_ktime_ns: u64,
}

impl Commit {
    /// Its line of ground truth.
    pub fn to_truth(self) -> Value {
        json!({
            "event": "commit", "first_event": self.first_event, "events": self.events,
            "start_ktime_ns": self.start_ktime_ns,
            "data_sync_start_ktime_ns": self.data_sync_ktime_ns.0,
            "data_sync_end_ktime_ns": self.data_sync_ktime_ns.1,
            "end_ktime_ns": self.end_ktime_ns,
        })
    }
}

/// What the threads share with the loop.
struct Pool {
    env: Env,
    events: Events,
    jobs: Mutex<VecDeque<Job>>,
    work: Condvar,
    done: Mutex<VecDeque<Result<Commit, heed::Error>>>,
    eventfd: OwnedFd,
}

/// A transaction to come.
struct Job {
    first_event: u64,
    facts: Vec<Vec<u8>>,
}

impl Disk {
    /// Opens the event log, or begins one for `ship`. Returns whose ship it is.
    pub fn open(
        pier: &Pier,
        ship: Ship,
        map_bytes: usize,
        vere: &str,
    ) -> anyhow::Result<(Self, Ship)> {
        let ship = identity(&pier.log(), ship, map_bytes)?;
        let epoch = pier.epoch();
        let write = |name: &str, text: &str| {
            let path = epoch.join(name);
            if path.exists() {
                return Ok(());
            }
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("epoc.txt", "2")?;
        write("vere.txt", vere)?;
        let env = open_env(&epoch, map_bytes)?;
        let (events, committed) =
            open_events(&env).with_context(|| format!("cannot read {}", epoch.display()))?;
        let eventfd = rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
        )
        .context("cannot make an eventfd")?;
        let pool = Arc::new(Pool {
            env: env.clone(),
            events,
            jobs: Mutex::default(),
            work: Condvar::new(),
            done: Mutex::default(),
            eventfd,
        });
        let disk = Self {
            env,
            events,
            pool,
            has_threads: false,
            is_committing: false,
            waiting: VecDeque::new(),
            planned: committed,
            committed,
        };
        Ok((disk, ship))
    }

    /// The last event in the log.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Becomes readable when a transaction has ended.
    pub fn completions(&self) -> BorrowedFd<'_> {
        self.pool.eventfd.as_fd()
    }

    /// Lets an event be committed. Starts a transaction, unless one is under way.
    pub fn plan(&mut self, now: u128, ovum: &Ovum, mug: u32) -> anyhow::Result<()> {
        let job = Noun::cell(Noun::Atom(Atom::from(now)), ovum.to_noun());
        self.waiting
            .push_back([&mug.to_le_bytes()[..], &jam(&job)].concat());
        self.planned += 1;
        self.start_commit()
    }

    /// Takes in what ended, and starts the next transaction.
    pub fn complete(&mut self) -> anyhow::Result<Vec<Commit>> {
        let commits = self.take_ended()?;
        self.start_commit()?;
        Ok(commits)
    }

    /// Takes in what ended.
    pub fn take_ended(&mut self) -> anyhow::Result<Vec<Commit>> {
        let mut counter = [0; 1024];
        let _nothing_yet = rustix::io::read(&self.pool.eventfd, &mut counter);
        let ended: Vec<_> = locked(&self.pool.done).drain(..).collect();
        let mut commits = Vec::new();
        for result in ended {
            let commit = result
                .context("the commit to the event log failed: check that the disk is not full")?;
            self.committed += commit.events;
            self.is_committing = false;
            commits.push(commit);
        }
        Ok(commits)
    }

    /// The events after `after`, for a replay.
    pub fn read_after(&self, after: u64) -> anyhow::Result<Vec<(u128, Ovum)>> {
        let txn = self.env.read_txn()?;
        let facts = self.events.range(&txn, &(after + 1..))?;
        facts
            .map(|fact| {
                let (number, fact) = fact?;
                fact.get(4..)
                    .and_then(|job| cue(job).ok())
                    .and_then(|job| {
                        let (now, ovum) = job.as_cell()?;
                        Some((now.as_atom()?.as_u128()?, Ovum::from_noun(ovum)?))
                    })
                    .with_context(|| format!("event {number} of the event log is damaged"))
            })
            .collect()
    }

    /// Starts a transaction of what waits, unless one is under way.
    pub fn start_commit(&mut self) -> anyhow::Result<()> {
        if self.is_committing || self.waiting.is_empty() {
            return Ok(());
        }
        self.start_threads()?;
        let count = self.waiting.len().min(BATCH_EVENTS);
        let job = Job {
            first_event: self.committed + 1,
            facts: self.waiting.drain(..count).collect(),
        };
        self.is_committing = true;
        locked(&self.pool.jobs).push_back(job);
        self.pool.work.notify_one();
        Ok(())
    }

    /// Starts the threads with the first commit, as libuv does.
    fn start_threads(&mut self) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.has_threads, true) {
            for _ in 0..THREADS {
                let pool = Arc::clone(&self.pool);
                let thread = std::thread::Builder::new().name("libuv-worker".to_owned());
                thread
                    .spawn(move || pool.work())
                    .context("cannot start a thread")?;
            }
        }
        Ok(())
    }
}

impl Pool {
    /// The life of a thread.
    fn work(&self) {
        loop {
            let mut jobs = locked(&self.jobs);
            let job = loop {
                match jobs.pop_front() {
                    Some(job) => break job,
                    None => jobs = self.work.wait(jobs).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(jobs);
            let result = self.commit(&job);
            locked(&self.done).push_back(result);
            let _counter_has_room = rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes());
        }
    }

    fn commit(&self, job: &Job) -> Result<Commit, heed::Error> {
        let start_ktime_ns = monotonic_ns();
        let mut txn = self.env.write_txn()?;
        for (number, fact) in (job.first_event..).zip(&job.facts) {
            self.events.put(&mut txn, &number, fact)?;
        }
        txn.commit()?;
        Ok(Commit {
            first_event: job.first_event,
            events: job.facts.len() as u64,
            start_ktime_ns,
            data_sync_ktime_ns: LAST_SYNC.get(),
            end_ktime_ns: monotonic_ns(),
        })
    }
}

/// A lock that a panic elsewhere does not poison: all its holders leave whole data behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_env(path: &Path, map_bytes: usize) -> anyhow::Result<Env> {
    let mut options = EnvOpenOptions::new();
    options.max_dbs(2).map_size(map_bytes);
    // SAFETY: the pier's lock keeps other ships away, and this process opens each environment once.
    unsafe { options.open(path) }
        .with_context(|| format!("cannot open the event log in {}", path.display()))
}

/// Opens the table of events, and says which is the last.
fn open_events(env: &Env) -> anyhow::Result<(Events, u64)> {
    let opened = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
        let options = opener
            .database_options()
            .types::<U64<NativeEndian>, Bytes>();
        let table = options
            .key_comparator::<IntegerComparator>()
            .name("EVENTS")
            .create(txn)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(table))
    })?;
    let events: Events = opened
        .commit()
        .context("the table of events was not made")?;
    let txn = env.read_txn()?;
    let last = events.last(&txn)?.map_or(0, |(number, _)| number);
    ensure!(
        events.len(&txn)? == last,
        "the event log has gaps: start with another pier"
    );
    Ok((events, last))
}

/// Reads who the ship is from the top level of the log, which holds nothing else, or writes it there.
fn identity(log: &Path, ship: Ship, map_bytes: usize) -> anyhow::Result<Ship> {
    let env = open_env(log, map_bytes)?;
    let opened = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
        let table = opener.create_database::<Str, Bytes>(txn, Some("META"))?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(table))
    })?;
    let meta: Database<'static, Str, Bytes> = opened
        .commit()
        .context("the table of meta data was not made")?;
    let mut txn = env.write_txn()?;
    let who =
        match meta.get(&txn, "who")? {
            Some(bytes) => {
                let number = Atom::from_bytes(bytes).as_u128();
                Ship(number.with_context(|| {
                    format!("the name of the ship in {} is damaged", log.display())
                })?)
            }
            None => {
                meta.put(&mut txn, "version", &[1])?;
                meta.put(&mut txn, "who", &ship.0.to_le_bytes())?;
                meta.put(&mut txn, "fake", &[0])?;
                meta.put(&mut txn, "life", &[1])?;
                ship
            }
        };
    txn.commit()?;
    env.prepare_for_closing().wait();
    Ok(who)
}

thread_local! {
    /// Start and end of this thread's last `fdatasync`.
    static LAST_SYNC: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The C library's `fdatasync`, in its place: LMDB's call to it comes here, and is timed for the ground truth.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: libc::c_int) -> libc::c_int {
    let start = monotonic_ns();
    // SAFETY: the call takes only the number, and the kernel checks it.
    let result = unsafe { libc::syscall(libc::SYS_fdatasync, fd) };
    LAST_SYNC.set((start, monotonic_ns()));
    result as libc::c_int
}
