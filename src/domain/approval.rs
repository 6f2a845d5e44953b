//! Approvals: a token request that somebody has to agree to.
//!
//! An approval stands for exactly one request, field by field, for the rule that asked, and for the
//! agent as it was then: who answers looks at all three. It is pending until a key other than those that asked approves or denies it, or its time is over; an
//! approved one is collected once. Only an answer makes it approved: nobody to ask means pending.
//! Must not know why the rule matched.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    AgentId, ApiKeyId, ApprovalId, Decision, Event, Fact, Hash, Kind, Level, Millis, Outcome,
    Refusal, RuleRef, Seconds, State, Tenant, TokenId, caller::Caller,
};
use crate::{
    codec::{self, stored_tags},
    limits,
};

stored_tags! {
    /// How far an approval has come.
    pub enum ApprovalStatus {
        /// Waits for an answer.
        1 => Pending = "pending",
        /// Somebody agreed; it waits to be collected.
        2 => Approved = "approved",
        /// Somebody did not.
        3 => Denied = "denied",
        /// Its time was over before it was answered, or collected.
        4 => Expired = "expired",
        /// The token was issued.
        5 => Consumed = "consumed",
    }
}

impl ApprovalStatus {
    /// Whether it still can come to something.
    const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Approved)
    }
}

/// An approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// Whose it is.
    pub tenant: Tenant,
    /// For whom the token was asked.
    pub agent: AgentId,
    /// What it is to allow.
    pub scope: Vec<String>,
    /// How long it is to live.
    pub ttl_s: Seconds,
    /// Where it is to be used.
    pub target_service: String,
    /// What it is for.
    pub intent: Option<String>,
    /// The rule that asked.
    pub rule: RuleRef,
    /// What that rule said.
    pub rule_digest: Hash,
    /// The keys that asked; none of them can approve.
    pub asked_by: BTreeSet<ApiKeyId>,
    /// How far it has come. Past [`Approval::expires_at`], see [`Approval::status_at`].
    pub status: ApprovalStatus,
    /// When it was asked for.
    pub created_at: Millis,
    /// When it is over, answered or not, unless it was collected.
    pub expires_at: Millis,
    /// Who answered.
    pub answered_by: Option<ApiKeyId>,
    /// When.
    pub answered_at: Option<Millis>,
    /// The token that was issued.
    pub token: Option<TokenId>,
}

const KIND: Kind = Kind::Approval(());

impl Approval {
    /// How far it has come at `at`: time needs no tick to pass.
    pub fn status_at(&self, at: Millis) -> ApprovalStatus {
        if self.status.is_open() && at >= self.expires_at {
            ApprovalStatus::Expired
        } else {
            self.status
        }
    }

    /// What tells its request apart from every other.
    fn request_digest(&self) -> Hash {
        let request = (self.agent, &self.scope, self.ttl_s, &self.target_service, &self.intent);
        Sha256::digest(codec::encode(&request)).into()
    }

    /// Whether both are for the same request.
    pub(super) fn is_for_the_request_of(&self, other: &Self) -> bool {
        self.tenant == other.tenant && self.request_digest() == other.request_digest()
    }

    /// When time does the next thing to it: ends it, or lets it be forgotten.
    fn due_at(&self) -> Millis {
        if self.status.is_open() {
            return self.expires_at;
        }
        let ended_at = self.expires_at.max(self.answered_at.unwrap_or(0));
        ended_at.saturating_add(limits::APPROVAL_RETENTION_S * 1000)
    }
}

/// Asks for `new`, which is pending; an equal request that is pending already is joined.
pub(super) fn request(
    state: &State,
    at: Millis,
    asker: ApiKeyId,
    new: Approval,
) -> Result<Decision, Refusal> {
    let pending = |approval: Arc<Approval>| Outcome::ApprovalPending(approval);
    if let Some(known) = state.approvals.get(&new.id) {
        return match known.is_for_the_request_of(&new) {
            true => Ok(Decision::unchanged(pending(Arc::clone(known)))),
            false => Err(Refusal::IdTaken(KIND)),
        };
    }
    let subject = state.approval_subject_now(new.agent);
    let equal = state.pending_equal_to(&new).find(|known| {
        known.status_at(at) == ApprovalStatus::Pending
            && state.approval_subjects.get(&known.id) == subject.as_ref()
            && known.rule == new.rule
            && known.rule_digest == new.rule_digest
    });
    if let Some(known) = equal {
        if known.asked_by.contains(&asker) {
            return Ok(Decision::unchanged(pending(Arc::clone(known))));
        }
        if known.asked_by.len() >= limits::APPROVAL_ASKERS_MAX {
            return Err(Refusal::too_many(
                "keys that ask for one approval",
                limits::APPROVAL_ASKERS_MAX as u64,
            ));
        }
        let mut joined = Approval::clone(known);
        joined.asked_by.insert(asker);
        let joined = Arc::new(joined);
        let fact = Fact::ApprovalJoined(Arc::clone(&joined));
        return Ok(Decision::one(joined.tenant, fact, pending(joined)));
    }
    let number = state.approvals_of(new.tenant);
    if number >= limits::APPROVALS_PER_TENANT_MAX {
        return Err(Refusal::too_many(
            "approvals in this environment, answered ones included",
            limits::APPROVALS_PER_TENANT_MAX as u64,
        ));
    }
    if state.level >= Level::BOUNDED && state.approvals.len() >= limits::APPROVALS_MAX {
        return Err(Refusal::too_many(
            "approvals in the cluster, answered ones included",
            limits::APPROVALS_MAX as u64,
        ));
    }
    let new = Arc::new(new);
    Ok(Decision::one(new.tenant, Fact::ApprovalRequested(Arc::clone(&new), subject), pending(new)))
}

