//! What readers on this node see: the applied state, whole and immutable.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::State;

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

    /// Replaces the view.
    pub fn publish(&self, view: View) {
        self.0.store(Arc::new(view));
    }
}
