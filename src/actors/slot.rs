//! Where a restarted actor is found: a handle looks here at each call, so it outlives the actor.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, Message};
use tokio::sync::oneshot;

use super::CommandError;

/// Holds the running incarnation of an actor, if there is one.
pub(super) struct Slot<M: Message>(Arc<ArcSwapOption<ActorRef<M>>>);

impl<M: Message> Clone for Slot<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message> Default for Slot<M> {
    fn default() -> Self {
        Self(Arc::new(ArcSwapOption::empty()))
    }
}

impl<M: Message> Slot<M> {
    pub(super) fn fill(&self, actor: ActorRef<M>) {
        self.0.store(Some(Arc::new(actor)));
    }

    pub(super) fn current(&self) -> Option<Arc<ActorRef<M>>> {
        self.0.load_full()
    }

    /// Sends what `message` makes of a reply channel and waits for the reply. An actor that dies
    /// before it takes the message up drops the channel: then nothing was done.
    pub(super) async fn call<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> M,
    ) -> Result<T, CommandError> {
        const RESTARTING: CommandError = CommandError::NotReady("a part of it is restarting");
        let (reply, answer) = oneshot::channel();
        let actor = self.current().ok_or(RESTARTING)?;
        actor.send_message(message(reply)).map_err(|_| RESTARTING)?;
        answer.await.map_err(|_| RESTARTING)
    }
}
