//! What a node runs on: its tasks, the threads that block for it, and the engine's runtime.
//!
//! In production this is tokio and threads of the system. The simulation runs the same code as
//! tasks of one thread, in an order that a seed draws. Must not know what the work is.

use std::thread;

#[cfg(test)]
pub(crate) use crate::sim::tasks::{Engine, JoinHandle, spawn, spawn_blocking};
#[cfg(not(test))]
pub(crate) use openraft::TokioRuntime as Engine;
#[cfg(not(test))]
pub(crate) use tokio::task::{JoinHandle, spawn, spawn_blocking};

/// Work that goes on beside the tasks, for as long as the node runs.
pub(crate) enum Worker {
    /// A thread that may block.
    Thread(thread::JoinHandle<()>),
    /// A task that stands for it in the simulation.
    #[cfg(test)]
    Task(JoinHandle<()>),
}

impl Worker {
    /// Begins `work` on a thread of its own.
    pub(crate) fn thread(work: impl FnOnce() + Send + 'static) -> Worker {
        Worker::Thread(thread::spawn(work))
    }

    /// Waits until it has ended; it has been told to. `what` is named if it panicked.
    pub(crate) async fn ended(self, what: &str) {
        let well = match self {
            Worker::Thread(thread) => {
                spawn_blocking(move || thread.join().is_ok()).await.unwrap_or(false)
            }
            #[cfg(test)]
            Worker::Task(task) => task.await.is_ok(),
        };
        if !well {
            tracing::error!(what, "a worker panicked");
        }
    }
}
