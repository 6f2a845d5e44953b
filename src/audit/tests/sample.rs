//! Chains to test with.

use std::{
    collections::BTreeMap,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    audit::{Records, Unread, chain},
    domain::{AgentId, EventId, Hash, TokenId},
    limits::AUDIT_SCAN_MAX_RECORDS,
    rfc3339,
};

/// When the first event of a sample chain happened, milliseconds since the Unix epoch.
pub const START_MS: u64 = 1_780_000_000_000;
/// Names that take turns in a sample chain, each after as many events.
pub const NAMES: [&str; 3] = ["agent.created", "token.issued", "token.revoked"];
/// Length of the longest sample chain: two scans and a bit.
pub const LENGTH_MAX: u64 = 2 * AUDIT_SCAN_MAX_RECORDS + 100;
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

/// The name of event `seq` of a sample chain.
pub fn name(seq: u64) -> &'static str {
    NAMES[seq as usize % NAMES.len()]
}

/// The id of who caused event `seq` of a sample chain.
pub fn actor(seq: u64) -> String {
    format!("key_{:026}", seq % 2)
}

/// When event `seq` of a sample chain happened.
pub fn at_ms(seq: u64) -> u64 {
    START_MS + seq * 1_000
}

/// Event `seq` of a sample chain, without its hashes.
pub fn event(seq: u64) -> Value {
    let request_id = ["-1+cmd", "req \"é\", \u{1d306}", "plain"][seq as usize % 3];
    json!({
        "seq": seq,
        "id": EventId::from_ulid(u128::from(seq)).to_string(),
        "event": name(seq),
        "at": rfc3339::millis(at_ms(seq)),
        "actor": { "type": "api_key", "id": actor(seq) },
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
    static LINKS: LazyLock<Vec<Link>> = LazyLock::new(|| linked(LENGTH_MAX).collect());
    LINKS[..length as usize].iter().cloned()
}

fn linked(length: u64) -> impl Iterator<Item = Link> {
    let mut prev_hash = [0; 32];
    (1..=length).map(move |seq| {
        let text = serde_json_canonicalizer::to_string(&event(seq)).unwrap();
        let hash = chain::event_hash(&prev_hash, text.as_bytes());
        Link { text, prev_hash: std::mem::replace(&mut prev_hash, hash), hash }
    })
}

/// Chains in memory: one for every tenant, all the same.
#[derive(Default)]
pub struct Memory {
    records: Vec<Vec<u8>>,
    postings: BTreeMap<Vec<u8>, Vec<u64>>,
    /// How many records were read.
    pub reads: AtomicU64,
}

impl Memory {
    /// A sample chain.
    pub fn sample(length: u64) -> Self {
        let mut memory = Self::default();
        for (link, seq) in links(length).zip(1..) {
            memory.records.push(link.record());
            for tag in
                [[b"e:", name(seq).as_bytes()].concat(), [&b"a:"[..], &agent(seq).0].concat()]
            {
                memory.postings.entry(tag).or_default().push(seq);
            }
        }
        memory
    }

    /// Flips a bit of the text of event `seq`.
    pub fn damage(&mut self, seq: u64) {
        self.records[seq as usize - 1][40] ^= 1;
    }

    /// Drops event `seq` and all after it.
    pub fn cut(&mut self, seq: u64) {
        self.records.truncate(seq as usize - 1);
    }

    fn tagged(&self, tag: &[u8]) -> &[u64] {
        self.postings.get(tag).map_or(&[], Vec::as_slice)
    }
}

impl Records for Memory {
    fn head(&self, _: &[u8]) -> u64 {
        self.records.len() as u64
    }

    fn read(
        &self,
        _: &[u8],
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Unread> {
        let mut bytes = 0;
        let rest = self.records.iter().cloned().zip(1u64..).skip(from as usize - 1);
        let fit = rest.take(max_records).take_while(|(record, seq)| {
            bytes += record.len();
            *seq == from || bytes <= max_bytes
        });
        let read: Vec<_> = fit.map(|(record, seq)| (seq, record)).collect();
        self.reads.fetch_add(read.len() as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn count(&self, _: &[u8], tag: &[u8]) -> Result<u64, Unread> {
        Ok(self.tagged(tag).len() as u64)
    }

    fn seqs(
        &self,
        _: &[u8],
        tag: &[u8],
        after: u64,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<u64>, Unread> {
        let tagged = self.tagged(tag).iter().copied();
        Ok(tagged.filter(|seq| *seq > after).skip(skip as usize).take(limit).collect())
    }
}
