//! A snapshot: the state as a stream of small records, each with its length in front, so that
//! neither writing nor reading one holds more than a record beside the state itself.
//!
//! Indexes are functions of the records and are not written. The order is that of the maps, which
//! makes the bytes a function of the state. Begins with a magic number, ends with a record that
//! counts the others. Must not know where the bytes go.

use std::{
    io::{self, BufWriter, Write},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::domain::{EventDay, IdempotencyRecord, OrgId, Plan, TokenCount};
use crate::{
    codec::{self, stored_enum},
    domain::{
        Agent, AgentId, ApiKey, Approval, ApprovalId, DenialReason, DnsDomain, Hash, Head,
        LiveToken, Millis, OperatorKey, Organization, Policy, SigningKey, State, Tenant,
        ThrottleKey, TokenDetails, TokenId, Window,
    },
    domain::{ApiKeyId, Restoration},
    domain::{Delivery, OpenRetry, Progress, Webhook, WebhookId},
    limits::STORED_ITEM_MAX_BYTES,
};

/// What every snapshot starts with; the last byte is the version of the framing.
pub(super) const MAGIC: &[u8; 16] = b"AuthRAI-snapsho\x01";

/// Buffer between the records and the stream, in bytes.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

stored_enum! {
    /// One record of a snapshot. They come in the order of their tags, but for the last.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) enum Record {
        /// What there is one of; always first.
        1 => Singles(Singles),
        /// An organisation.
        2 => Organization(Arc<Organization>),
        /// An API key.
        3 => ApiKey(Arc<ApiKey>),
        /// An operator key.
        4 => OperatorKey(Arc<OperatorKey>),
        /// What stands for a secret that stopped lately, and until when it is remembered.
        5 => RetiredSecret((Hash, Millis)),
        /// An agent.
        6 => Agent(Arc<Agent>),
        /// A signing key.
        7 => SigningKey(Arc<SigningKey>),
        /// A token's record, by the hash of its bytes.
        8 => Token((Hash, LiveToken)),
        /// When a token was revoked on its own.
        9 => TokenRevokedAt((TokenId, Millis)),
        /// A live token as lists show it.
        10 => ListedToken(Arc<TokenDetails>),
        /// The end of an audit chain.
        11 => Head((Tenant, Head)),
        /// How many records came before; always last.
        12 => End(u64),
        /// A policy.
        20 => Policy(Arc<Policy>),
        /// How often a tenant's policies have changed.
        21 => PolicyEpoch((Tenant, u64)),
        /// An open window of a throttle.
        22 => ThrottleWindow((ThrottleKey, Window)),
        /// An approval.
        23 => Approval(Arc<Approval>),
        /// An agent's nonce, and until when it is remembered.
        24 => Nonce((AgentId, Hash, Millis)),
        /// A token request that was declined lately, why, and until when that is remembered.
        25 => Declined(([u8; 16], DenialReason, Millis)),
        /// A webhook endpoint.
        30 => Webhook(Arc<Webhook>),
        /// How far an endpoint has come.
        31 => OutboxProgress((WebhookId, Progress)),
        /// What an endpoint is owed.
        32 => OpenRetry((WebhookId, u64, OpenRetry)),
        /// A delivery of an endpoint's log, and its place there.
        33 => Delivery((WebhookId, u32, Arc<Delivery>)),
        /// A domain.
        40 => Domain(Arc<DnsDomain>),
        /// A plan.
        45 => Plan(Arc<Plan>),
        /// How many tokens an organisation was issued in a month.
        46 => TokenCount((OrgId, TokenCount)),
        /// What a request with an `Idempotency-Key` was answered.
        47 => Answer((Hash, Arc<IdempotencyRecord>)),
        /// The name of a plan that only an operator gives an organisation.
        240 => OperatorPlan(String),
        /// How the cluster came out of a backup.
        60 => Restoration(Arc<Restoration>),
        /// An API key that is suspended since.
        61 => SuspendedApiKey(ApiKeyId),
        /// An agent that is suspended since.
        62 => SuspendedAgent(AgentId),
        /// What an organisation's events took on the day of its last one.
        200 => EventDay((OrgId, EventDay)),
        /// An API key, and the one that created it.
        250 => ApiKeyCreator((ApiKeyId, ApiKeyId)),
        /// What an approval is bound to of its agent.
        251 => ApprovalSubject((ApprovalId, Hash)),
    }
}

/// What a state has one of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Singles {
    pub(super) clock: Millis,
    pub(super) next_signing_key: u32,
    pub(super) expired_through: (u32, Hash),
}

/// Writes `state` to `out`.
pub(super) fn write(state: &State, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    out.write_all(MAGIC)?;
    let mut written = 0;
    for record in records(state) {
        write_record(&mut out, &record)?;
        written += 1;
    }
    write_record(&mut out, &Record::End(written))?;
    out.flush()
}

