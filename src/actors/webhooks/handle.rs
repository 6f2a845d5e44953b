//! What callers do with webhooks: endpoints with secrets that are made here, and tests.
//!
//! A secret leaves only after its endpoint is committed. Must not know how events are delivered.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    actors::{Call, CommandError, Done, Proposals, agents::expect},
    clock,
    domain::{
        Action, CreateWebhook, EventId, Kind, OrgId, Outcome, Refusal, RotateWebhookSecret, Tenant,
        Webhook, WebhookId,
    },
    fair::{Gate, Supply},
    limits, mint, rfc3339,
    secrets::KeyFile,
    verify::Views,
    webhooks::{self, Answer, Deliverer, Message, Parcel, SigningSecret},
};

/// The name of what a test sends; no event has it.
const TEST_NAME: &str = "webhook.test";

/// A new endpoint, as asked for.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Whose it is to be.
    pub tenant: Tenant,
    /// Where to, as [`Webhooks::check_url`] lets it through.
    pub url: String,
    /// Names of events, or `*` alone.
    pub events: BTreeSet<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// An endpoint with a secret that it was just given.
#[derive(Debug)]
pub struct WebhookWithSecret {
    /// The endpoint.
    pub webhook: Arc<Webhook>,
    /// The secret, to be shown once.
    pub secret: SigningSecret,
}

/// Typed access to webhooks. Clones share it.
#[derive(Clone)]
pub struct Webhooks {
    proposals: Proposals,
    views: Views,
    keys: Arc<KeyFile>,
    deliverer: Deliverer,
    tests: Gate<OrgId>,
}

impl Webhooks {
    pub(in crate::actors) fn new(
        proposals: Proposals,
        views: Views,
        keys: Arc<KeyFile>,
        deliverer: Deliverer,
    ) -> Self {
        Self { proposals, views, keys, deliverer, tests: tests_at_once() }
    }

    /// Whether an endpoint may be at this URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the end of a sentence that begins with the field's name.
    pub fn check_url(&self, url: &str) -> Result<(), String> {
        webhooks::check_url(url, self.deliverer.allows_private()).map(|_| ())
    }

    /// Makes an endpoint.
    ///
    /// # Errors
    ///
    /// As [`CommandError`] says.
    pub async fn create(
        &self,
        call: Call,
        new: NewWebhook,
    ) -> Result<Done<WebhookWithSecret>, CommandError> {
        let id = WebhookId::from_ulid(mint::ulid());
        let secret = SigningSecret::mint();
        let sealed_secret = secret.seal(&self.keys, new.tenant, id, 1).sealed;
        let NewWebhook { url, events, description, .. } = new;
        let create = CreateWebhook { id, url, events, description, sealed_secret };
        self.propose(call, Action::CreateWebhook(create), &secret).await
    }

    /// Gives an endpoint a new secret. The old one signs too for `grace_s` seconds.
    ///
    /// # Errors
    ///
    /// As [`CommandError`] says.
    pub async fn rotate_secret(
        &self,
        call: Call,
        tenant: Tenant,
        id: WebhookId,
        grace_s: u64,
    ) -> Result<Done<WebhookWithSecret>, CommandError> {
        let version = self.find(tenant, id)?.secret.version.saturating_add(1);
        let new = SigningSecret::mint();
        let secret = new.seal(&self.keys, tenant, id, version);
        let rotate = RotateWebhookSecret { id, secret, grace_s };
        self.propose(call, Action::RotateWebhookSecret(rotate), &new).await
    }

    fn find(&self, tenant: Tenant, id: WebhookId) -> Result<Arc<Webhook>, CommandError> {
        let missing = CommandError::Refused(Refusal::NotFound(Kind::Webhook(())));
        self.views.load().state.webhook(tenant, id).cloned().ok_or(missing)
    }

    async fn propose(
        &self,
        call: Call,
        action: Action,
        secret: &SigningSecret,
    ) -> Result<Done<WebhookWithSecret>, CommandError> {
        let done = self.proposals.propose_showing(call, action, &secret.text()).await?;
        expect(done, |(outcome, shown)| match outcome {
            // Where the request was carried out before, the secret is that of then.
            Outcome::Webhook(webhook) => {
                Some(WebhookWithSecret { webhook, secret: SigningSecret::read(&shown)? })
            }
            _ => None,
        })
    }

    /// Sends an endpoint a signed message that says that it is a test, now, also if it is disabled.
    /// It is no event, and never sent again.
    ///
    /// # Errors
    ///
    /// If there is no such endpoint, or as many tests are under way as this node admits.
    pub async fn test(&self, tenant: Tenant, id: WebhookId) -> Result<Answer, CommandError> {
        let webhook = self.find(tenant, id)?;
        let _place = self.tests.enter(tenant.org)?;
        let at = clock::now_ms();
        let unsealed = |error: webhooks::Unsealed| CommandError::Failed(error.to_string());
        let secrets: Vec<SigningSecret> = webhook
            .secrets_at(at)
            .map(|sealed| SigningSecret::open(&self.keys, tenant, id, sealed))
            .collect::<Result<_, _>>()
            .map_err(unsealed)?;
        let event = EventId::from_ulid(mint::ulid());
        let mut data = serde_json::Map::new();
        data.insert("webhook_id".to_owned(), id.to_string().into());
        data.insert("message".to_owned(), "This is a test. Nothing has happened.".into());
        let message = Message::new(tenant, event, TEST_NAME.to_owned(), &rfc3339::millis(at), data);
        let parcel = Parcel {
            url: &webhook.url,
            id: &event.to_string(),
            timestamp_s: at / 1000,
            secrets: &secrets,
            body: &message.body,
        };
        Ok(self.deliverer.post(parcel).await)
    }
}

fn tests_at_once() -> Gate<OrgId> {
    Gate::new(Supply::new(limits::WEBHOOK_TESTS_MAX, limits::WEBHOOK_TESTS_PER_ORGANIZATION_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fair::check::gate_is_shared;

    #[test]
    fn one_organisation_does_not_keep_the_others_from_testing_webhooks() {
        let [attacker, other] = [1, 2].map(OrgId::from_ulid);
        gate_is_shared(&tests_at_once(), attacker, other);
    }
}
