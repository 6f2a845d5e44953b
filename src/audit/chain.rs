//! The hash chain: how an event is linked to the one before it, and how a link is checked.
//!
//! An event's text is the RFC 8785 (JCS) form of everything in it but its two hashes; its hash is
//! the SHA-256 of the previous hash's 32 bytes and that text. The journal holds hash and text, so
//! that reading re-renders nothing. Must not know how a change was decided, or where records lie.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    domain::{Actor, Event, EventId, Hash, Head, Millis, Subject, Tenant},
    rfc3339,
};

/// An event in its place in its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// Its id.
    pub id: EventId,
    /// What goes to the journal.
    pub record: Row,
}

/// What the journal holds of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The event's place in its chain, from 1.
    pub seq: u64,
    /// What it can be found by: [`name_tag`], and [`agent_tag`] if it is about one.
    pub tags: Vec<Vec<u8>>,
    /// The hash's 32 bytes, then the text.
    pub bytes: Vec<u8>,
}

/// A journal record or an event's text that is not what its chain needs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Shorter than a hash and an object, or not UTF-8.
    #[error("the record is not a hash and a JSON object")]
    NotARecord,
    /// The hash does not follow from the previous one and the text.
    #[error("the hash does not follow from the event and the one before it")]
    WrongHash,
}

/// The tag that finds all events of this name.
pub fn name_tag(name: &str) -> Vec<u8> {
    [b"e:", name.as_bytes()].concat()
}

/// The tag that finds all events about this agent.
pub fn agent_tag(agent: crate::domain::AgentId) -> Vec<u8> {
    [b"a:", agent.0.as_slice()].concat()
}

/// Links `event` behind `head`. `None` for bookkeeping, which is in no chain.
pub fn link(
    head: Head,
    at: Millis,
    actor: &Actor,
    request_id: &str,
    event: &Event,
) -> Option<(Head, Linked)> {
    let name = event.fact.name()?;
    let seq = head.seq.saturating_add(1);
    let subject = event.fact.subject();
    let id = event_id(event.chain, &head.hash, seq, at);
    let text = text(
        &[
            ("seq", seq.into()),
            ("id", id.to_string().into()),
            ("event", name.into()),
            ("at", rfc3339::millis(at).into()),
            ("actor", actor.to_json()),
            ("request_id", request_id.into()),
            ("data", event.fact.data().into()),
        ],
        subject,
    );
    let hash = event_hash(&head.hash, text.as_bytes());
    let mut tags = vec![name_tag(name)];
    tags.extend(subject.agent.map(agent_tag));
    let bytes = [hash.as_slice(), text.as_bytes()].concat();
    Some((Head { seq, hash }, Linked { id, record: Row { seq, tags, bytes } }))
}

fn text(members: &[(&str, Value)], subject: Subject) -> String {
    let subjects = [
        ("agent_id", subject.agent.map(|id| id.to_string())),
        ("token_id", subject.token.map(|id| id.to_string())),
        ("policy_id", subject.policy.map(|id| id.to_string())),
    ];
    let mut event: Map<String, Value> =
        members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    for (name, id) in subjects {
        if let Some(id) = id {
            event.insert(name.to_owned(), id.into());
        }
    }
    serde_json_canonicalizer::to_string(&event).expect("strings, small integers and maps of them")
}

/// A ULID of the event's time and of its place in the chain, so that every node mints the same.
fn event_id(chain: Tenant, prev: &Hash, seq: u64, at: Millis) -> EventId {
    let digest = Sha256::new()
        .chain_update(chain.chain_key())
        .chain_update(prev)
        .chain_update(seq.to_be_bytes())
        .finalize();
    let mut id = [0; 16];
    id[..6].copy_from_slice(&at.to_be_bytes()[2..]);
    id[6..].copy_from_slice(&digest[..10]);
    EventId(id)
}

/// The hash of the event whose text is `jcs`, behind the event whose hash is `prev`.
pub fn event_hash(prev: &Hash, jcs: &[u8]) -> Hash {
    Sha256::new().chain_update(prev).chain_update(jcs).finalize().into()
}

/// Takes a journal record apart into the event's hash and text.
///
/// # Errors
///
/// [`Broken::NotARecord`].
pub fn split(record: &[u8]) -> Result<(Hash, &str), Broken> {
    let (hash, text) = record.split_first_chunk::<32>().ok_or(Broken::NotARecord)?;
    let text = std::str::from_utf8(text).map_err(|_| Broken::NotARecord)?;
    if !(text.len() > 2 && text.starts_with('{') && text.ends_with('}')) {
        return Err(Broken::NotARecord);
    }
    Ok((*hash, text))
}

/// Checks that a journal record follows the event whose hash is `prev`; its own hash, for the next.
///
/// # Errors
///
/// [`Broken`] says what is wrong with it.
pub fn check(prev: &Hash, record: &[u8]) -> Result<Hash, Broken> {
    let (hash, text) = split(record)?;
    if event_hash(prev, text.as_bytes()) == hash { Ok(hash) } else { Err(Broken::WrongHash) }
}

