//! Proposals: the one way in which this node writes, with a bound on how many are under way.
//!
//! Also where a request that is carried out once meets what it was answered before: the command
//! carries the secret part of its answer, sealed, and whichever command was the first to be applied
//! gives the answer to all.

use std::time::Duration;

use authrai_cluster::Handle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{Call, CommandError, Done, Once};
use crate::{
    domain::{Action, Actor, Answered, Command, IdempotencyClaim, OrgId, Outcome, Refusal, Reply},
    fair::{Gate, Pass, Supply, Turns},
    limits,
    machine::AuthMachine,
};

/// A place among the commands that are under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit(Pass<OrgId>);

/// A secret that is shown in an answer.
pub(super) type Shown = Zeroizing<String>;

/// Proposes commands to the cluster. Clones share one bound.
#[derive(Clone)]
pub struct Proposals {
    handle: Handle<AuthMachine>,
    places: Gate<OrgId>,
    /// The way into the log, which all that is proposed stands in line for.
    log: Turns<OrgId>,
}

impl Proposals {
    /// Proposals through `handle`.
    pub fn new(handle: Handle<AuthMachine>) -> Self {
        Self { handle, places: places(), log: log() }
    }

    /// Proposes `action`, whose answer shows no secret, and waits until it is applied here.
    ///
    /// # Errors
    ///
    /// [`CommandError::Refused`] if the core says no; [`CommandError::Overloaded`] or
    /// [`CommandError::Share`] at once when too many are under way; the others as they say.
    pub async fn propose(&self, call: Call, action: Action) -> Result<Done<Outcome>, CommandError> {
        let permit = self.admit(call.org)?;
        let done = self.propose_admitted(&permit, call, action, None).await?;
        Ok(done.map(|(outcome, _)| outcome))
    }

    /// Proposes `action`, whose answer shows the secret `shown`. The secret that is given back is
    /// the one to show: where the request was carried out before, that is the one of then.
    ///
    /// # Errors
    ///
    /// As [`Proposals::propose`], and [`CommandError::Unrecoverable`].
    pub async fn propose_showing(
        &self,
        call: Call,
        action: Action,
        shown: &str,
    ) -> Result<Done<(Outcome, Zeroizing<String>)>, CommandError> {
        let permit = self.admit(call.org)?;
        let shown = Some(Zeroizing::new(shown.to_owned()));
        let done = self.propose_admitted(&permit, call, action, shown).await?;
        Ok(done.map(|(outcome, shown)| (outcome, shown.unwrap_or_default())))
    }

    /// A place among the commands of `org` that are under way.
    pub(super) fn admit(&self, org: OrgId) -> Result<Permit, CommandError> {
        Ok(Permit(self.places.enter(org)?))
    }

    pub(super) async fn propose_admitted(
        &self,
        permit: &Permit,
        call: Call,
        action: Action,
        shown: Option<Shown>,
    ) -> Result<Done<(Outcome, Option<Shown>)>, CommandError> {
        let Call { actor, org: _, request_id, once } = call;
        let idempotency = once.as_ref().map(|once| once.claim(shown.as_ref()));
        let own_seal = idempotency.as_ref().map(|claim| claim.sealed.clone()).unwrap_or_default();
        let deleting = Deleting::of(&actor, &action);
        let command = Command { actor, request_id, action, idempotency };
        let deadline = Duration::from_millis(limits::PROPOSAL_DEADLINE_MS);
        // Nothing is proposed before its turn, so one that waits too long had no effect.
        let patience = Duration::from_secs(limits::REQUEST_TIMEOUT_S);
        let turn = timeout(patience, self.log.take(*permit.0.key(), 1)).await;
        let _turn = turn.map_err(|_| CommandError::Overloaded)?;
        let committed = if command.action.must_be_seen_everywhere() {
            self.handle.propose_everywhere(command, deadline).await?
        } else {
            self.handle.propose(command, deadline).await?
        };
        let index = committed.index;
        match first_reply(&deleting, committed.again, committed.reply) {
            Ok(Outcome::Replayed(answered)) => {
                // A command that was applied twice, because its fate was not known, meets itself;
                // no two seals are alike.
                let replayed = answered.sealed.is_empty() || answered.sealed != own_seal;
                let value = replay(once.as_ref(), &answered)?;
                Ok(Done { index, value, replayed })
            }
            // What it was refused for may be what it did itself the first time.
            Ok(Outcome::Refused(_)) | Err(_) if committed.again => {
                Err(CommandError::OutcomeUnknown)
            }
            Ok(Outcome::Refused(refusal)) | Err(refusal) => Err(CommandError::Refused(refusal)),
            Ok(outcome) => Ok(Done { index, value: (outcome, shown), replayed: false }),
        }
    }
}

