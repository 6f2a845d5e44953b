//! `Idempotency-Key`: a creating request that is sent again is answered as it was the first time.
//!
//! What tells a request apart is who calls, which route and which key; that the body is the same
//! too is for the core to say. The secret part of an answer is sealed under what the caller
//! presents, so it can be shown again to the same key only. A handler opts in by taking its call
//! from `call_once`. Knows nothing of what a route makes.

use axum::{
    extract::OriginalUri,
    http::{HeaderMap, HeaderName, Method, request::Parts},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    notes::Notes,
    problem::{Code, Problem},
};
use crate::{actors::Once, domain::Hash, limits, secrets::ReplayKey};

/// Tells a request apart from every other of its caller on its route.
pub static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
pub static IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A request that names an `Idempotency-Key`.
#[derive(Debug)]
pub struct Named {
    key: ReplayKey,
    notes: Notes,
}

impl Named {
    /// Reads the header of a POST by the key with this id, which was presented as `secret`.
    ///
    /// # Errors
    ///
    /// A 400 when the header is not as it has to be.
    pub fn read(parts: &Parts, id: &[u8; 16], secret: &str) -> Result<Option<Self>, Problem> {
        if parts.method != Method::POST {
            return Ok(None);
        }
        let Some(name) = header(&parts.headers)? else { return Ok(None) };
        // A nested router sees a shortened path.
        let path = parts
            .extensions
            .get::<OriginalUri>()
            .map_or_else(|| parts.uri.path(), |OriginalUri(uri)| uri.path());
        let key = ReplayKey::derive(secret, record(id, path, name));
        Ok(Some(Self { key, notes: Notes::of(&parts.extensions) }))
    }

    /// What the call carries. The body has been read by now.
    pub fn once(&self) -> Once {
        Once { key: self.key.clone(), request: self.notes.body() }
    }
}

/// The value of the header, if it is there: 1 to 255 visible ASCII characters.
fn header(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let fits = (1..=limits::IDEMPOTENCY_KEY_MAX_BYTES).contains(&value.len())
        && value.as_bytes().iter().all(u8::is_ascii_graphic)
        && values.next().is_none();
    if fits {
        return Ok(Some(value.as_bytes()));
    }
    Err(Problem::new(
        Code::INVALID_HEADER,
        format!(
            "Idempotency-Key must be there once, with 1 to {} visible ASCII characters and no \
             spaces; a UUID is a good one.",
            limits::IDEMPOTENCY_KEY_MAX_BYTES
        ),
    ))
}

fn record(id: &[u8; 16], path: &str, name: &[u8]) -> Hash {
    // The id has a fixed length, and a path has no zero byte.
    Sha256::new()
        .chain_update(id)
        .chain_update(path)
        .chain_update([0])
        .chain_update(name)
        .finalize()
        .into()
}

/// Notes what was asked, where that matters: the body as JSON means it, so that the order of its
/// members does not count, and whether the agent signed it.
pub fn note_body(parts: &Parts, bytes: &[u8], is_signed: bool) {
    if !parts.headers.contains_key(&IDEMPOTENCY_KEY) {
        return;
    }
    let canonical = serde_json::from_slice::<Value>(bytes)
        .ok()
        .and_then(|value| serde_json_canonicalizer::to_vec(&value).ok());
    let digest = Sha256::new()
        .chain_update([is_signed.into()])
        .chain_update(canonical.as_deref().unwrap_or(bytes))
        .finalize();
    Notes::of(&parts.extensions).note_body(digest.into());
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Request};

    use super::*;

    fn parts(method: Method, path: &str, names: &[&[u8]]) -> Parts {
        let mut request = Request::builder().method(method).uri(path).body(()).unwrap();
        for name in names {
            let value = HeaderValue::from_bytes(name).unwrap();
            request.headers_mut().append(IDEMPOTENCY_KEY.clone(), value);
        }
        request.extensions_mut().insert(Notes::default());
        request.into_parts().0
    }

    #[test]
    fn a_key_is_visible_ascii_once_and_not_too_long() {
        let longest = vec![b'x'; limits::IDEMPOTENCY_KEY_MAX_BYTES];
        let too_long = vec![b'x'; limits::IDEMPOTENCY_KEY_MAX_BYTES + 1];
        for (names, fits) in [
            (&[&b"a"[..]][..], true),
            (&[&longest], true),
            (&[b"!~"], true),
            (&[], true),
            (&[b""], false),
            (&[b"a b"], false),
            (&[b"\xe9"], false),
            (&[&too_long], false),
            (&[b"a", b"a"], false),
        ] {
            let parts = parts(Method::POST, "/v1/agents", names);
            let read = Named::read(&parts, &[1; 16], "rai_pk_live_x");
            assert_eq!(read.is_ok(), fits, "{names:?}");
            assert_eq!(read.is_ok_and(|named| named.is_some()), fits && !names.is_empty());
        }
    }

    #[test]
    fn a_record_is_that_of_one_caller_route_and_key() {
        let read = |method, path, id, name: &[u8]| {
            let parts = parts(method, path, &[name]);
            let named = Named::read(&parts, &[id; 16], "rai_pk_live_x").unwrap();
            named.map(|named| named.once().key.record())
        };
        let first = read(Method::POST, "/v1/agents", 1, b"a");
        assert_eq!(first, read(Method::POST, "/v1/agents?x=1", 1, b"a"));
        for other in [
            read(Method::POST, "/v1/agents", 2, b"a"),
            read(Method::POST, "/v1/agents", 1, b"b"),
            read(Method::POST, "/v1/tokens", 1, b"a"),
        ] {
            assert!(other.is_some() && other != first);
        }
        assert_eq!(read(Method::GET, "/v1/agents", 1, b"a"), None);
    }

    #[test]
    fn the_order_of_members_does_not_count_and_everything_else_does() {
        let digest = |body: &[u8], is_signed| {
            let parts = parts(Method::POST, "/v1/tokens", &[b"a"]);
            note_body(&parts, body, is_signed);
            Notes::of(&parts.extensions).body()
        };
        let first = digest(br#"{"a":1,"b":[1,2]}"#, false);
        assert_eq!(first, digest(br#" { "b" : [1, 2], "a" : 1 } "#, false));
        assert_ne!(first, digest(br#"{"a":1,"b":[2,1]}"#, false));
        assert_ne!(first, digest(br#"{"a":1,"b":[1,2]}"#, true));
        assert_ne!(first, digest(b"", false));
    }
}
