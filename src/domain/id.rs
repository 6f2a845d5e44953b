//! Identifiers: a prefix that says what is named, and a ULID that sorts by time of creation.
//!
//! In memory and in the log an id is 16 bytes; the prefix exists only in text. Ids are minted
//! outside the core and arrive in commands. Knows nothing of clocks or randomness.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::codec::stored_tags;

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {0}_<26 lowercase ULID characters>")]
pub struct NotAnId(pub &'static str);

/// Lowercase Crockford base32, the alphabet of a ULID.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_CHARS: usize = 26;

fn write_ulid(value: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0u8; TEXT_CHARS];
    for (place, character) in text.iter_mut().rev().enumerate() {
        *character = ALPHABET[(value >> (5 * place)) as usize & 31];
    }
    f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
}

fn read_ulid(text: &str) -> Option<u128> {
    if text.len() != TEXT_CHARS || text.as_bytes()[0] > b'7' {
        return None;
    }
    text.bytes().try_fold(0u128, |value, byte| {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        Some(value << 5 | digit as u128)
    })
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// The id with this 128-bit ULID.
            pub const fn from_ulid(value: u128) -> Self {
                Self(value.to_be_bytes())
            }

            /// The time part of the ULID, milliseconds since the Unix epoch.
            pub fn minted_at_ms(self) -> u64 {
                (u128::from_be_bytes(self.0) >> 80) as u64
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                write_ulid(u128::from_be_bytes(self.0), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(read_ulid)
                    .map(Self::from_ulid)
                    .ok_or(NotAnId($prefix))
            }
        }
    };
}

id!(
    /// An agent: `agent_…`.
    AgentId, "agent"
);
id!(
    /// A token: `tok_…`, also the `jti` of its JWS.
    TokenId, "tok"
);
id!(
    /// An API key: `key_…`.
    ApiKeyId, "key"
);
id!(
    /// An operator key: `op_…`.
    OperatorKeyId, "op"
);
id!(
    /// A signing key of a node: `sig_…`, the `kid` of what it signs.
    SigningKeyId, "sig"
);
id!(
    /// A policy: `pol_…`.
    PolicyId, "pol"
);
id!(
    /// An approval: `apr_…`.
    ApprovalId, "apr"
);
id!(
    /// An audit event: `evt_…`.
    EventId, "evt"
);
id!(
    /// A webhook endpoint: `wh_…`.
    WebhookId, "wh"
);
id!(
    /// A delivery of an event to a webhook endpoint: `dlv_…`.
    DeliveryId, "dlv"
);

id!(
    /// A domain of an organisation: `dom_…`.
    DomainId, "dom"
);

/// An organisation: `org_…`, or `org_system`, which holds the cluster's own events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrgId(pub [u8; 16]);

impl OrgId {
    /// Where events of the cluster itself stand; owned by no tenant.
    pub const SYSTEM: Self = Self([0; 16]);
    /// What stands before the underscore.
    pub const PREFIX: &'static str = "org";
    const SYSTEM_TEXT: &'static str = "org_system";

    /// The id with this 128-bit ULID.
    pub const fn from_ulid(value: u128) -> Self {
        Self(value.to_be_bytes())
    }
}

impl fmt::Display for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::SYSTEM {
            return f.write_str(Self::SYSTEM_TEXT);
        }
        f.write_str("org_")?;
        write_ulid(u128::from_be_bytes(self.0), f)
    }
}

impl fmt::Debug for OrgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OrgId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text == Self::SYSTEM_TEXT {
            return Ok(Self::SYSTEM);
        }
        text.strip_prefix("org_")
            .and_then(read_ulid)
            .map(Self::from_ulid)
            .ok_or(NotAnId(Self::PREFIX))
    }
}

stored_tags! {
    /// Live or test: two worlds of one organisation that never see each other.
    pub enum Environment {
        /// Real work.
        1 => Live = "live",
        /// Trials.
        2 => Test = "test",
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One environment of one organisation: what a key opens, what an agent belongs to, what an audit
/// chain records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tenant {
    /// The organisation.
    pub org: OrgId,
    /// Its live or its test half.
    pub environment: Environment,
}

impl Tenant {
    /// The chain of the cluster's own events.
    pub const SYSTEM: Self = Self { org: OrgId::SYSTEM, environment: Environment::Live };

    /// The live half of `org`, in whose chain the organisation's own events stand.
    pub const fn live(org: OrgId) -> Self {
        Self { org, environment: Environment::Live }
    }

    /// The key of this tenant's audit chain in the journal: 16 bytes of organisation, 1 of
    /// environment.
    pub fn chain_key(self) -> Vec<u8> {
        let mut key = self.org.0.to_vec();
        key.push(self.environment.into());
        key
    }

    /// The tenant whose chain has this key.
    pub fn of_chain_key(key: &[u8]) -> Option<Self> {
        let (org, _) = key.split_first_chunk()?;
        [Environment::Live, Environment::Test]
            .map(|environment| Self { org: OrgId(*org), environment })
            .into_iter()
            .find(|tenant| tenant.chain_key() == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        for value in [0, 1, 0x0191_8f00_1122_3344_5566_7788_99aa_bbcc, u128::MAX] {
            let id = AgentId::from_ulid(value);
            let text = id.to_string();
            assert_eq!(text.len(), "agent_".len() + 26);
            assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn only_lowercase_ulids_with_the_right_prefix_are_ids() {
        let good = AgentId::from_ulid(u128::MAX).to_string();
        assert_eq!(good, "agent_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        for bad in [
            "",
            "agent_",
            "agent_8zzzzzzzzzzzzzzzzzzzzzzzzz",
            "agent_7zzzzzzzzzzzzzzzzzzzzzzzz",
            "agent_7zzzzzzzzzzzzzzzzzzzzzzzzzz",
            "agent_7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "agent_7zzzzzzzzzzzzzzzzzzzzzzzzu",
            "tok_7zzzzzzzzzzzzzzzzzzzzzzzzz",
            "agent_é0000000000000000000000000",
        ] {
            assert_eq!(bad.parse::<AgentId>(), Err(NotAnId("agent")), "{bad}");
        }
    }

    #[test]
    fn the_system_organisation_has_a_name_of_its_own() {
        assert_eq!(OrgId::SYSTEM.to_string(), "org_system");
        assert_eq!("org_system".parse(), Ok(OrgId::SYSTEM));
    }
}
