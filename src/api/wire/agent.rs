//! Agents on the wire.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{description, name, public_key, schema, time};
use crate::{
    actors,
    api::{
        fields::{Checked, Fields, FromFields},
        pagination::Page,
        query::{FromQuery, Parameters},
        rules,
    },
    domain::{self, AgentId, AgentStatus, AgentTokensRevoked, Tenant, UpdateAgent},
    limits,
};

/// A new agent.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAgent {
    /// Human-readable name for the agent.
    #[schema(value_type = schema::Name)]
    pub name: String,
    /// Team or service that owns this agent.
    #[schema(value_type = schema::Name)]
    pub owner: String,
    /// What it is for.
    #[schema(value_type = Option<schema::Description>)]
    pub description: Option<String>,
    /// For example "openai" or "anthropic".
    #[schema(value_type = Option<schema::Description>)]
    pub model_provider: Option<String>,
    /// For example "gpt-4" or "claude-3".
    #[schema(value_type = Option<schema::Description>)]
    pub model_name: Option<String>,
    /// For example "langchain" or "autogen".
    #[schema(value_type = Option<schema::Description>)]
    pub framework: Option<String>,
    /// Whatever else you want to remember of it.
    #[schema(value_type = Option<schema::Metadata>)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Bring your own key: its public half. Then no `secret_key` is made or returned.
    #[schema(value_type = Option<schema::PublicKey>)]
    pub public_key: Option<[u8; 32]>,
    /// Whether the agent must sign its token requests with its secret key. False if left out.
    pub require_signature: Option<bool>,
}

impl FromFields for CreateAgent {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name_ = fields.required("name", name);
        let owner = fields.required("owner", name);
        Some(Self {
            description: fields.optional("description", description),
            model_provider: fields.optional("model_provider", description),
            model_name: fields.optional("model_name", description),
            framework: fields.optional("framework", description),
            metadata: fields.optional("metadata", metadata(metadata_value)),
            public_key: fields.optional("public_key", public_key::strong),
            require_signature: fields.optional("require_signature", rules::boolean),
            name: name_?,
            owner: owner?,
        })
    }
}

impl CreateAgent {
    /// What the actor is asked for.
    pub fn into_new_agent(self, tenant: Tenant) -> actors::NewAgent {
        actors::NewAgent {
            tenant,
            name: self.name,
            owner: self.owner,
            description: self.description,
            model_provider: self.model_provider,
            model_name: self.model_name,
            framework: self.framework,
            metadata: self.metadata.unwrap_or_default(),
            public_key: self.public_key,
            require_signature: self.require_signature.unwrap_or(false),
        }
    }
}

/// Changes to an agent, as a JSON merge patch (RFC 7396): what is left out stays, null clears.
#[derive(Debug, Default, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchAgent {
    /// Human-readable name for the agent.
    #[schema(value_type = schema::Name, required = false)]
    pub name: Option<String>,
    /// Team or service that owns this agent.
    #[schema(value_type = schema::Name, required = false)]
    pub owner: Option<String>,
    /// What it is for.
    #[schema(value_type = Option<schema::Description>)]
    pub description: Option<Option<String>>,
    /// For example "openai" or "anthropic".
    #[schema(value_type = Option<schema::Description>)]
    pub model_provider: Option<Option<String>>,
    /// For example "gpt-4" or "claude-3".
    #[schema(value_type = Option<schema::Description>)]
    pub model_name: Option<Option<String>>,
    /// For example "langchain" or "autogen".
    #[schema(value_type = Option<schema::Description>)]
    pub framework: Option<Option<String>>,
    /// Entries to set, or to remove where null; null as a whole removes all.
    #[schema(value_type = Option<schema::MetadataPatch>)]
    pub metadata: Option<Option<BTreeMap<String, Option<String>>>>,
    /// Whether the agent must sign its token requests with its secret key.
    #[schema(value_type = bool, required = false)]
    pub require_signature: Option<bool>,
    /// `paused` stops all its tokens for now, `active` lets them go on.
    #[schema(value_type = schema::SettableStatus, required = false)]
    pub status: Option<bool>,
}

/// What an agent's status can be set to, and whether that pauses it.
const SETTABLE_STATUS: &[(&str, bool)] = &[("active", false), ("paused", true)];

impl FromFields for PatchAgent {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.changeable("name", name),
            owner: fields.changeable("owner", name),
            description: fields.clearable("description", description),
            model_provider: fields.clearable("model_provider", description),
            model_name: fields.clearable("model_name", description),
            framework: fields.clearable("framework", description),
            metadata: fields.clearable("metadata", metadata(metadata_change)),
            require_signature: fields.changeable("require_signature", rules::boolean),
            status: fields.changeable("status", rules::one_of(SETTABLE_STATUS)),
        })
    }
}

impl PatchAgent {
    /// What the core is asked for.
    pub fn into_update(self, id: AgentId) -> UpdateAgent {
        UpdateAgent {
            id,
            name: self.name,
            owner: self.owner,
            description: self.description,
            model_provider: self.model_provider,
            model_name: self.model_name,
            framework: self.framework,
            metadata: self.metadata,
            require_signature: self.require_signature,
            paused: self.status,
        }
    }
}

fn metadata<T>(
    entry: impl Fn(Value) -> Checked<T>,
) -> impl Fn(Value) -> Checked<BTreeMap<String, T>> {
    rules::map(limits::METADATA_ENTRIES_MAX, 1..=limits::METADATA_KEY_MAX_CHARS, entry)
}

fn metadata_value(value: Value) -> Checked<String> {
    rules::text(0..=limits::METADATA_VALUE_MAX_CHARS)(value)
}

