//! Reading a snapshot back. Everything is checked: order, references, counts, the end of the
//! stream. What this program would not have written is refused, never skipped.

use std::{
    io::{BufReader, ErrorKind, Read},
    sync::Arc,
};

use super::snapshot::{BUFFER_BYTES, MAGIC, Record};
use crate::{
    codec,
    domain::{DomainStatus, Organization, Outbox, State},
    limits::STORED_ITEM_MAX_BYTES,
};

/// Why a snapshot could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damaged {
    #[error("the snapshot could not be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("this is not a snapshot that this version of AuthRAI can read")]
    NotASnapshot,
    #[error("record {0} of the snapshot: {1}")]
    Record(u64, String),
}

/// The state that a snapshot holds.
pub(super) fn read(from: &mut dyn Read) -> Result<State, Damaged> {
    let mut from = BufReader::with_capacity(BUFFER_BYTES, from);
    let mut magic = [0; MAGIC.len()];
    from.read_exact(&mut magic).map_err(short)?;
    if magic != *MAGIC {
        return Err(Damaged::NotASnapshot);
    }
    let mut restore = Restore::default();
    for number in 0.. {
        let bytes = read_frame(&mut from, number)?;
        let record =
            codec::decode(&bytes).map_err(|error| Damaged::Record(number, error.to_string()))?;
        if let Record::End(count) = record {
            let no_more = from.read(&mut [0])? == 0;
            return if restore.begun && count == number && no_more {
                restore.finish().map_err(|why| Damaged::Record(number, why.to_owned()))
            } else {
                Err(Damaged::Record(number, "the end is not where it belongs".into()))
            };
        }
        restore.take(record).map_err(|why| Damaged::Record(number, why.to_owned()))?;
    }
    Err(Damaged::NotASnapshot)
}

fn short(error: std::io::Error) -> Damaged {
    match error.kind() {
        ErrorKind::UnexpectedEof => Damaged::NotASnapshot,
        _ => Damaged::Io(error),
    }
}

fn read_frame(from: &mut impl Read, number: u64) -> Result<Vec<u8>, Damaged> {
    let cut = |error: std::io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => Damaged::Record(number, "the snapshot is cut off".into()),
        _ => Damaged::Io(error),
    };
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(cut)?;
    let length = u32::from_be_bytes(length);
    if length as usize > STORED_ITEM_MAX_BYTES {
        return Err(Damaged::Record(number, format!("{length} bytes long")));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes).map_err(cut)?;
    Ok(bytes)
}

#[derive(Default)]
struct Restore {
    state: State,
    begun: bool,
    last: Option<Place>,
}

/// Where a record stands in the order of a snapshot: its kind, then its key.
type Place = (u8, Vec<u8>);

