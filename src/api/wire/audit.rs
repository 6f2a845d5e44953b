//! The audit log on the wire.
//!
//! An event is passed on as the text that was hashed, with its two hashes added: what is read can
//! be checked. [`AuditEvent`] describes it.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::schema;
use crate::{
    api::{
        pagination::Page,
        query::{FromQuery, Parameters},
    },
    audit::{self, Filter, Verdict, offline::Format},
    domain::{AgentId, ApiKeyId, OperatorKeyId, TokenId},
    limits, rfc3339,
};

/// One event.
#[derive(Debug, ToSchema)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
#[allow(dead_code, reason = "describes what is passed on as text")]
pub struct AuditEvent {
    /// Place in the chain, from 1, without gaps.
    #[schema(minimum = 1, examples(2))]
    pub seq: u64,
    /// The event's id.
    #[schema(value_type = schema::EventId)]
    pub id: String,
    /// What happened.
    #[schema(value_type = schema::EventName)]
    pub event: String,
    /// When, to the millisecond. Never runs backwards within a chain.
    #[schema(format = DateTime, examples("2026-07-01T14:00:00.123Z"))]
    pub at: String,
    /// Who did it.
    pub actor: AuditActor,
    /// The agent concerned.
    #[schema(value_type = Option<schema::AgentId>, nullable = false)]
    pub agent_id: Option<String>,
    /// The token concerned.
    #[schema(value_type = Option<schema::TokenId>, nullable = false)]
    pub token_id: Option<String>,
    /// The policy concerned.
    #[schema(value_type = Option<schema::PolicyId>, nullable = false)]
    pub policy_id: Option<String>,
    /// The `X-Request-Id` of the request in which it happened.
    #[schema(examples("req-7f3a"))]
    pub request_id: String,
    /// What changed, by kind of event. Numbers are whole.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
    /// The `hash` of the event before; 64 zeros in the first.
    #[schema(value_type = schema::HashHex)]
    pub prev_hash: String,
    /// Lowercase hex SHA-256 of the 32 bytes of `prev_hash` followed by the RFC 8785 (JCS) form of
    /// this event without `hash` and `prev_hash`.
    #[schema(value_type = schema::HashHex)]
    pub hash: String,
}

/// Who did it.
#[derive(Debug, ToSchema)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
#[allow(dead_code, reason = "describes what is passed on as text")]
pub struct AuditActor {
    /// What kind of actor.
    #[serde(rename = "type")]
    #[schema(value_type = schema::ActorType)]
    pub kind: String,
    /// Which: the id of a key, the number of a node, or `setup`.
    #[schema(examples("key_01j1qz4zk8e6m2v7x9c3b5n0ah"))]
    pub id: String,
}

/// A message of the stream, as its fields stand in the WHATWG's `text/event-stream`.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "describes what axum writes")]
pub struct AuditMessage {
    /// The event's `seq`: where to resume, as `Last-Event-ID`.
    #[schema(examples("17"))]
    pub id: String,
    /// The event's name.
    #[schema(examples("token.revoked"))]
    pub event: String,
    /// The event, as `GET /audit` lists it, as JSON text.
    #[schema(content_media_type = "application/json")]
    pub data: String,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    /// The events, oldest first.
    #[schema(value_type = Vec<AuditEvent>)]
    pub data: Vec<Box<RawValue>>,
    /// How many match in all pages; null when only reading them all would tell.
    #[schema(required, nullable)]
    pub total: Option<u64>,
    /// The `limit` that was applied.
    pub limit: u64,
    /// The `offset` that was applied.
    pub offset: u64,
    /// Whether more may follow this page.
    pub has_more: bool,
    /// Where to go on: send it as `after_seq`, with the same filters and without `offset`. Null
    /// when nothing follows.
    #[schema(required, nullable)]
    pub next_after_seq: Option<u64>,
}

impl AuditPage {
    /// `found`, which was asked for with `page`.
    pub fn new(page: Page, found: &audit::Page) -> serde_json::Result<Self> {
        Ok(Self {
            data: found
                .events
                .iter()
                .map(|event| RawValue::from_string(event.json()))
                .collect::<Result<_, _>>()?,
            total: found.total,
            limit: page.limit,
            offset: page.offset,
            has_more: found.next_after_seq.is_some(),
            next_after_seq: found.next_after_seq,
        })
    }
}

/// What the check of a chain came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditVerified {
    /// Whether every event is there, unchanged, and linked up to the head.
    pub ok: bool,
    /// How many events the chain holds.
    #[schema(examples(1204))]
    pub length: u64,
    /// The `hash` of the last event; 64 zeros when there is none. For `authrai audit verify
    /// --head`.
    #[schema(value_type = schema::HashHex)]
    pub head_hash: String,
    /// The first event that is damaged, missing, or not what the head follows from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, nullable = false)]
    pub first_bad_seq: Option<u64>,
}

impl From<Verdict> for AuditVerified {
    fn from(verdict: Verdict) -> Self {
        Self {
            ok: verdict.first_bad_seq.is_none(),
            length: verdict.length,
            head_hash: hex::encode(verdict.head_hash),
            first_bad_seq: verdict.first_bad_seq,
        }
    }
}

/// Which events. Given together, all must hold.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what is read into a Filter")]
pub struct AuditFilter {
    /// With this name.
    #[param(value_type = Option<schema::EventName>)]
    pub event: Option<String>,
    /// That concern this agent.
    #[param(value_type = Option<schema::AgentId>)]
    pub agent_id: Option<AgentId>,
    /// That concern this token.
    #[param(value_type = Option<schema::TokenId>)]
    pub token_id: Option<TokenId>,
    /// Caused by this actor: the id of an API key or an operator key, the number of a node, or
    /// `setup`.
    #[param(value_type = Option<schema::ActorId>)]
    pub actor: Option<String>,
    /// At this time or later.
    #[param(value_type = Option<schema::Timestamp>)]
    pub from: Option<String>,
    /// Before this time.
    #[param(value_type = Option<schema::Timestamp>)]
    pub to: Option<String>,
    /// After this place in the chain.
    #[param(minimum = 0, maximum = 9007199254740991_u64, default = 0, required = false)]
    pub after_seq: u64,
}

