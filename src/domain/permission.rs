//! What an API key may do. Each permission has a stored bit that never moves.

use serde::{Deserialize, Serialize};

macro_rules! permissions {
    ($( $(#[$meta:meta])* $bit:literal => $name:ident = $text:literal ),+ $(,)?) => {
        /// One right, named `noun:verb` on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Permission { $( $(#[$meta])* $name ),+ }

        impl Permission {
            /// Every permission there is, in the order of their bits.
            pub const ALL: &'static [Permission] = &[$( Permission::$name ),+];

            /// Its name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$name => $text ),+ }
            }

            const fn bit(self) -> u32 {
                match self { $( Self::$name => 1 << $bit ),+ }
            }
        }
    };
}

permissions! {
    /// See agents.
    0 => AgentsRead = "agents:read",
    /// Create, change and revoke agents.
    1 => AgentsWrite = "agents:write",
    /// Issue tokens.
    2 => TokensIssue = "tokens:issue",
    /// See live tokens.
    3 => TokensRead = "tokens:read",
    /// Revoke tokens.
    4 => TokensRevoke = "tokens:revoke",
    /// See policies and simulate decisions.
    5 => PoliciesRead = "policies:read",
    /// Change policies.
    6 => PoliciesWrite = "policies:write",
    /// See approvals.
    7 => ApprovalsRead = "approvals:read",
    /// Approve and deny.
    8 => ApprovalsWrite = "approvals:write",
    /// Read, export and check the audit log.
    9 => AuditRead = "audit:read",
    /// See API keys, masked.
    10 => ApiKeysRead = "api_keys:read",
    /// Create, rotate and delete API keys.
    11 => ApiKeysWrite = "api_keys:write",
    /// See webhooks.
    12 => WebhooksRead = "webhooks:read",
    /// Change webhooks.
    13 => WebhooksWrite = "webhooks:write",
    /// See domains.
    14 => DomainsRead = "domains:read",
    /// Add, check and remove domains.
    15 => DomainsWrite = "domains:write",
    /// See plan and usage.
    16 => BillingRead = "billing:read",
    /// Change the plan.
    17 => BillingWrite = "billing:write",
}

impl Permission {
    /// Whether it changes what belongs to the whole organisation, which a test key cannot.
    pub const fn takes_a_live_key(self) -> bool {
        match self {
            Self::DomainsWrite | Self::BillingWrite => true,
            Self::AgentsRead
            | Self::AgentsWrite
            | Self::TokensIssue
            | Self::TokensRead
            | Self::TokensRevoke
            | Self::PoliciesRead
            | Self::PoliciesWrite
            | Self::ApprovalsRead
            | Self::ApprovalsWrite
            | Self::AuditRead
            | Self::ApiKeysRead
            | Self::ApiKeysWrite
            | Self::WebhooksRead
            | Self::WebhooksWrite
            | Self::DomainsRead
            | Self::BillingRead => false,
        }
    }
}

impl std::str::FromStr for Permission {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| format!("unknown permission {text:?}"))
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Permissions(u32);

impl Permissions {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Every permission there is.
    pub fn all() -> Self {
        Permission::ALL.iter().copied().collect()
    }

    /// Whether `permission` is in the set.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether every member of `other` is in this set.
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The members, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.contains(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(members: I) -> Self {
        Self(members.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}