impl Restore {
    fn take(&mut self, record: Record) -> Result<(), &'static str> {
        let place = place(&self.state, &record);
        if self.last.as_ref().is_some_and(|last| *last >= place) {
            return Err("out of order, or there twice");
        }
        self.last = Some(place);
        if !self.begun && !matches!(record, Record::Singles(_)) {
            return Err("the first record is missing");
        }
        self.begun = true;
        self.put(record)
    }

    /// The state, once everything that refers to something later has found it.
    fn finish(self) -> Result<State, &'static str> {
        let on_a_plan = |org: &Organization| self.state.plans.contains_key(&org.plan);
        check(
            self.state.organizations.values().all(|org| on_a_plan(org)),
            "an organization on an unknown plan",
        )?;
        Ok(self.state)
    }

    fn put(&mut self, record: Record) -> Result<(), &'static str> {
        let state = &mut self.state;
        match record {
            Record::Singles(singles) => {
                state.clock = singles.clock;
                state.next_signing_key = singles.next_signing_key;
                state.expired_through = singles.expired_through;
            }
            Record::Organization(org) => state.put_organization(org),
            Record::ApiKey(key) => {
                let hashes = [Some(key.secret_hash), key.previous.as_ref().map(|old| old.hash)];
                let known = hashes.iter().flatten().any(|h| state.api_keys_by_hash.contains_key(h));
                check(!known, "two API keys with one secret")?;
                let org = state.organizations.contains_key(&key.tenant.org);
                check(org, "an API key of an unknown organization")?;
                state.put_api_key(key);
            }
            Record::OperatorKey(key) => {
                let known = state.operator_keys_by_hash.contains_key(&key.secret_hash);
                check(!known, "two operator keys with one secret")?;
                state.put_operator_key(key);
            }
            Record::RetiredSecret((hash, until)) => state.put_retired_secret(hash, until),
            Record::Agent(agent) => {
                let org = state.organizations.contains_key(&agent.tenant.org);
                check(org, "an agent of an unknown organization")?;
                state.put_agent(agent);
            }
            Record::SigningKey(key) => {
                let known = state.signing_key_numbers.contains_key(&key.id);
                check(!known, "two signing keys with one id")?;
                check(key.number < state.next_signing_key, "a signing key from the future")?;
                state.put_signing_key(key);
            }
            Record::Token((hash, token)) => {
                check(!state.token_ids.contains_key(&token.id), "two tokens with one id")?;
                check(state.agents.contains_key(&token.agent), "a token of an unknown agent")?;
                let signed = state.signing_keys.contains_key(&token.signing_key);
                check(signed, "a token of an unknown signing key")?;
                state.put_token(hash, token);
            }
            Record::TokenRevokedAt((id, at)) => {
                let token = state.token_ids.get(&id).and_then(|hash| state.tokens.get(hash));
                check(token.is_some_and(|token| token.revoked), "a revocation without a token")?;
                state.token_revoked_at.insert(id, at);
            }
            Record::ListedToken(token) => {
                let number = state.signing_key_numbers.get(&token.signing_key);
                let live = state.tokens.get(&token.hash).is_some_and(|live| {
                    live.id == token.id
                        && live.agent == token.agent
                        && Some(&live.signing_key) == number
                        && u64::from(live.expires_at) == token.expires_at
                        && !live.revoked
                });
                check(live, "a listed token without its record")?;
                state.list_token(token);
            }
            Record::Head((chain, head)) => {
                state.heads.insert(chain, head);
            }
            Record::Policy(policy) => {
                let org = state.organizations.contains_key(&policy.tenant.org);
                check(org, "a policy of an unknown organization")?;
                state.put_policy(policy);
            }
            Record::PolicyEpoch((tenant, epoch)) => {
                state.policy_epochs.insert(tenant, epoch);
            }
            Record::ThrottleWindow((key, window)) => state.put_throttle_window(&key, window),
            Record::Approval(approval) => {
                let agent = state.agents.contains_key(&approval.agent);
                check(agent, "an approval for an unknown agent")?;
                state.put_approval(approval);
            }
            Record::Nonce((agent, nonce, until)) => {
                check(state.agents.contains_key(&agent), "a nonce of an unknown agent")?;
                state.put_nonce(agent, nonce, until);
            }
            Record::Declined((id, reason, until)) => state.put_declined(id, reason, until),
            Record::Webhook(webhook) => {
                let org = state.organizations.contains_key(&webhook.tenant.org);
                check(org, "a webhook of an unknown organization")?;
                state.put_webhook(webhook);
            }
            Record::OutboxProgress((id, progress)) => {
                check(state.webhooks.contains_key(&id), "progress of an unknown webhook")?;
                let outbox = Outbox { progress, ..Outbox::starting_after(0) };
                state.put_outbox(id, Arc::new(outbox));
            }
            Record::OpenRetry((id, seq, retry)) => {
                check(state.outboxes.contains_key(&id), "a retry for an unknown webhook")?;
                state.change_outbox(id, |outbox| {
                    outbox.open.insert(seq, retry);
                });
            }
            Record::Delivery((id, _, delivery)) => {
                check(state.outboxes.contains_key(&id), "a delivery to an unknown webhook")?;
                state.change_outbox(id, |outbox| outbox.log.push_back(delivery));
            }
            Record::Domain(domain) => {
                let org = state.organizations.contains_key(&domain.org);
                check(org, "a domain of an unknown organization")?;
                let held = domain.status == DomainStatus::Verified
                    && state.domain_holders.contains_key(&domain.name);
                check(!held, "a domain that two organizations hold")?;
                state.put_domain(domain);
            }
            Record::Plan(plan) => {
                state.plans.insert(plan.name.clone(), plan);
            }
            Record::OperatorPlan(name) => {
                state.operator_plans.insert(name);
            }
            Record::TokenCount((org, count)) => {
                let known = state.organizations.contains_key(&org);
                check(known, "a count of an unknown organization")?;
                state.token_counts.insert(org, count);
            }
            Record::Answer((id, record)) => state.put_answer(id, record),
            Record::Restoration(restoration) => state.restored = Some(restoration),
            Record::SuspendedApiKey(id) => {
                let known = state.restored.is_some() && state.api_keys.contains_key(&id);
                check(known, "a suspension of an unknown API key")?;
                state.suspended_api_keys.insert(id);
            }
            Record::SuspendedAgent(id) => {
                let known = state.restored.is_some() && state.agents.contains_key(&id);
                check(known, "a suspension of an unknown agent")?;
                state.suspended_agents.insert(id);
            }
            Record::EventDay((org, day)) => {
                let known = state.organizations.contains_key(&org);
                check(known, "events of an unknown organization")?;
                state.event_days.insert(org, day);
            }
            Record::ApiKeyCreator((id, creator)) => {
                check(state.api_keys.contains_key(&id), "the creator of an unknown API key")?;
                state.put_api_key_creator(id, creator);
            }
            Record::ApprovalSubject((id, subject)) => {
                check(state.approvals.contains_key(&id), "the subject of an unknown approval")?;
                state.put_approval_subject(id, subject);
            }
            Record::End(_) => return Err("an end before the end"),
        }
        Ok(())
    }
}