fn filter(parameters: &mut Parameters) -> Filter {
    let time = |text: &str| {
        // A plus sign that was not percent-encoded arrives as a space.
        rfc3339::parse_ms(&text.replace(' ', "+"))
            .ok_or_else(|| "must be an RFC 3339 time, such as 2026-07-01T14:00:00Z".to_owned())
    };
    Filter {
        event: parameters.read_with("event", event_name),
        agent: parameters.parsed("agent_id", "an agent's id, agent_ and 26 characters"),
        token: parameters.parsed("token_id", "a token's id, tok_ and 26 characters"),
        actor: parameters.read_with("actor", actor_id),
        from_ms: parameters.read_with("from", time),
        to_ms: parameters.read_with("to", time),
        after_seq: parameters.integer("after_seq", 0..=limits::SEQ_MAX).unwrap_or_default(),
    }
}

fn event_name(text: &str) -> Result<String, String> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let fits = text.len() <= limits::EVENT_NAME_MAX_BYTES;
    match text.split_once('.') {
        Some((noun, verb)) if fits && is_word(noun) && is_word(verb) => Ok(text.to_owned()),
        _ => Err("must be the name of an event, such as token.issued".into()),
    }
}

fn actor_id(text: &str) -> Result<String, String> {
    let known = text.parse::<ApiKeyId>().is_ok()
        || text.parse::<OperatorKeyId>().is_ok()
        || text.parse::<u64>().is_ok_and(|node| node.to_string() == text)
        || text == "setup";
    known.then(|| text.to_owned()).ok_or_else(|| {
        "must be the id of an API key (key_…) or an operator key (op_…), the number of a node, or \
         setup"
            .into()
    })
}

/// What a query of the log is asked with.
#[derive(Debug)]
pub struct AuditQuery {
    /// Which part of the list.
    pub page: Page,
    /// Which events.
    pub filter: Filter,
}

impl FromQuery for AuditQuery {
    fn read(parameters: &mut Parameters) -> Self {
        Self { page: Page::read(parameters), filter: filter(parameters) }
    }
}

/// In which format.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "describes what is read into an ExportQuery")]
pub struct ExportFormat {
    /// CSV with a header, or one JSON array.
    #[param(value_type = Option<schema::ExportFormatName>)]
    pub format: Option<String>,
}

/// What an export is asked with.
#[derive(Debug)]
pub struct ExportQuery {
    /// In which format.
    pub format: Format,
    /// Which events.
    pub filter: Filter,
}

impl FromQuery for ExportQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let formats = [("json", Format::Json), ("csv", Format::Csv)];
        Self {
            format: parameters.one_of("format", &formats).unwrap_or(Format::Json),
            filter: filter(parameters),
        }
    }
}

/// Where a stream begins.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// After this place in the chain; left out, with what happens from now on.
    #[param(minimum = 0, maximum = 9007199254740991_u64)]
    pub after_seq: Option<u64>,
}

impl FromQuery for StreamQuery {
    fn read(parameters: &mut Parameters) -> Self {
        Self { after_seq: parameters.integer("after_seq", 0..=limits::SEQ_MAX) }
    }
}

/// No parameters at all.
#[derive(Debug)]
pub struct NoQuery;

impl FromQuery for NoQuery {
    fn read(_: &mut Parameters) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::chain,
        domain::{Actor, Environment, Event, Fact, Head, OrgId, Organization, Tenant},
    };

    #[test]
    fn the_described_event_is_the_one_that_is_linked() {
        let organization = Organization {
            id: OrgId::from_ulid(1),
            name: "acme".into(),
            default_effect: crate::domain::DefaultEffect::Allow,
            plan: "free".into(),
            created_at: 0,
            updated_at: 0,
        };
        let chain_of = Tenant { org: organization.id, environment: Environment::Live };
        let event = Event { chain: chain_of, fact: Fact::OrganizationCreated(organization.into()) };
        let actor = Actor::Setup(());
        let (head, linked) = chain::link(Head::START, 1, &actor, "req-1", &event).unwrap();
        let entry = audit::Entry::read(1, Head::START.hash, &linked.record.bytes).unwrap();
        let described: AuditEvent = serde_json::from_str(&entry.json()).unwrap();
        assert_eq!((described.seq, described.hash), (1, hex::encode(head.hash)));
        assert!(event_name(&described.event).is_ok() && actor_id(&described.actor.id).is_ok());
    }

    #[test]
    fn only_what_can_name_an_event_or_an_actor_is_looked_for() {
        for (name, good) in [
            ("token.issued", true),
            ("api_key.created", true),
            ("token", false),
            ("token.", false),
            (".issued", false),
            ("Token.issued", false),
            ("token.issued.twice", false),
            ("tokén.issued", false),
        ] {
            assert_eq!(event_name(name).is_ok(), good, "{name}");
        }
        for (id, good) in [
            ("key_01j1qz4zk8e6m2v7x9c3b5n0ah", true),
            ("op_01j1qz4zk8e6m2v7x9c3b5n0ah", true),
            ("1", true),
            ("setup", true),
            ("agent_01j1qz4zk8e6m2v7x9c3b5n0ah", false),
            ("01", false),
            ("+1", false),
            ("", false),
        ] {
            assert_eq!(actor_id(id).is_ok(), good, "{id}");
        }
    }
}
