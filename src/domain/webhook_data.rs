//! Webhook endpoints as the audit log and webhooks tell of them. Pinned by the hash chain, like the
//! rest of [`super::event_data`]. What stands behind the path of a URL is left out: with many
//! services it is a secret.

use serde_json::json;

use super::{
    Webhook,
    event_data::{Data, object, time},
};

/// An endpoint.
pub(super) fn webhook(webhook: &Webhook) -> Data {
    let shown = webhook.url.split(['?', '#']).next().unwrap_or_default();
    object(json!({
        "webhook_id": webhook.id.to_string(),
        "url": shown,
        "events": webhook.events,
        "description": webhook.description,
    }))
}

/// Whether it is sent anything, and why not.
pub(super) fn status(webhook: &Webhook) -> Data {
    object(json!({
        "webhook_id": webhook.id.to_string(),
        "enabled": webhook.disabled.is_none(),
        "reason": webhook.disabled.map(|(reason, _)| reason.as_str()),
    }))
}

/// What its secrets have come to.
pub(super) fn rotation(webhook: &Webhook) -> Data {
    object(json!({
        "webhook_id": webhook.id.to_string(),
        "old_secret_works_until":
            webhook.previous.as_ref().map(|old| time(old.works_until)),
    }))
}
