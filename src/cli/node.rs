//! Running a node until it is told to stop, or cannot go on.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::server::Server;

use super::{Exit, Failure};

/// The signals that stop a node. Caught from the start, so that one that comes early counts.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Catches SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn catch() -> Result<Self, Failure> {
        let catch = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Internal, format!("cannot catch signals: {error}"))
            })
        };
        Ok(Self {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }

    /// Resolves at the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Serves until a signal, then drains. A second signal does not wait for requests in flight.
///
/// # Errors
/// If the node cannot go on, or does not close in order.
pub async fn run(mut server: Server, mut signals: StopSignals) -> Result<(), Failure> {
    server.serve();
    tokio::select! {
        () = signals.next() => {}
        fatal = server.fatal() => return Err(fatal.into()),
    }
    tokio::select! {
        stopped = server.stop() => Ok(stopped?),
        () = signals.next() => {
            Err(Failure::new(Exit::Interrupted, "stopped at once: requests in flight were cut off"))
        }
    }
}