fn check(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn place(state: &State, record: &Record) -> Place {
    match record {
        Record::Singles(_) => (1, Vec::new()),
        Record::Organization(org) => (2, org.id.0.to_vec()),
        Record::ApiKey(key) => (3, key.id.0.to_vec()),
        Record::OperatorKey(key) => (4, key.id.0.to_vec()),
        Record::RetiredSecret((hash, _)) => (5, hash.to_vec()),
        Record::Agent(agent) => (6, agent.id.0.to_vec()),
        Record::SigningKey(key) => (7, key.number.to_be_bytes().to_vec()),
        Record::Token((hash, _)) => (8, hash.to_vec()),
        Record::TokenRevokedAt((id, _)) => (9, id.0.to_vec()),
        Record::ListedToken(token) => {
            let number = state.signing_key_numbers.get(&token.signing_key).copied().unwrap_or(0);
            let key = [token.agent.0.as_slice(), &number.to_be_bytes(), &token.id.0].concat();
            (10, key)
        }
        Record::Head((chain, _)) => (11, chain.chain_key()),
        Record::Policy(policy) => (20, policy.id.0.to_vec()),
        Record::PolicyEpoch((tenant, _)) => (21, tenant.chain_key()),
        // The order of the map is that of the fields, which the stored form does not keep.
        Record::ThrottleWindow((key, _)) => (22, key.place()),
        Record::Approval(approval) => (23, approval.id.0.to_vec()),
        Record::Nonce((agent, nonce, _)) => (24, [agent.0.as_slice(), nonce].concat()),
        Record::Declined((id, ..)) => (25, id.to_vec()),
        Record::Webhook(webhook) => (30, webhook.id.0.to_vec()),
        Record::OutboxProgress((id, _)) => (31, id.0.to_vec()),
        Record::OpenRetry((id, seq, _)) => (32, [id.0.as_slice(), &seq.to_be_bytes()].concat()),
        Record::Delivery((id, place, _)) => (33, [id.0.as_slice(), &place.to_be_bytes()].concat()),
        Record::Domain(domain) => (40, domain.id.0.to_vec()),
        Record::Plan(plan) => (45, plan.name.as_bytes().to_vec()),
        Record::TokenCount((org, _)) => (46, org.0.to_vec()),
        Record::Answer((id, _)) => (47, id.to_vec()),
        Record::Restoration(_) => (60, Vec::new()),
        Record::SuspendedApiKey(id) => (61, id.0.to_vec()),
        Record::SuspendedAgent(id) => (62, id.0.to_vec()),
        Record::EventDay((org, _)) => (200, org.0.to_vec()),
        Record::OperatorPlan(name) => (240, name.as_bytes().to_vec()),
        Record::ApiKeyCreator((id, _)) => (250, id.0.to_vec()),
        Record::ApprovalSubject((id, _)) => (251, id.0.to_vec()),
        Record::End(_) => (u8::MAX, Vec::new()),
    }
}
