//! A stack of what has to be undone on this machine before the process ends.
//!
//! Dropping an [`Undo`] runs its action, also while a panic unwinds. SIGINT, SIGTERM and SIGHUP run all
//! actions, the newest first, and then end the process with the shell's status for an interrupt.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use crate::{Result, scratch};

/// Exit status after SIGINT and the like: 128 + SIGINT, as shells report it.
const INTERRUPTED_STATUS: i32 = 130;

type Action = Box<dyn FnOnce() -> Result<()> + Send>;

struct Entry {
    id: u64,
    what: String,
    action: Action,
}

struct Stack {
    next_id: u64,
    entries: Vec<Entry>,
}

static STACK: Mutex<Stack> = Mutex::new(Stack {
    next_id: 0,
    entries: Vec::new(),
});

/// Runs its action once, when it is dropped or when the process is interrupted.
///
/// Actions run while the stack is locked, so that an interrupt waits for one that is under way; an
/// action must therefore not make or drop another `Undo`.
#[derive(Debug)]
#[must_use = "dropping it undoes the change at once"]
pub struct Undo {
    id: u64,
}

impl Undo {
    /// Registers `action`. `what` completes the sentence "could not …" if it fails.
    pub fn new(
        what: impl Into<String>,
        action: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Self {
        prepare();
        let mut stack = lock();
        let id = stack.next_id;
        stack.next_id += 1;
        stack.entries.push(Entry {
            id,
            what: what.into(),
            action: Box::new(action),
        });
        Self { id }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let mut stack = lock();
        if let Some(index) = stack.entries.iter().position(|entry| entry.id == self.id) {
            run(stack.entries.remove(index));
        }
    }
}

/// Removes what killed runs left, and arranges for interrupts, once per process. Every fault does
/// this by itself.
pub fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        scratch::remove_stale();
        if let Err(error) = ctrlc::set_handler(interrupted) {
            eprintln!("an interrupt will not clean up here: {error}");
        }
    });
}

/// Never gives the lock back: whoever waits for it must not go on while the process ends.
fn interrupted() {
    let mut stack = lock();
    while let Some(entry) = stack.entries.pop() {
        run(entry);
    }
    std::process::exit(INTERRUPTED_STATUS);
}

fn run(entry: Entry) {
    if let Err(error) = (entry.action)() {
        eprintln!("could not {}: {error}", entry.what);
    }
}

fn lock() -> MutexGuard<'static, Stack> {
    STACK.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn runs_once_on_drop_and_on_panic() {
        let runs = Arc::new(AtomicU32::new(0));
        let count = |runs: &Arc<AtomicU32>| {
            let runs = Arc::clone(runs);
            Undo::new("count", move || {
                runs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
        };
        drop(count(&runs));
        assert_eq!(runs.load(Ordering::Relaxed), 1);

        let guard = count(&runs);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _guard = guard;
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }
}
