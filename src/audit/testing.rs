//! Chains to test with.

use serde_json::{Value, json};

use super::chain;
use crate::domain::{AgentId, EventId, Hash, TokenId};

/// When the first event of a sample chain happened, milliseconds since the Unix epoch.
pub const START_MS: u64 = 1_780_000_000_000;
/// Names that take turns in a sample chain, each after as many events.
pub const NAMES: [&str; 3] = ["agent.created", "token.issued", "token.revoked"];
/// How many agents take turns in a sample chain.
pub const AGENTS: u64 = 5;

/// The agent that event `seq` of a sample chain concerns.
pub fn agent(seq: u64) -> AgentId {
    AgentId::from_ulid(u128::from(seq % AGENTS) + 1)
}

/// The token that event `seq` of a sample chain concerns, minted when it happened.
pub fn token(seq: u64) -> TokenId {
    TokenId::from_ulid(u128::from(at_ms(seq)) << 80 | u128::from(seq))
}

/// When event `seq` of a sample chain happened.
pub fn at_ms(seq: u64) -> u64 {
    START_MS + seq * 1_000
}

/// Event `seq` of a sample chain, without its hashes.
pub fn event(seq: u64) -> Value {
    let at = START_MS / 1_000 + seq;
    let at = time::OffsetDateTime::from_unix_timestamp(at as i64).unwrap();
    let at = at.format(&time::format_description::well_known::Rfc3339).unwrap();
    let request_id = ["-1+cmd", "req \"é\", \u{1d306}", "plain"][seq as usize % 3];
    json!({
        "seq": seq,
        "id": EventId::from_ulid(u128::from(seq)).to_string(),
        "event": NAMES[seq as usize % NAMES.len()],
        "at": at.replace('Z', ".000Z"),
        "actor": { "type": "api_key", "id": format!("key_{:026}", seq % 2) },
        "agent_id": agent(seq).to_string(),
        "token_id": token(seq).to_string(),
        "request_id": request_id,
        "data": { "name": "a, \"b\"", "\u{ff21}": 1, "\u{1d306}": ["x", null, true] },
    })
}

/// One link of a sample chain.
#[derive(Clone)]
pub struct Link {
    /// JCS text.
    pub text: String,
    /// Hash of the link before.
    pub prev_hash: Hash,
    /// Hash of this one.
    pub hash: Hash,
}

impl Link {
    /// As the journal keeps it.
    pub fn record(&self) -> Vec<u8> {
        [&self.hash[..], self.text.as_bytes()].concat()
    }
}

/// The first `length` links of a sample chain.
pub fn links(length: u64) -> impl Iterator<Item = Link> {
    let mut prev_hash = [0; 32];
    (1..=length).map(move |seq| {
        let text = serde_json_canonicalizer::to_string(&event(seq)).unwrap();
        let hash = chain::event_hash(&prev_hash, text.as_bytes());
        Link { text, prev_hash: std::mem::replace(&mut prev_hash, hash), hash }
    })
}
