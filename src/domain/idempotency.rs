//! Idempotency: a request that is sent twice is carried out once, and answered the same.
//!
//! A command can claim a record: what tells its caller, route and `Idempotency-Key` apart from
//! every other. The first command to claim one is decided, and what it came to is kept in the same
//! step; each later one is answered with that. So it does not matter whether the first is long
//! done, still under way, or was applied on a node that is gone. Only successes are kept: what was
//! refused is decided anew.
//!
//! A secret that the answer shows is kept sealed, under a key that only who presents the API key
//! can make. Must not know that key, nor what an action does.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Decision, Event, Fact, Hash, Level, Millis, OrgId, Outcome, Refusal, State, Tenant,
    caller::Caller, text::invalid,
};
use crate::{
    codec::{self, DecodeError},
    limits,
};

/// What a command says of the request that it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyClaim {
    /// Digest of the caller, the route and the `Idempotency-Key`.
    pub record: Hash,
    /// Digest of the request's body.
    pub request: Hash,
    /// The secret part of the answer, sealed; empty when there is none.
    pub sealed: Vec<u8>,
}

/// What a request was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The stored form of the outcome.
    pub outcome: Vec<u8>,
    /// The secret part, sealed; empty when there is none.
    pub sealed: Vec<u8>,
}

impl Answered {
    /// What the command came to.
    ///
    /// # Errors
    ///
    /// If this program does not know such an outcome.
    pub fn outcome(&self) -> Result<Outcome, DecodeError> {
        codec::decode(&self.outcome)
    }

    fn bytes(&self) -> u64 {
        (self.outcome.len() + self.sealed.len()) as u64
    }
}

/// An answer that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// Whose it is; [`OrgId::SYSTEM`] for operators.
    pub org: OrgId,
    /// [`IdempotencyClaim::request`] of the command.
    pub request: Hash,
    /// What it was answered.
    pub answer: Answered,
    /// Until when it is remembered.
    pub expires_at: Millis,
}

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remembered {
    /// Answers.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The decision on a command with this claim: `decide` makes it, unless it was made before.
pub(super) fn once(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    claim: &IdempotencyClaim,
    decide: impl FnOnce() -> Result<Decision, Refusal>,
) -> Result<Decision, Refusal> {
    let org = caller.api_key().map_or(OrgId::SYSTEM, |key| key.tenant.org);
    if let Some(known) = state.answers.get(&claim.record).filter(|known| at < known.expires_at) {
        if known.request != claim.request || known.org != org {
            return Err(Refusal::IdempotencyKeyReused(()));
        }
        return Ok(Decision::unchanged(Outcome::Replayed(known.answer.clone())));
    }
    let mut decision = decide()?;
    if !decision.outcome.is_success() {
        return Ok(decision);
    }
    let answer =
        Answered { outcome: codec::encode(&decision.outcome), sealed: claim.sealed.clone() };
    check_room(state, org, answer.bytes())?;
    let record = IdempotencyRecord {
        org,
        request: claim.request,
        answer,
        expires_at: at.saturating_add(limits::IDEMPOTENCY_MEMORY_S * 1000),
    };
    let fact = Fact::AnswerRemembered(claim.record, Arc::new(record));
    decision.events.push(Event { chain: Tenant::live(org), fact });
    Ok(decision)
}

fn check_room(state: &State, org: OrgId, more: u64) -> Result<(), Refusal> {
    let most = match state.level < Level::BOUNDED {
        true => limits::IDEMPOTENCY_ANSWER_MAX_BYTES,
        false => limits::IDEMPOTENCY_ANSWER_BOUNDED_MAX_BYTES,
    };
    if more > most {
        return Err(invalid(
            "Idempotency-Key",
            format!(
                "cannot be used here: the answer would have {more} bytes, and at most {most} are \
                 remembered"
            ),
        ));
    }
    let own = state.answers_remembered.get(&org).copied().unwrap_or_default();
    let all = state.answers_remembered_in_all;
    let bounds = [
        (
            own.records + 1,
            limits::IDEMPOTENCY_KEYS_PER_ORGANIZATION_MAX,
            "idempotency keys of this organisation in 24 hours",
        ),
        (
            own.bytes + more,
            limits::IDEMPOTENCY_BYTES_PER_ORGANIZATION_MAX,
            "bytes of answers remembered for idempotency keys of this organisation",
        ),
        (
            all.records + 1,
            limits::IDEMPOTENCY_KEYS_MAX,
            "idempotency keys in the cluster in 24 hours",
        ),
        (
            all.bytes + more,
            limits::IDEMPOTENCY_BYTES_MAX,
            "bytes of answers remembered for idempotency keys in the cluster",
        ),
    ];
    match bounds.into_iter().find(|(number, limit, _)| number > limit) {
        Some((_, limit, what)) => Err(Refusal::too_many(what, limit)),
        None => Ok(()),
    }
}

impl State {
    pub(crate) fn put_answer(&mut self, id: Hash, record: Arc<IdempotencyRecord>) {
        self.drop_answer(&id);
        let bytes = record.answer.bytes();
        let own = self.answers_remembered.entry(record.org).or_default();
        for count in [own, &mut self.answers_remembered_in_all] {
            count.records += 1;
            count.bytes += bytes;
        }
        self.answer_ends.insert((record.expires_at, id));
        self.answers.insert(id, record);
    }

    pub(super) fn drop_answer(&mut self, id: &Hash) {
        let Some(old) = self.answers.remove(id) else { return };
        self.answer_ends.remove(&(old.expires_at, *id));
        let bytes = old.answer.bytes();
        let mut own = self.answers_remembered.get(&old.org).copied().unwrap_or_default();
        for count in [&mut own, &mut self.answers_remembered_in_all] {
            count.records = count.records.saturating_sub(1);
            count.bytes = count.bytes.saturating_sub(bytes);
        }
        if own.records == 0 {
            self.answers_remembered.remove(&old.org);
        } else {
            self.answers_remembered.insert(old.org, own);
        }
    }

    pub(super) fn old_answers(&self, at: Millis) -> impl Iterator<Item = Fact> {
        self.answer_ends
            .iter()
            .take_while(move |(until, _)| *until <= at)
            .map(|(_, id)| Fact::AnswerForgotten(*id))
    }
}
