//! SIGINT and SIGTERM: Ctrl-C, and the way in which a service manager ends a program.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CommandError;

/// Listens from the moment that it is made: a signal that comes before somebody waits for it is
/// not lost, and ends nothing half-way.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system gives no signals.
    pub fn listen() -> Result<StopSignals, CommandError> {
        let of = |kind| {
            signal(kind)
                .map_err(|e| CommandError::Failed(format!("cannot listen for signals: {e}")))
        };
        Ok(StopSignals {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
        })
    }

    /// Returns at the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
