//! Where whatever finds that the node can not go on says so, once.
//!
//! The first reason wins. Must not decide what happens then: that is for whoever waits.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Fatal;

/// A place for the reason why the node stopped; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct FatalCell(Arc<watch::Sender<Option<Fatal>>>);

impl FatalCell {
    pub(crate) fn new() -> FatalCell {
        FatalCell(Arc::new(watch::Sender::new(None)))
    }

    /// Records `fatal` unless something was before. A closed store is no reason: it follows from a
    /// shutdown.
    pub(crate) fn fail(&self, fatal: Fatal) {
        if fatal == Fatal::Closed {
            return;
        }
        self.0.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                tracing::error!(error = %fatal, "the node can not go on");
                *reason = Some(fatal);
            }
            first
        });
    }

    /// Records the error of `result`, and passes `result` on.
    pub(crate) fn check<T>(&self, result: Result<T, Fatal>) -> Result<T, Fatal> {
        if let Err(fatal) = &result {
            self.fail(fatal.clone());
        }
        result
    }

    pub(crate) fn get(&self) -> Option<Fatal> {
        self.0.borrow().clone()
    }

    /// Resolves when there is a reason.
    pub(crate) async fn wait(&self) -> Fatal {
        let mut reason = self.0.subscribe();
        loop {
            if let Some(fatal) = reason.borrow_and_update().clone() {
                return fatal;
            }
            if reason.changed().await.is_err() {
                // Cannot be: the sender lives in `self`.
                return Fatal::Closed;
            }
        }
    }
}
