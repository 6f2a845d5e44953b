//! The hash chain: how an event is linked to the one before it, and how a link is checked.
//!
//! An event's text is the RFC 8785 (JCS) form of everything in it but its two hashes; its hash is
//! the SHA-256 of the previous hash's 32 bytes and that text. The journal holds hash and text, so
//! that reading re-renders nothing. Must not know how a change was decided, or where records lie.

use authrai_cluster::Record;
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
    /// What goes to the journal: the hash, then the text; tagged with the event's name and agent.
    pub record: Record,
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
    let record = Record {
        chain: event.chain.chain_key(),
        seq,
        tags,
        bytes: [hash.as_slice(), text.as_bytes()].concat(),
    };
    Some((Head { seq, hash }, Linked { id, record }))
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

/// Checks a whole event as an export shows it, against the event whose hash is `prev`; its own
/// hash, for the next. Nothing in it stands outside the hash.
///
/// # Errors
///
/// [`Broken`] says what is wrong with it.
pub fn check_json(prev: &Hash, event: &Map<String, Value>) -> Result<Hash, Broken> {
    let mut bare = event.clone();
    let told = [bare.remove("prev_hash"), bare.remove("hash")];
    let jcs = serde_json_canonicalizer::to_vec(&bare).map_err(|_| Broken::NotARecord)?;
    let hash = event_hash(prev, &jcs);
    let expected = [prev, &hash].map(|hash| Some(Value::String(hex::encode(hash))));
    if told == expected { Ok(hash) } else { Err(Broken::WrongHash) }
}

/// The whole event as JSON text: `jcs`, a JSON object, with its two hashes added.
pub fn full_json(prev: &Hash, hash: &Hash, jcs: &str) -> String {
    let open = jcs.strip_suffix('}').unwrap_or(jcs);
    format!(r#"{open},"prev_hash":"{}","hash":"{}"}}"#, hex::encode(prev), hex::encode(hash))
}
