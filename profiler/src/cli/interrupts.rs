//! Ends before time: the signals of somebody who has seen enough, and of a host that goes down.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a capture early. They are heard from here on, so that what comes while the
/// programs are being attached ends the capture as soon as it has begun.
pub struct Interrupts {
    runtime: tokio::runtime::Runtime,
    signals: Signals,
}

/// The signals alone.
pub struct Signals {
    /// SIGINT.
    pub interrupt: Signal,
    /// SIGTERM.
    pub terminate: Signal,
}

impl Interrupts {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the runtime or a signal handler cannot be set up.
    pub fn listen() -> anyhow::Result<Self> {
        Self::try_listen().context("cannot wait for signals and time")
    }

    fn try_listen() -> std::io::Result<Self> {
        // Of one thread: giving up privileges must reach all there are.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let signals = Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        drop(inside);
        Ok(Self { runtime, signals })
    }

    /// The runtime that the signals are heard on, and the signals.
    pub fn into_parts(self) -> (tokio::runtime::Runtime, Signals) {
        (self.runtime, self.signals)
    }
}
