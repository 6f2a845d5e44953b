//! What the commands on webhooks carry. Stored with [`super::Action`], and pinned by golden vectors
//! like it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{DeliveryFault, DeliveryId, EventId, Millis, SealedSecret, WebhookId};
use crate::codec::stored_enum;

/// See [`super::Action::CreateWebhook`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateWebhook {
    /// Minted id.
    pub id: WebhookId,
    /// Where to; checked outside the core.
    pub url: String,
    /// Names of events, or `*` alone.
    pub events: BTreeSet<String>,
    /// Up to 1,000 characters.
    pub description: Option<String>,
    /// Its signing secret, sealed for this tenant, this id and version 1.
    pub sealed_secret: Vec<u8>,
}

/// See [`super::Action::UpdateWebhook`]. `None` leaves a field, `Some(None)` clears it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateWebhook {
    /// Which.
    pub id: WebhookId,
    /// Where to.
    pub url: Option<String>,
    /// Names of events, or `*` alone.
    pub events: Option<BTreeSet<String>>,
    /// New description.
    pub description: Option<Option<String>>,
    /// Whether it is sent anything.
    pub enabled: Option<bool>,
}

/// See [`super::Action::RotateWebhookSecret`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateWebhookSecret {
    /// Which.
    pub id: WebhookId,
    /// The new secret, sealed for this tenant, this id and the version after the present one.
    pub secret: SealedSecret,
    /// How long the old secret signs too, in seconds; 0 ends it at once.
    pub grace_s: u64,
}

/// See [`super::Action::RecordDeliveries`]. Actor: the node that made the attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordDeliveries {
    /// What came of them, by endpoint, none twice.
    pub endpoints: Vec<EndpointProgress>,
}

/// What came of attempts at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointProgress {
    /// Which.
    pub webhook: WebhookId,
    /// Every event up to this place in the chain is dealt with.
    pub position: u64,
    /// The attempts, in the order in which they ended.
    pub attempts: Vec<DeliveryAttempt>,
}

/// One attempt at delivering an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    /// The event's place in its chain.
    pub seq: u64,
    /// The event.
    pub event: EventId,
    /// The event's name.
    pub event_name: String,
    /// Counts the attempts at this event, from 1.
    pub number: u32,
    /// When it began, by the node's clock.
    pub at: Millis,
    /// How long it took.
    pub latency_ms: u32,
    /// How it ended.
    pub result: AttemptResult,
    /// When to try again, if it failed.
    pub retry_at: Option<Millis>,
}

stored_enum! {
    /// How an attempt ended.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum AttemptResult {
        /// The endpoint took it, with this HTTP status.
        1 => Delivered(u16),
        /// It did not.
        2 => Failed(FailedAttempt),
    }
}

/// See [`AttemptResult::Failed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// Why.
    pub fault: DeliveryFault,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The beginning of the answer's body.
    pub body: Option<String>,
}

/// See [`super::Action::RetryDelivery`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryDelivery {
    /// To which endpoint.
    pub webhook: WebhookId,
    /// Which.
    pub delivery: DeliveryId,
}
