//! Clients that issue and revoke. Must not know who verifies.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::World;
use crate::{
    client::Written,
    history::{Credential, Event, Outcome, Span, Target},
};

/// Live tokens, beyond which more are revoked than issued.
const LIVE_TOKENS: usize = 800;
const LIVE_AGENTS: usize = 20;
const LIVE_KEYS: usize = 8;
/// Longest time a token lives: longer than any run.
const TTL_S: u64 = 86_400;

/// Writes at one node until the load stops.
pub async fn write(world: World, place: usize, mut rng: fastrand::Rng) {
    while !world.stopped() {
        let client = Writer { node: world.node(place), world: &world };
        client.step(&mut rng).await;
        sleep(Duration::from_millis(rng.u64(1..25))).await;
    }
}

struct Writer<'a> {
    world: &'a World,
    node: u64,
}

impl Writer<'_> {
    async fn step(&self, rng: &mut fastrand::Rng) {
        let (tokens, agents, keys) = {
            let pool = self.world.pool();
            (pool.live(), pool.live_agents().len(), pool.live_keys().len())
        };
        match rng.u16(0..1_000) {
            _ if agents == 0 => self.create_agent().await,
            0..30 if agents < LIVE_AGENTS => self.create_agent().await,
            30..45 if agents > LIVE_AGENTS / 2 => self.revoke_agent(rng).await,
            45..75 => self.revoke_agents_tokens(rng).await,
            75..110 if keys < LIVE_KEYS => self.create_key().await,
            110..140 if keys > 1 => self.revoke_key(rng).await,
            140..143 => self.revoke_signing_key(rng).await,
            143..650 if tokens < LIVE_TOKENS => self.issue(rng).await,
            _ => self.revoke_token(rng).await,
        }
    }

    /// A write with the organisation's key.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (Span, Written) {
        let api = self.world.api();
        self.call_with(&api.api_key, method, path, body).await
    }

    async fn call_with(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (Span, Written) {
        let recorder = self.world.recorder();
        let (from, address) = (recorder.now(), self.world.network().api(self.node));
        let written = self.world.api().write(key, method, address, path, body.as_ref()).await;
        let span = recorder.since(from);
        if let Some(answer) = written.nonsense.clone() {
            recorder.record(Event::Unclassifiable { at: span.to, node: self.node, answer });
        }
        (span, written)
    }

    async fn create_agent(&self) {
        let body = json!({"name": "chaos", "owner": "chaos"});
        let (span, written) = self.call(Method::POST, "/agents", Some(body)).await;
        let (node, outcome) = (self.node, written.outcome);
        let id = written.text("id").filter(|_| outcome == Outcome::Done);
        let agent = id.map(|id| self.world.pool().add_agent(id));
        self.world.recorder().record(Event::AgentMade { node, span, outcome, agent });
    }

    async fn issue(&self, rng: &mut fastrand::Rng) {
        let Some((agent, id)) = self.world.pool().agent(rng) else { return };
        let body = json!({"agent_id": id, "scope": ["a.b"], "ttl": TTL_S});
        let (span, written) = self.call(Method::POST, "/tokens", Some(body)).await;
        let (node, outcome) = (self.node, written.outcome);
        let shown = written.text("token").zip(written.text("token_id"));
        let shown = shown.filter(|_| outcome == Outcome::Done);
        let mut pool = self.world.pool();
        let token = shown.and_then(|(text, id)| pool.add_token(agent, id, &text));
        let credential = token
            .as_ref()
            .map(|token| (token.number, Credential::Token { agent, signed_by: token.signed_by }));
        // The history knows of it before anyone is asked about it.
        self.world.recorder().record(Event::Issued { node, span, outcome, credential });
        token.into_iter().for_each(|token| pool.enliven(token));
    }

    async fn create_key(&self) {
        let body = json!({"name": "chaos", "environment": "live"});
        let (span, written) = self.call(Method::POST, "/api-keys", Some(body)).await;
        let (node, outcome) = (self.node, written.outcome);
        let shown = written.text("id").zip(written.text("key"));
        let shown = shown.filter(|_| outcome == Outcome::Done);
        let key = shown.map(|(id, text)| self.world.pool().add_key(id, &text));
        let credential = key.map(|key| (key.number, Credential::ApiKey));
        self.world.recorder().record(Event::Issued { node, span, outcome, credential });
    }

    /// Records a revoke, and asks everywhere about what it killed.
    fn revoked(
        &self,
        (span, written): &(Span, Written),
        target: Target,
        killed: &[(u32, Arc<str>)],
        key: Option<&(u32, Arc<str>)>,
    ) {
        let (node, outcome) = (self.node, written.outcome);
        self.world.recorder().record(Event::Revoked { node, span: *span, outcome, target });
        if outcome == Outcome::Done {
            let last = killed.len().saturating_sub(100);
            self.world.probe(&killed[last..], key);
        }
    }

    async fn revoke_token(&self, rng: &mut fastrand::Rng) {
        let Some(token) = self.world.pool().take_token(rng) else { return };
        let body = match rng.bool() {
            true => json!({"token": token.text.as_ref()}),
            false => json!({"token_id": token.id}),
        };
        let answer = self.call(Method::POST, "/tokens/revoke", Some(body)).await;
        let outcome = answer.1.outcome;
        self.revoked(
            &answer,
            Target::Credential(token.number),
            &[(token.number, token.text.clone())],
            None,
        );
        match outcome {
            Outcome::Done => self.world.pool().revoked.push(token.id),
            Outcome::Refused => self.world.pool().enliven(token),
            Outcome::Unknown => {}
        }
    }

    async fn revoke_agents_tokens(&self, rng: &mut fastrand::Rng) {
        let Some((agent, id)) = self.world.pool().agent(rng) else { return };
        let killed = self.world.pool().take_tokens(|token| token.agent == agent);
        let answer = self.call(Method::POST, &format!("/agents/{id}/revoke-tokens"), None).await;
        self.revoked(&answer, Target::AgentTokens(agent), &killed, None);
    }

    async fn revoke_agent(&self, rng: &mut fastrand::Rng) {
        let taken = {
            let mut pool = self.world.pool();
            let agent = pool.agent(rng);
            agent.iter().for_each(|(agent, _)| pool.retire_agent(*agent));
            agent
        };
        let Some((agent, id)) = taken else { return };
        let answer = self.call(Method::DELETE, &format!("/agents/{id}"), None).await;
        // Also those that were issued meanwhile.
        let killed = self.world.pool().take_tokens(|token| token.agent == agent);
        self.revoked(&answer, Target::Agent(agent), &killed, None);
    }

    async fn revoke_key(&self, rng: &mut fastrand::Rng) {
        let Some(key) = self.world.pool().take_key(rng) else { return };
        let answer = self.call(Method::DELETE, &format!("/api-keys/{}", key.id), None).await;
        self.revoked(&answer, Target::Credential(key.number), &[], Some(&(key.number, key.text)));
    }

    async fn revoke_signing_key(&self, rng: &mut fastrand::Rng) {
        let Some(token) = self.world.pool().take_token(rng) else { return };
        let kid = self.world.pool().signing_keys[token.signed_by as usize].clone();
        let path = format!("/cluster/keys/{kid}/revoke");
        let api = self.world.api();
        let answer = self.call_with(&api.operator_key, Method::POST, &path, None).await;
        let killed = self.world.pool().take_tokens(|other| other.signed_by == token.signed_by);
        self.revoked(&answer, Target::SigningKey(token.signed_by), &killed, None);
    }
}
