//! What a restoration suspended, on the wire.

use serde::Serialize;
use utoipa::ToSchema;

use super::{schema, time};
use crate::{
    api::{
        fields::{Fields, FromFields},
        rules,
    },
    domain::{self, Action, Agent, AgentId, ApiKey, ApiKeyId, State},
};

/// How the cluster came out of a backup.
#[derive(Debug, Serialize, ToSchema)]
pub struct Restored {
    /// When.
    #[schema(value_type = schema::Timestamp)]
    pub restored_at: String,
    /// The cluster that the backup was of, in hex.
    #[schema(examples("0d94a1e2c7f84b3a9d5e6f708192a3b4"))]
    pub backup_cluster_id: String,
    /// How far the log of that cluster had come.
    pub backup_index: u64,
    /// When the backup was made.
    #[schema(value_type = schema::Timestamp)]
    pub backup_made_at: String,
    /// API keys that open nothing until an operator lifts their suspension.
    pub suspended_api_keys: u64,
    /// Agents that get no tokens until an operator lifts their suspension.
    pub suspended_agents: u64,
}

impl Restored {
    /// What the state says of it; nothing of a cluster that was founded anew.
    pub fn of(state: &State) -> Option<Self> {
        let restored = state.restored.as_ref()?;
        let (suspended_api_keys, suspended_agents) = state.suspended();
        Some(Self {
            restored_at: time(restored.at),
            backup_cluster_id: hex::encode(restored.backup.cluster),
            backup_index: restored.backup.index,
            backup_made_at: time(restored.backup.at),
            suspended_api_keys,
            suspended_agents,
        })
    }
}

/// An API key or an agent that is suspended.
#[derive(Debug, Serialize, ToSchema)]
pub struct Suspended {
    /// What it is.
    #[schema(value_type = schema::SuspendedKind)]
    pub kind: &'static str,
    /// Its id.
    #[schema(examples("key_01j1qz4zk8e6m2v7x9c3b5n0ah"))]
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Whose it is.
    #[schema(value_type = schema::OrganizationId)]
    pub organization_id: String,
    /// Which environment.
    #[schema(value_type = schema::Environment)]
    pub environment: &'static str,
}

impl From<&ApiKey> for Suspended {
    fn from(key: &ApiKey) -> Self {
        Self {
            kind: "api_key",
            id: key.id.to_string(),
            name: key.name.clone(),
            organization_id: key.tenant.org.to_string(),
            environment: key.tenant.environment.as_str(),
        }
    }
}

impl From<&Agent> for Suspended {
    fn from(agent: &Agent) -> Self {
        Self {
            kind: "agent",
            id: agent.id.to_string(),
            name: agent.name.clone(),
            organization_id: agent.tenant.org.to_string(),
            environment: agent.tenant.environment.as_str(),
        }
    }
}

/// Whose suspension is to be lifted: exactly one of these.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LiftSuspension {
    /// All of them.
    #[schema(value_type = schema::True, required = false)]
    pub all: Option<bool>,
    /// That of this API key.
    #[schema(value_type = schema::ApiKeyId, required = false)]
    pub api_key_id: Option<ApiKeyId>,
    /// That of this agent.
    #[schema(value_type = schema::AgentId, required = false)]
    pub agent_id: Option<AgentId>,
}

impl FromFields for LiftSuspension {
    fn read(fields: &mut Fields) -> Option<Self> {
        let an_api_key = rules::parsed("an API key's id, key_ and 26 characters");
        let an_agent = rules::parsed("an agent's id, agent_ and 26 characters");
        let this = Self {
            all: fields.optional("all", rules::boolean),
            api_key_id: fields.optional("api_key_id", an_api_key),
            agent_id: fields.optional("agent_id", an_agent),
        };
        if fields.is_faultless() && this.suspension().is_none() {
            fields.fault("body", "must hold one of all (true), api_key_id, agent_id");
        }
        Some(this)
    }
}

impl LiftSuspension {
    fn suspension(&self) -> Option<domain::Suspension> {
        match (self.all, self.api_key_id, self.agent_id) {
            (Some(true), None, None) => Some(domain::Suspension::All(())),
            (None, Some(id), None) => Some(domain::Suspension::ApiKey(id)),
            (None, None, Some(id)) => Some(domain::Suspension::Agent(id)),
            _ => None,
        }
    }

    /// What the core is asked for.
    pub fn into_action(self) -> Option<Action> {
        self.suspension().map(Action::LiftSuspension)
    }
}

/// What is suspended no more, and what still is.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuspensionsLifted {
    /// API keys whose suspension was lifted now.
    pub api_keys: u64,
    /// Agents whose suspension was lifted now.
    pub agents: u64,
    /// API keys that still are suspended.
    pub suspended_api_keys: u64,
    /// Agents that still are suspended.
    pub suspended_agents: u64,
}

impl From<domain::SuspensionsLifted> for SuspensionsLifted {
    fn from(lifted: domain::SuspensionsLifted) -> Self {
        Self {
            api_keys: lifted.api_keys,
            agents: lifted.agents,
            suspended_api_keys: lifted.api_keys_left,
            suspended_agents: lifted.agents_left,
        }
    }
}