fn metadata_change(value: Value) -> Checked<Option<String>> {
    match value {
        Value::Null => Ok(None),
        value => metadata_value(value).map(Some),
    }
}

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Agent {
    /// Its id.
    #[schema(value_type = schema::AgentId)]
    pub id: String,
    /// Human-readable name for the agent.
    pub name: String,
    /// Team or service that owns this agent.
    pub owner: String,
    /// What it is for.
    #[schema(required)]
    pub description: Option<String>,
    /// For example "openai" or "anthropic".
    #[schema(required)]
    pub model_provider: Option<String>,
    /// For example "gpt-4" or "claude-3".
    #[schema(required)]
    pub model_name: Option<String>,
    /// For example "langchain" or "autogen".
    #[schema(required)]
    pub framework: Option<String>,
    /// Whatever else you wanted to remember of it.
    pub metadata: BTreeMap<String, String>,
    /// The public half of its key.
    #[schema(value_type = schema::PublicKey)]
    pub public_key: String,
    /// Whether the agent must sign its token requests with its secret key.
    pub require_signature: bool,
    /// Whether it may act. `revoked` is final.
    #[schema(value_type = schema::AgentStatus)]
    pub status: &'static str,
    /// The environment that it lives in.
    #[schema(value_type = schema::Environment)]
    pub environment: &'static str,
    /// When it was created.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: String,
    /// When it was revoked.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub revoked_at: Option<String>,
}

impl From<&domain::Agent> for Agent {
    fn from(agent: &domain::Agent) -> Self {
        Self {
            id: agent.id.to_string(),
            name: agent.name.clone(),
            owner: agent.owner.clone(),
            description: agent.description.clone(),
            model_provider: agent.model_provider.clone(),
            model_name: agent.model_name.clone(),
            framework: agent.framework.clone(),
            metadata: agent.metadata.clone(),
            public_key: public_key::text(&agent.public_key),
            require_signature: agent.require_signature,
            status: agent.status.as_str(),
            environment: agent.tenant.environment.as_str(),
            created_at: time(agent.created_at),
            updated_at: time(agent.updated_at),
            revoked_at: agent.revoked_at.map(time),
        }
    }
}

/// An agent with the secret key that it was just given.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentWithSecret {
    /// The agent.
    #[serde(flatten)]
    pub agent: Agent,
    /// Its secret key, `sk_live_…` or `sk_test_…`: the seed of its Ed25519 key. Shown this once;
    /// absent when the agent brought its own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, examples("sk_live_…"))]
    pub secret_key: Option<String>,
}

impl From<actors::CreatedAgent> for AgentWithSecret {
    fn from(created: actors::CreatedAgent) -> Self {
        Self {
            agent: created.agent.as_ref().into(),
            secret_key: created.secret.map(|secret| secret.expose().to_owned()),
        }
    }
}

/// A revoked agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentRevoked {
    /// Its id.
    #[schema(value_type = schema::AgentId)]
    pub id: String,
    /// Always `revoked`.
    #[schema(value_type = schema::AgentStatus)]
    pub status: &'static str,
    /// When it was first revoked.
    #[schema(value_type = schema::Timestamp)]
    pub revoked_at: String,
    /// How many live tokens died with it.
    pub tokens_invalidated: u64,
}

impl From<AgentTokensRevoked> for AgentRevoked {
    fn from(revoked: AgentTokensRevoked) -> Self {
        Self {
            id: revoked.agent.to_string(),
            status: AgentStatus::Revoked.as_str(),
            revoked_at: time(revoked.at),
            tokens_invalidated: revoked.tokens_invalidated,
        }
    }
}

/// The end of all tokens of an agent, which lives on.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokensRevoked {
    /// The agent's id.
    #[schema(value_type = schema::AgentId)]
    pub id: String,
    /// When its tokens were revoked.
    #[schema(value_type = schema::Timestamp)]
    pub revoked_at: String,
    /// How many live tokens died.
    pub tokens_invalidated: u64,
}

impl From<AgentTokensRevoked> for TokensRevoked {
    fn from(revoked: AgentTokensRevoked) -> Self {
        Self {
            id: revoked.agent.to_string(),
            revoked_at: time(revoked.at),
            tokens_invalidated: revoked.tokens_invalidated,
        }
    }
}

/// Which agents are listed.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AgentFilter {
    /// Only agents of this status.
    #[param(value_type = Option<schema::AgentStatus>, nullable = false)]
    pub status: Option<AgentStatus>,
}

/// A page of agents, and which.
#[derive(Debug)]
pub struct AgentsQuery {
    /// The page.
    pub page: Page,
    /// Which.
    pub filter: AgentFilter,
}

impl FromQuery for AgentsQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let known = AgentStatus::ALL.map(|status| (status.as_str(), status));
        let status = parameters.one_of("status", &known);
        Self { page: Page::read(parameters), filter: AgentFilter { status } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::fields;

    #[test]
    fn a_merge_patch_leaves_clears_and_sets() {
        let patch: PatchAgent = fields::read(json!({
            "description": null,
            "framework": "x",
            "metadata": {"keep": "1", "drop": null},
            "status": "paused",
        }))
        .unwrap();
        assert_eq!(
            patch,
            PatchAgent {
                description: Some(None),
                framework: Some(Some("x".into())),
                metadata: Some(Some(BTreeMap::from([
                    ("keep".into(), Some("1".into())),
                    ("drop".into(), None)
                ]))),
                status: Some(true),
                ..PatchAgent::default()
            }
        );
        let errors = fields::read::<PatchAgent>(json!({"name": null, "status": "revoked"}));
        let errors = errors.unwrap_err();
        assert_eq!(errors[0].message, "cannot be null: leave it out to keep it as it is");
        assert_eq!(errors[1].message, "must be \"active\" or \"paused\"");
    }
}
