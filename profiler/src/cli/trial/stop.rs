//! Waiting with an ear for whoever wants the trial to end: Ctrl-C, `kill`, a terminal that is closed.

use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the trial was ended by a signal")]
pub struct Stopped;

/// The signals that end a trial. While this lives none of them ends the process, so that what was changed
/// can be taken back.
pub struct Stop {
    runtime: Runtime,
    signals: [Signal; 4],
}

impl Stop {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the runtime or a handler cannot be set up.
    pub fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
        ];
        drop(inside);
        Ok(Self { runtime, signals })
    }

    /// Waits for so long.
    ///
    /// # Errors
    /// As soon as a signal came.
    pub fn pause(&mut self, time: Duration) -> Result<(), Stopped> {
        let [interrupt, terminate, hangup, quit] = &mut self.signals;
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = interrupt.recv() => Err(Stopped),
                _ = terminate.recv() => Err(Stopped),
                _ = hangup.recv() => Err(Stopped),
                _ = quit.recv() => Err(Stopped),
                () = tokio::time::sleep(time) => Ok(()),
            }
        })
    }
}
