//! Organisations: the tenants. One holds API keys, agents, tokens and an audit chain for each of
//! its environments. Knows nothing of how its keys are made or shown.

use serde::{Deserialize, Serialize};

use super::{Millis, OrgId};

/// What a token request comes to when no policy matches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum DefaultEffect {
    /// Issue.
    Allow,
    /// Refuse.
    Deny,
}

impl DefaultEffect {
    /// `allow` or `deny`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl From<DefaultEffect> for u8 {
    fn from(effect: DefaultEffect) -> u8 {
        match effect {
            DefaultEffect::Allow => 1,
            DefaultEffect::Deny => 2,
        }
    }
}

impl TryFrom<u8> for DefaultEffect {
    type Error = String;

    fn try_from(tag: u8) -> Result<Self, String> {
        match tag {
            1 => Ok(Self::Allow),
            2 => Ok(Self::Deny),
            other => Err(format!("unknown default effect tag {other}")),
        }
    }
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its id.
    pub id: OrgId,
    /// Its name, for people.
    pub name: String,
    /// What happens to a token request that no policy matches.
    pub default_effect: DefaultEffect,
    /// When it was created.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
}
