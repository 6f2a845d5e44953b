//! Proposals: the one way in which this node writes, with a bound on how many are under way.

use std::{sync::Arc, time::Duration};

use authrai_cluster::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Call, CommandError, Done};
use crate::{
    domain::{Action, Command, Outcome},
    limits,
    machine::AuthMachine,
};

/// A place among the commands that are under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Proposes commands to the cluster. Clones share one bound.
#[derive(Clone)]
pub struct Proposals {
    handle: Handle<AuthMachine>,
    places: Arc<Semaphore>,
}

impl Proposals {
    /// Proposals through `handle`.
    pub fn new(handle: Handle<AuthMachine>) -> Self {
        Self { handle, places: Arc::new(Semaphore::new(limits::COMMANDS_IN_FLIGHT_MAX)) }
    }

    /// Proposes `action` and waits until it is applied here.
    ///
    /// # Errors
    ///
    /// [`CommandError::Refused`] if the core says no; [`CommandError::Overloaded`] at once when
    /// [`limits::COMMANDS_IN_FLIGHT_MAX`] are under way; the others as they say.
    pub async fn propose(&self, call: Call, action: Action) -> Result<Done<Outcome>, CommandError> {
        let permit = self.admit()?;
        self.propose_admitted(&permit, call, action).await
    }

    pub(super) fn admit(&self) -> Result<Permit, CommandError> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map(Permit)
            .map_err(|_| CommandError::Overloaded)
    }

    pub(super) async fn propose_admitted(
        &self,
        _permit: &Permit,
        call: Call,
        action: Action,
    ) -> Result<Done<Outcome>, CommandError> {
        let command = Command { actor: call.actor, request_id: call.request_id, action };
        let deadline = Duration::from_millis(limits::PROPOSAL_DEADLINE_MS);
        let committed = if command.action.must_be_seen_everywhere() {
            self.handle.propose_everywhere(command, deadline).await?
        } else {
            self.handle.propose(command, deadline).await?
        };
        match committed.reply {
            Ok(Outcome::Refused(refusal)) | Err(refusal) => Err(CommandError::Refused(refusal)),
            Ok(value) => Ok(Done { index: committed.index, value }),
        }
    }
}
