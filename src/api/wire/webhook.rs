//! Webhook endpoints and deliveries on the wire.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{description, schema, time};
use crate::{
    actors::{NewWebhook, WebhookWithSecret},
    api::{
        fields::{Checked, Fields, FromFields},
        problem::TargetAnswer,
        rules,
    },
    domain::{
        self, Action, DeliveryFault, EVENT_NAMES, EVERY_EVENT, Tenant, UpdateWebhook, WebhookId,
    },
    limits,
    webhooks::Answer,
};

/// A new webhook endpoint.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// Where to send events.
    #[schema(value_type = schema::WebhookUrl)]
    pub url: String,
    /// Which events.
    #[schema(value_type = schema::WebhookEvents)]
    pub events: BTreeSet<String>,
    /// What it is for.
    #[schema(value_type = Option<schema::Description>)]
    pub description: Option<String>,
}

impl FromFields for CreateWebhook {
    fn read(fields: &mut Fields) -> Option<Self> {
        let url = fields.required("url", rules::string);
        let events = fields.required("events", events);
        let description = fields.optional("description", description);
        Some(Self { url: url?, events: events?, description })
    }
}

fn events(value: Value) -> Checked<BTreeSet<String>> {
    let names: BTreeSet<String> =
        rules::set(1..=EVENT_NAMES.len(), event_name)(value)?.into_iter().collect();
    if names.contains(EVERY_EVENT) && names.len() > 1 {
        return Err("holds \"*\", which stands for every event, and more: send \"*\" alone".into());
    }
    Ok(names)
}

fn event_name(value: Value) -> Checked<String> {
    let name = rules::string(value)?;
    if name == EVERY_EVENT || domain::is_event_name(&name) {
        return Ok(name);
    }
    Err(format!("must be \"*\" or the name of an event: {}", EVENT_NAMES.join(", ")).into())
}

impl CreateWebhook {
    /// What the actors are asked for.
    pub fn into_new(self, tenant: Tenant) -> NewWebhook {
        NewWebhook { tenant, url: self.url, events: self.events, description: self.description }
    }
}

/// Changes to a webhook endpoint, as a JSON merge patch (RFC 7396): what is left out stays.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchWebhook {
    /// Where to send events.
    #[schema(value_type = schema::WebhookUrl, required = false)]
    pub url: Option<String>,
    /// Which events.
    #[schema(value_type = schema::WebhookEvents, required = false)]
    pub events: Option<BTreeSet<String>>,
    /// What it is for.
    #[schema(value_type = Option<schema::Description>, required = false)]
    pub description: Option<Option<String>>,
    /// Whether it is sent anything. What happens while it is disabled is not sent later.
    #[schema(value_type = bool, required = false)]
    pub enabled: Option<bool>,
}

impl FromFields for PatchWebhook {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            url: fields.changeable("url", rules::string),
            events: fields.changeable("events", events),
            description: fields.clearable("description", description),
            enabled: fields.changeable("enabled", rules::boolean),
        })
    }
}

impl PatchWebhook {
    /// What the core is asked for.
    pub fn into_action(self, id: WebhookId) -> Action {
        let Self { url, events, description, enabled } = self;
        Action::UpdateWebhook(UpdateWebhook { id, url, events, description, enabled })
    }
}

/// How a signing secret is rotated.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// How long the old secret signs too, in seconds; a day if left out, 0 ends it at once.
    #[schema(value_type = Option<schema::GraceSeconds>)]
    pub grace_seconds: Option<u64>,
}

impl FromFields for RotateSecret {
    fn read(fields: &mut Fields) -> Option<Self> {
        let grace = rules::integer(0..=limits::ROTATION_GRACE_MAX_S, "seconds");
        Some(Self { grace_seconds: fields.optional("grace_seconds", grace) })
    }
}

impl RotateSecret {
    /// How long the old secret signs too.
    pub fn grace_s(&self) -> u64 {
        self.grace_seconds.unwrap_or(limits::WEBHOOK_GRACE_DEFAULT_S)
    }
}

/// A webhook endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct Webhook {
    /// Its id.
    #[schema(value_type = schema::WebhookId)]
    pub id: String,
    /// Where events are sent to.
    #[schema(value_type = schema::WebhookUrl)]
    pub url: String,
    /// Which events.
    #[schema(value_type = schema::WebhookEvents)]
    pub events: Vec<String>,
    /// What it is for.
    #[schema(required)]
    pub description: Option<String>,
    /// Whether it is sent anything.
    pub enabled: bool,
    /// The same in a word.
    #[schema(value_type = schema::WebhookStatus)]
    pub status: &'static str,
    /// Why it is disabled: somebody asked for it, it did nothing but fail for five days, or the
    /// cluster was restored from a backup.
    #[schema(value_type = Option<schema::DisabledReason>, required)]
    pub disabled_reason: Option<&'static str>,
    /// Since when it is disabled.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub disabled_at: Option<String>,
    /// The secret that signs, where it was just made; shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = schema::WebhookSecret, required = false)]
    pub secret: Option<String>,
    /// Until when the secret before the last rotation signs too.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub previous_secret_expires_at: Option<String>,
    /// When it was created.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: String,
}