fn places() -> Gate<OrgId> {
    Gate::new(Supply::new(
        limits::COMMANDS_IN_FLIGHT_MAX,
        limits::COMMANDS_IN_FLIGHT_PER_ORGANIZATION_MAX,
    ))
}

fn log() -> Turns<OrgId> {
    Turns::new(Supply::new(
        limits::COMMANDS_AT_THE_LOG_MAX,
        limits::COMMANDS_AT_THE_LOG_PER_ORGANIZATION_MAX,
    ))
}

/// What a command deletes, as far as it matters to a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deleting {
    Nothing,
    Something,
    /// The key that the command is authorised by.
    OwnKey,
}

impl Deleting {
    fn of(actor: &Actor, action: &Action) -> Self {
        match (action, actor) {
            (Action::DeleteApiKey(id), Actor::ApiKey(own)) if id == own => Self::OwnKey,
            (Action::DeleteOperatorKey(id), Actor::Operator(own)) if id == own => Self::OwnKey,
            (
                Action::DeleteApiKey(_)
                | Action::DeleteOperatorKey(_)
                | Action::DeletePolicy(_)
                | Action::DeleteWebhook(_)
                | Action::DeleteDomain(_),
                _,
            ) => Self::Something,
            _ => Self::Nothing,
        }
    }
}

/// What a command came to where it may have been applied twice, because its outcome was unknown at
/// first: what is gone the second time was deleted the first.
fn first_reply(deleting: &Deleting, again: bool, reply: Reply) -> Reply {
    match (deleting, reply) {
        (Deleting::Something | Deleting::OwnKey, Err(Refusal::NotFound(_)))
        | (Deleting::OwnKey, Err(Refusal::CallerUnknown(())))
            if again =>
        {
            Ok(Outcome::Deleted(()))
        }
        (_, reply) => reply,
    }
}

impl Once {
    fn claim(&self, shown: Option<&Shown>) -> IdempotencyClaim {
        IdempotencyClaim {
            record: self.key.record(),
            request: self.request,
            sealed: shown.map(|shown| self.key.seal(shown.as_bytes())).unwrap_or_default(),
        }
    }
}

/// What was answered before, with the secret that was shown.
fn replay(
    once: Option<&Once>,
    answered: &Answered,
) -> Result<(Outcome, Option<Shown>), CommandError> {
    let outcome = answered.outcome().map_err(|error| {
        CommandError::Failed(format!("a remembered answer cannot be read: {error}"))
    })?;
    if answered.sealed.is_empty() {
        return Ok((outcome, None));
    }
    let opened = once.and_then(|once| once.key.open(&answered.sealed));
    let text =
        opened.and_then(|bytes| Some(Zeroizing::new(std::str::from_utf8(&bytes).ok()?.to_owned())));
    text.map(|shown| (outcome, Some(shown))).ok_or(CommandError::Unrecoverable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ApiKeyId, Kind, OperatorKeyId, PolicyId};
    use crate::fair::check::{gate_is_shared, turns_are_shared};

    #[test]
    fn one_organisation_does_not_keep_the_others_commands_out_of_the_log() {
        let [attacker, other] = [1, 2].map(OrgId::from_ulid);
        gate_is_shared(&places(), attacker, other);
        turns_are_shared(&log(), attacker, other);
    }

    #[test]
    fn what_a_node_proposed_twice_is_answered_as_the_first_time() {
        let (own, other) = (ApiKeyId([1; 16]), ApiKeyId([2; 16]));
        let (key, operator) = (Actor::ApiKey(own), Actor::Operator(OperatorKeyId([3; 16])));
        let delete = Action::DeleteApiKey;
        let gone = || Err(Refusal::NotFound(Kind::ApiKey(())));
        let dead = || Err(Refusal::CallerUnknown(()));
        let deleted = || Ok(Outcome::Deleted(()));
        let rows = [
            (&key, delete(other), true, gone(), deleted()),
            (&key, delete(own), true, dead(), deleted()),
            (&key, Action::DeletePolicy(PolicyId([1; 16])), true, gone(), deleted()),
            (&operator, Action::DeleteOperatorKey(OperatorKeyId([3; 16])), true, dead(), deleted()),
            // Proposed once, it is what it is.
            (&key, delete(other), false, gone(), gone()),
            (&key, delete(own), false, dead(), dead()),
            // Its caller died by another hand.
            (&key, delete(other), true, dead(), dead()),
            (&key, Action::Tick(()), true, gone(), gone()),
        ];
        for (actor, action, again, reply, expected) in rows {
            let got = first_reply(&Deleting::of(actor, &action), again, reply);
            assert_eq!(got, expected, "{action:?} {again}");
        }
    }
}
