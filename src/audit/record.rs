//! One event as it is read back: the text that was hashed, and its place in the chain.
//!
//! A journal record is the event's hash (32 bytes) followed by its JCS text without `hash` and
//! `prev_hash`; the previous record's hash completes it. Knows nothing of where records are kept.

use std::borrow::Cow;

use serde::Deserialize;

use super::chain::{self, Broken};
use crate::domain::Hash;

/// An event whose hash has been checked against its text and its predecessor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Place in the chain, from 1.
    pub seq: u64,
    /// Hash of the event before; zeros before the first.
    pub prev_hash: Hash,
    /// Hash of this event.
    pub hash: Hash,
    /// The JCS text of the event without `hash` and `prev_hash`.
    pub text: String,
}

impl Entry {
    /// Takes record `seq` apart and checks that it continues `prev_hash`; an error says what is
    /// wrong with it.
    pub fn read(seq: u64, prev_hash: Hash, record: &[u8]) -> Result<Self, Broken> {
        let hash = chain::check(&prev_hash, record)?;
        let (_, text) = chain::split(record)?;
        Ok(Self { seq, prev_hash, hash, text: text.to_owned() })
    }

    /// The event in full, as the API and the exports show it.
    pub fn json(&self) -> String {
        chain::full_json(&self.prev_hash, &self.hash, &self.text)
    }

    /// The fields that filters and columns are made of.
    pub fn fields(&self) -> Result<Fields<'_>, String> {
        let fields = Fields::parse(self.text.as_bytes())?;
        if fields.seq != self.seq {
            return Err(format!("it holds event {}", fields.seq));
        }
        Ok(fields)
    }
}

/// What an event says of itself, apart from `data`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Fields<'a> {
    /// Place in the chain.
    pub seq: u64,
    /// `evt_…`.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// Its name, such as `token.issued`.
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    /// When, RFC 3339 with milliseconds.
    #[serde(borrow)]
    pub at: Cow<'a, str>,
    /// Who did it.
    #[serde(borrow)]
    pub actor: ActorFields<'a>,
    /// The agent concerned.
    #[serde(borrow, default)]
    pub agent_id: Option<Cow<'a, str>>,
    /// The token concerned.
    #[serde(borrow, default)]
    pub token_id: Option<Cow<'a, str>>,
    /// The policy concerned.
    #[serde(borrow, default)]
    pub policy_id: Option<Cow<'a, str>>,
    /// The request in which it happened.
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
}

/// See [`Fields::actor`].
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct ActorFields<'a> {
    /// `api_key`, `operator`, `node` or `setup`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// Which.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
}

impl<'a> Fields<'a> {
    /// Reads them from an event's text; an error says what is wrong with it.
    pub fn parse(text: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| format!("it is not an event: {error}"))
    }
}