/// The approval, if the caller's tenant has it.
fn find<'a>(
    state: &'a State,
    caller: Caller<'_>,
    id: ApprovalId,
) -> Result<&'a Arc<Approval>, Refusal> {
    state.approval(caller.tenant()?, id).ok_or(Refusal::NotFound(KIND))
}

pub(super) fn approve(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    id: ApprovalId,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, id)?;
    let key = caller.api_key().map(|key| key.id);
    if key.is_some_and(|key| old.asked_by.contains(&key)) {
        return Err(Refusal::Forbidden(
            "the key that asked for a token cannot approve it; another one has to".to_owned(),
        ));
    }
    if old.status_at(at) == ApprovalStatus::Pending && !state.is_approval_subject_same(old) {
        return Err(Refusal::ApprovalStale(()));
    }
    answer(old, at, key, ApprovalStatus::Approved, Fact::ApprovalApproved)
}

pub(super) fn disapprove(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    id: ApprovalId,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, id)?;
    let key = caller.api_key().map(|key| key.id);
    answer(old, at, key, ApprovalStatus::Denied, Fact::ApprovalDenied)
}

fn answer(
    old: &Arc<Approval>,
    at: Millis,
    key: Option<ApiKeyId>,
    status: ApprovalStatus,
    fact: impl Fn(Arc<Approval>) -> Fact,
) -> Result<Decision, Refusal> {
    match old.status_at(at) {
        ApprovalStatus::Pending => {}
        same if same == status => {
            return Ok(Decision::unchanged(Outcome::Approval(Arc::clone(old))));
        }
        // Who agreed may think better of it until the token is collected.
        ApprovalStatus::Approved if status == ApprovalStatus::Denied => {}
        other => return Err(Refusal::ApprovalNot(other)),
    }
    let approval = Arc::new(Approval {
        status,
        answered_by: key,
        answered_at: Some(at),
        ..Approval::clone(old)
    });
    let chain = approval.tenant;
    Ok(Decision::one(chain, fact(Arc::clone(&approval)), Outcome::Approval(approval)))
}

/// The fact that `token` was issued on approval `id`, which has to be for the request of `asked` and
/// for the rule that asks now.
pub(super) fn collect(
    state: &State,
    at: Millis,
    id: ApprovalId,
    asked: &Approval,
    token: TokenId,
) -> Result<Fact, Refusal> {
    let approval = state.approval(asked.tenant, id).ok_or(Refusal::NotFound(KIND))?;
    if !approval.is_for_the_request_of(asked) {
        return Err(Refusal::ApprovalElsewhere(()));
    }
    match approval.status_at(at) {
        ApprovalStatus::Approved => {}
        other => return Err(Refusal::ApprovalNot(other)),
    }
    let is_rule_same =
        approval.rule.policy == asked.rule.policy && approval.rule_digest == asked.rule_digest;
    if !is_rule_same || !state.is_approval_subject_same(approval) {
        return Err(Refusal::ApprovalStale(()));
    }
    Ok(Fact::ApprovalConsumed(Arc::new(Approval {
        status: ApprovalStatus::Consumed,
        token: Some(token),
        ..Approval::clone(approval)
    })))
}

impl State {
    /// The approval, if `tenant` has it.
    pub fn approval(&self, tenant: Tenant, id: ApprovalId) -> Option<&Arc<Approval>> {
        self.approvals.get(&id).filter(|approval| approval.tenant == tenant)
    }

