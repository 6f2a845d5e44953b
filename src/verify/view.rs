//! What readers on this node see: the applied state, whole and immutable.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{domain::State, limits};

/// The state after a log entry.
#[derive(Debug, Default)]
pub struct View {
    /// Log index of the last entry that the state holds.
    pub index: u64,
    /// The state. A clone that shares the machine's own maps.
    pub state: State,
}

/// Where the newest [`View`] is found. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Views(Arc<ArcSwap<View>>);

impl Views {
    /// The newest view: one atomic load.
    pub fn load(&self) -> arc_swap::Guard<Arc<View>> {
        self.0.load()
    }

    /// The newest view, to be held across waits.
    pub fn load_full(&self) -> Arc<View> {
        self.0.load_full()
    }

    /// Replaces the view. What a view alone still holds is freed with it, which for a million tokens
    /// of an agent that was revoked takes a while: then that is done elsewhere, so that the log
    /// goes on.
    pub fn publish(&self, view: View) {
        let live = view.state.token_lists.total();
        let old = self.0.swap(Arc::new(view));
        if old.state.token_lists.total() > live.saturating_add(limits::FREED_HERE_MAX_TOKENS) {
            // If there is no thread to be had, it is freed here.
            let _ = std::thread::Builder::new().name("old view".into()).spawn(move || drop(old));
        }
    }
}