/// The whole event as JSON text: `jcs`, a JSON object, with its two hashes added.
pub fn full_json(prev: &Hash, hash: &Hash, jcs: &str) -> String {
    let open = jcs.strip_suffix('}').unwrap_or(jcs);
    format!(r#"{open},"prev_hash":"{}","hash":"{}"}}"#, hex::encode(prev), hex::encode(hash))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{AgentId, ApiKeyId, DefaultEffect, Fact, OrgId, Organization, TokenId};

    /// What RFC 8785 gives as examples, and what I-JSON texts of this kind can hold.
    #[test]
    fn canonical_json_is_that_of_rfc_8785() {
        // Section 3.2.2 and 3.2.3, and the sorting example of section 3.2.3.
        let literals = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let sorting = r#"{
            "\u20ac": "Euro Sign", "\r": "Carriage Return",
            "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
            "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#;
        for (text, canonical) in [
            (
                literals,
                "{\"literals\":[null,true,false],\
                 \"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                 \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
            ),
            (
                sorting,
                "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
                 \"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",\
                 \"\u{1f600}\":\"Emoji: Grinning Face\",\
                 \"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
            ),
            (r#"{"a":9007199254740991,"b":0}"#, r#"{"a":9007199254740991,"b":0}"#),
            (r#"{ "a" : "\u202e\u0000\u001f\u007f" }"#, "{\"a\":\"\u{202e}\\u0000\\u001f\u{7f}\"}"),
        ] {
            let value: Value = serde_json::from_str(text).expect("JSON");
            let got = serde_json_canonicalizer::to_string(&value).expect("canonical");
            assert_eq!(got, canonical);
        }
    }

    fn revoked(n: u128) -> Event {
        Event {
            chain: Tenant::live(OrgId::from_ulid(1)),
            fact: Fact::TokenRevoked {
                id: TokenId::from_ulid(n),
                agent: AgentId::from_ulid(2),
                hash: [3; 32],
                revoked_at: 1_782_914_400_123,
            },
        }
    }

    fn linked(head: Head, event: &Event) -> (Head, Linked) {
        let actor = Actor::ApiKey(ApiKeyId::from_ulid(4));
        link(head, 1_782_914_400_123, &actor, "req \"1\" é", event).expect("audited")
    }

    #[test]
    fn an_event_reads_as_the_contract_says_and_its_hash_covers_all_of_it() {
        let (head, first) = linked(Head::START, &revoked(7));
        let text = "{\"actor\":{\"id\":\"key_00000000000000000000000004\",\"type\":\"api_key\"},\
            \"agent_id\":\"agent_00000000000000000000000002\",\
            \"at\":\"2026-07-01T14:00:00.123Z\",\
            \"data\":{\"revoked_at\":\"2026-07-01T14:00:00Z\"},\
            \"event\":\"token.revoked\",\
            \"id\":\"ID\",\
            \"request_id\":\"req \\\"1\\\" é\",\"seq\":1,\
            \"token_id\":\"tok_00000000000000000000000007\"}"
            .replace("ID", &first.id.to_string());
        // From the words of the contract alone: SHA-256 of 32 zero bytes and the text.
        let hash = Sha256::new().chain_update([0; 32]).chain_update(&text).finalize();
        assert_eq!(first.record.bytes, [hash.as_slice(), text.as_bytes()].concat());
        assert_eq!(first.record.seq, 1);
        let agent = [b"a:".as_slice(), &AgentId::from_ulid(2).0].concat();
        assert_eq!(first.record.tags, [b"e:token.revoked".to_vec(), agent]);
        assert_eq!(head, Head { seq: 1, hash: hash.into() });
        assert_eq!(first.id.minted_at_ms(), 1_782_914_400_123);

        let (_, second) = linked(head, &revoked(7));
        assert_ne!(first.id, second.id, "the place in the chain is part of the id");
        let (own, text) = split(&second.record.bytes).expect("a record");
        let whole = full_json(&head.hash, &own, text);
        let whole: Map<String, Value> = serde_json::from_str(&whole).expect("JSON");
        assert_eq!(whole["prev_hash"], hex::encode(hash));
        assert_eq!(whole["seq"], 2);
        assert_eq!(whole.len(), 11);
    }

    #[test]
    fn an_event_without_a_subject_has_no_such_members() {
        let org = Organization {
            id: OrgId::from_ulid(1),
            name: "A".into(),
            default_effect: DefaultEffect::Allow,
            plan: "free".into(),
            created_at: 0,
            updated_at: 0,
        };
        let fact = Fact::OrganizationCreated(Arc::new(org));
        let (_, only) = linked(Head::START, &Event { chain: Tenant::SYSTEM, fact });
        let (_, text) = split(&only.record.bytes).expect("a record");
        let event: Map<String, Value> = serde_json::from_str(text).expect("JSON");
        let members: Vec<&String> = event.keys().collect();
        assert_eq!(members, ["actor", "at", "data", "event", "id", "request_id", "seq"]);
        assert_eq!(only.record.tags, [b"e:organization.created".to_vec()]);
    }

    #[test]
    fn bookkeeping_is_in_no_chain() {
        let fact = Fact::RetiredSecretForgotten([1; 32]);
        let event = Event { chain: Tenant::SYSTEM, fact };
        assert_eq!(link(Head::START, 1, &Actor::Node(1), "", &event), None);
    }

    #[test]
    fn a_byte_changed_anywhere_breaks_the_chain() {
        let (head, first) = linked(Head::START, &revoked(7));
        let (next, second) = linked(head, &revoked(8));
        assert_eq!(check(&[0; 32], &first.record.bytes), Ok(head.hash));
        assert_eq!(check(&head.hash, &second.record.bytes), Ok(next.hash));
        assert_eq!(check(&[0; 32], &second.record.bytes), Err(Broken::WrongHash), "a row dropped");
        for place in 0..second.record.bytes.len() {
            let mut changed = second.record.bytes.clone();
            changed[place] ^= 1;
            assert!(check(&head.hash, &changed).is_err(), "byte {place}");
        }
        for cut in [0, 31, 32, 33, second.record.bytes.len() - 1] {
            let came = check(&head.hash, &second.record.bytes[..cut]);
            assert_eq!(came, Err(Broken::NotARecord), "cut at {cut}");
        }
    }
}