    /// What an approval that is asked for now is bound to of the agent.
    fn approval_subject_now(&self, agent: AgentId) -> Option<Hash> {
        let agent = self.agents.get(&agent).filter(|_| self.level >= Level::BOUNDED);
        agent.map(|agent| agent.approver_digest())
    }

    /// Whether the agent is what it was when the approval was asked for. One from before the level
    /// that keeps this is bound to nothing of the agent.
    fn is_approval_subject_same(&self, approval: &Approval) -> bool {
        let Some(then) = self.approval_subjects.get(&approval.id) else { return true };
        let agent = self.agents.get(&approval.agent);
        agent.is_some_and(|agent| agent.approver_digest() == *then)
    }

    pub(crate) fn put_approval_subject(&mut self, id: ApprovalId, subject: Hash) {
        self.approval_subjects.insert(id, subject);
    }

    fn approvals_of(&self, tenant: Tenant) -> usize {
        let of_status = |status| self.approvals_by_status.get(&(tenant, status));
        ApprovalStatus::ALL.into_iter().filter_map(of_status).map(imbl::OrdSet::len).sum()
    }

    /// The pending approvals of the same request, one at most for each rule that asked unless time
    /// has passed and no tick yet.
    fn pending_equal_to(&self, new: &Approval) -> impl Iterator<Item = &Arc<Approval>> {
        let (tenant, digest) = (new.tenant, new.request_digest());
        let first = ApprovalId([0; 16]);
        let last = ApprovalId([u8::MAX; 16]);
        self.pending_approvals
            .range((tenant, digest, first)..=(tenant, digest, last))
            .filter_map(|(_, _, id)| self.approvals.get(id))
    }

    pub(crate) fn put_approval(&mut self, approval: Arc<Approval>) {
        self.drop_approval(approval.id);
        self.item_bytes.replace(approval.tenant.org, None, Some(&*approval));
        if approval.status == ApprovalStatus::Pending {
            let digest = approval.request_digest();
            self.pending_approvals.insert((approval.tenant, digest, approval.id));
        }
        let of_status = (approval.tenant, approval.status);
        self.approvals_by_status.entry(of_status).or_default().insert(approval.id);
        self.approvals_due.insert((approval.due_at(), approval.id));
        self.approvals.insert(approval.id, approval);
    }

    pub(super) fn drop_approval(&mut self, id: ApprovalId) {
        let Some(old) = self.approvals.remove(&id) else { return };
        self.item_bytes.replace(old.tenant.org, Some(&*old), None);
        self.approvals_due.remove(&(old.due_at(), id));
        self.pending_approvals.remove(&(old.tenant, old.request_digest(), id));
        let of_status = (old.tenant, old.status);
        if let Some(ids) = self.approvals_by_status.get_mut(&of_status) {
            ids.remove(&id);
            if ids.is_empty() {
                self.approvals_by_status.remove(&of_status);
            }
        }
    }

    /// What time does to approvals: those whose time is over expire, old ones are forgotten.
    pub(super) fn due_approvals(&self, at: Millis) -> impl Iterator<Item = Event> {
        let due = self.approvals_due.iter().take_while(move |(due_at, _)| *due_at <= at);
        due.filter_map(|(_, id)| {
            let approval = self.approvals.get(id)?;
            let fact = if approval.status.is_open() {
                let expired =
                    Approval { status: ApprovalStatus::Expired, ..Approval::clone(approval) };
                Fact::ApprovalExpired(Arc::new(expired))
            } else {
                Fact::ApprovalForgotten(*id)
            };
            Some(Event { chain: approval.tenant, fact })
        })
    }

    /// A page of a tenant's approvals, newest first, of one status or of all, and how many there
    /// are.
    pub fn approvals_page(
        &self,
        tenant: Tenant,
        status: Option<ApprovalStatus>,
        offset: usize,
        limit: usize,
    ) -> (Vec<Arc<Approval>>, u64) {
        let mut lists: Vec<_> = ApprovalStatus::ALL
            .into_iter()
            .filter(|known| status.is_none_or(|wanted| wanted == *known))
            .filter_map(|status| self.approvals_by_status.get(&(tenant, status)))
            .filter_map(|ids| Some((*ids.get_max()?, ids)))
            .collect();
        lists.sort_unstable_by_key(|(newest, _)| std::cmp::Reverse(*newest));
        let total = lists.iter().map(|(_, ids)| ids.len() as u64).sum();
        let ids =
            lists.into_iter().map(|(newest, ids)| (newest, ids.iter().rev().map(|id| (*id, *id))));
        let page = super::merge::newest(ids, offset, limit)
            .iter()
            .filter_map(|id| self.approvals.get(id).cloned())
            .collect();
        (page, total)
    }
}
