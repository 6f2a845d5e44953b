//! The hash chain: what an event's hash is, and the event in full.

use sha2::{Digest, Sha256};

use crate::domain::Hash;

/// SHA-256 of the previous hash's bytes followed by the event's JCS text.
pub fn event_hash(prev_hash: &Hash, text: &[u8]) -> Hash {
    Sha256::new().chain_update(prev_hash).chain_update(text).finalize().into()
}

/// The event with both hashes, given its JCS text without them.
pub fn full_json(text: &str, prev_hash: &Hash, hash: &Hash) -> String {
    let open = text.strip_suffix('}').unwrap_or(text);
    let (prev_hash, hash) = (hex::encode(prev_hash), hex::encode(hash));
    format!("{open},\"prev_hash\":\"{prev_hash}\",\"hash\":\"{hash}\"}}")
}