impl From<&domain::Webhook> for Webhook {
    fn from(webhook: &domain::Webhook) -> Self {
        let enabled = webhook.disabled.is_none();
        Self {
            id: webhook.id.to_string(),
            url: webhook.url.clone(),
            events: webhook.events.iter().cloned().collect(),
            description: webhook.description.clone(),
            enabled,
            status: if enabled { "enabled" } else { "disabled" },
            disabled_reason: webhook.disabled.map(|(reason, _)| reason.as_str()),
            disabled_at: webhook.disabled.map(|(_, at)| time(at)),
            secret: None,
            previous_secret_expires_at: webhook.previous.as_ref().map(|old| time(old.works_until)),
            created_at: time(webhook.created_at),
            updated_at: time(webhook.updated_at),
        }
    }
}

impl From<WebhookWithSecret> for Webhook {
    fn from(made: WebhookWithSecret) -> Self {
        let secret = Some(made.secret.text().to_string());
        Self { secret, ..made.webhook.as_ref().into() }
    }
}

/// A delivery of an event to a webhook endpoint, after its last attempt.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    /// Its id.
    #[schema(value_type = schema::DeliveryId)]
    pub id: String,
    /// The event: what was sent as `webhook-id`.
    #[schema(value_type = schema::EventId)]
    pub event_id: String,
    /// The event's name.
    #[schema(value_type = schema::EventName)]
    pub event: String,
    /// How far it has come.
    #[schema(value_type = schema::DeliveryStatus)]
    pub status: &'static str,
    /// How many attempts there were.
    #[schema(minimum = 1)]
    pub attempts: u32,
    /// When the last one began.
    #[schema(value_type = schema::Timestamp)]
    pub last_attempt_at: String,
    /// When the next one is due.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub next_attempt_at: Option<String>,
    /// The HTTP status of the last answer; null if there was none.
    #[schema(required, minimum = 100, maximum = 999)]
    pub response_status: Option<u16>,
    /// How long the last attempt took.
    pub latency_ms: u32,
    /// The first KiB of the last answer's body, if it was a failure.
    #[schema(required)]
    pub response_body: Option<String>,
    /// Why the last attempt failed.
    #[schema(value_type = Option<schema::DeliveryFault>, required)]
    pub error: Option<&'static str>,
}

impl From<&domain::Delivery> for Delivery {
    fn from(delivery: &domain::Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            event_id: delivery.event.to_string(),
            event: delivery.event_name.clone(),
            status: delivery.status.as_str(),
            attempts: delivery.attempts,
            last_attempt_at: time(delivery.last_attempt_at),
            next_attempt_at: delivery.next_attempt_at.map(time),
            response_status: delivery.response_status,
            latency_ms: delivery.latency_ms,
            response_body: delivery.response_body.clone(),
            error: delivery.fault.map(DeliveryFault::as_str),
        }
    }
}

/// What came of a test that the target took.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestResult {
    /// Always true; a test that fails is a 502.
    #[schema(value_type = schema::True)]
    pub delivered: bool,
    /// The HTTP status of the answer.
    #[schema(minimum = 200, maximum = 299)]
    pub response_status: u16,
    /// How long it took.
    pub latency_ms: u32,
    /// The first KiB of the answer's body.
    pub response_body: String,
}

impl TestResult {
    /// What is shown of an answer, or what is wrong with it.
    pub fn of(answer: Answer) -> Result<Self, TargetAnswer> {
        let Answer { status, fault, latency_ms, body } = answer;
        match (fault, status) {
            (None, Some(response_status)) => {
                Ok(Self { delivered: true, response_status, latency_ms, response_body: body })
            }
            (fault, response_status) => Err(TargetAnswer {
                response_status,
                latency_ms,
                response_body: response_status.map(|_| body),
                error: fault.unwrap_or(DeliveryFault::Unreachable).as_str(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::fields;

    #[test]
    fn a_webhook_wants_known_events_or_all() {
        for (sent, faulty) in [
            (json!(["*"]), None),
            (json!(["token.issued", "billing.plan_upgraded"]), None),
            (json!(["*", "token.issued"]), Some("events")),
            (json!([]), Some("events")),
            (json!("*"), Some("events")),
            (json!(["token.issued", "token.isued"]), Some("events[1]")),
            (json!(["token.issued", "token.issued"]), Some("events[1]")),
        ] {
            let body = json!({"url": "https://a.example", "events": sent});
            let came = fields::read::<CreateWebhook>(body);
            let named = came.as_ref().err().map(|errors| errors[0].field.as_str());
            assert_eq!(named, faulty, "{sent}");
        }
    }
}
