//! Agents: whom tokens are issued to.
//!
//! An agent is active, paused or revoked; revoked is final. A paused agent gets no token and none
//! of its tokens verifies until it is active again. Two counters stand for what happened at once
//! to many things: `token_epoch` moves when all its tokens die, `key_epoch` when its key is
//! replaced. Knows nothing of secret keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AgentId, Millis, Tenant};

/// Whether an agent may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum AgentStatus {
    /// May be issued tokens.
    Active,
    /// Gets none, and has none valid, for now.
    Paused,
    /// Gets none ever again.
    Revoked,
}

impl AgentStatus {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Revoked => "revoked",
        }
    }
}

impl From<AgentStatus> for u8 {
    fn from(status: AgentStatus) -> u8 {
        match status {
            AgentStatus::Active => 1,
            AgentStatus::Paused => 2,
            AgentStatus::Revoked => 3,
        }
    }
}

impl TryFrom<u8> for AgentStatus {
    type Error = String;

    fn try_from(tag: u8) -> Result<Self, String> {
        match tag {
            1 => Ok(Self::Active),
            2 => Ok(Self::Paused),
            3 => Ok(Self::Revoked),
            other => Err(format!("unknown agent status tag {other}")),
        }
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name, for people.
    pub name: String,
    /// The team or service that owns it.
    pub owner: String,
    /// What it is for.
    pub description: Option<String>,
    /// For example `openai`.
    pub model_provider: Option<String>,
    /// For example `gpt-4`.
    pub model_name: Option<String>,
    /// For example `langchain`.
    pub framework: Option<String>,
    /// What else its owner wants to remember of it.
    pub metadata: BTreeMap<String, String>,
    /// The public half of its Ed25519 key.
    pub public_key: [u8; 32],
    /// Whether it must sign its token requests.
    pub require_signature: bool,
    /// Whether it may act.
    pub status: AgentStatus,
    /// A token is dead when its record's epoch is not this one.
    pub token_epoch: u32,
    /// Moves whenever the key is replaced.
    pub key_epoch: u32,
    /// When it was created.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
    /// When it was revoked.
    pub revoked_at: Option<Millis>,
}