fn records(state: &State) -> impl Iterator<Item = Record> {
    let singles = Record::Singles(Singles {
        clock: state.clock,
        next_signing_key: state.next_signing_key,
        expired_through: state.expired_through,
    });
    std::iter::once(singles)
        .chain(state.organizations.values().cloned().map(Record::Organization))
        .chain(state.api_keys.values().cloned().map(Record::ApiKey))
        .chain(state.operator_keys.values().cloned().map(Record::OperatorKey))
        .chain(state.retired_secrets.iter().map(|(hash, end)| Record::RetiredSecret((*hash, *end))))
        .chain(state.agents.values().cloned().map(Record::Agent))
        .chain(state.signing_keys.values().cloned().map(Record::SigningKey))
        .chain(state.tokens.iter().map(|(hash, live)| Record::Token((*hash, *live))))
        .chain(state.token_revoked_at.iter().map(|(id, at)| Record::TokenRevokedAt((*id, *at))))
        .chain(state.token_lists.iter().cloned().map(Record::ListedToken))
        .chain(state.heads.iter().map(|(chain, head)| Record::Head((*chain, *head))))
        .chain(policy_records(state))
        .chain(webhook_records(state))
        .chain(state.domains.values().cloned().map(Record::Domain))
        .chain(plan_records(state))
        .chain(restoration_records(state))
        .chain(state.event_days.iter().map(|(org, day)| Record::EventDay((*org, *day))))
        .chain(state.operator_plans.iter().cloned().map(Record::OperatorPlan))
        .chain(state.api_key_creators.iter().map(|(id, by)| Record::ApiKeyCreator((*id, *by))))
        .chain(state.approval_subjects.iter().map(|(id, of)| Record::ApprovalSubject((*id, *of))))
}

fn restoration_records(state: &State) -> impl Iterator<Item = Record> {
    let restored = state.restored.iter().cloned().map(Record::Restoration);
    restored
        .chain(state.suspended_api_keys.iter().copied().map(Record::SuspendedApiKey))
        .chain(state.suspended_agents.iter().copied().map(Record::SuspendedAgent))
}

fn plan_records(state: &State) -> impl Iterator<Item = Record> {
    let counts = state.token_counts.iter().map(|(org, count)| (*org, *count));
    let answers = state.answers.iter().map(|(id, record)| (*id, Arc::clone(record)));
    let plans = state.plans.values().cloned().map(Record::Plan);
    plans.chain(counts.map(Record::TokenCount)).chain(answers.map(Record::Answer))
}

fn policy_records(state: &State) -> impl Iterator<Item = Record> {
    let epochs = state.policy_epochs.iter().map(|(tenant, epoch)| (*tenant, *epoch));
    let windows = state.throttle_windows.iter().map(|(key, window)| (key.clone(), *window));
    let nonces = state.nonces.iter().flat_map(|(agent, nonces)| {
        nonces.iter().map(move |(nonce, until)| (*agent, *nonce, *until))
    });
    let declined = state.declined.iter().map(|(id, (reason, until))| (*id, *reason, *until));
    let policies = state.policies.values().cloned().map(Record::Policy);
    policies
        .chain(epochs.map(Record::PolicyEpoch))
        .chain(windows.map(Record::ThrottleWindow))
        .chain(state.approvals.values().cloned().map(Record::Approval))
        .chain(nonces.map(Record::Nonce))
        .chain(declined.map(Record::Declined))
}

fn webhook_records(state: &State) -> impl Iterator<Item = Record> {
    let outboxes = || state.outboxes.iter().map(|(id, outbox)| (*id, outbox));
    let progress = outboxes().map(|(id, outbox)| (id, outbox.progress.clone()));
    let open = outboxes().flat_map(|(id, outbox)| {
        outbox.open.iter().map(move |(seq, retry)| Record::OpenRetry((id, *seq, *retry)))
    });
    let log = outboxes().flat_map(|(id, outbox)| {
        let placed = (0u32..).zip(outbox.log.iter());
        placed.map(move |(place, delivery)| Record::Delivery((id, place, Arc::clone(delivery))))
    });
    let webhooks = state.webhooks.values().cloned().map(Record::Webhook);
    webhooks.chain(progress.map(Record::OutboxProgress)).chain(open).chain(log)
}

fn write_record(out: &mut impl Write, record: &Record) -> io::Result<()> {
    let bytes = codec::encode(record);
    // What could not be read back is not written: the snapshot before stays.
    if bytes.len() > STORED_ITEM_MAX_BYTES {
        let bytes = bytes.len();
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a record of {bytes} bytes, more than a snapshot takes"),
        ));
    }
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(&bytes)
}
