//! What the parts of one request have to tell each other: the extractors of the caller and of the
//! body run apart, and the layer around them sets the headers that they know of.
//!
//! Made only for a request that presents a key, since the others have nothing to tell. Must not
//! know what is made of it.

use std::sync::{Arc, OnceLock};

use axum::http::Extensions;

use super::rate::Standing;
use crate::domain::Hash;

/// The notes of one request. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    standing: OnceLock<Standing>,
    body: OnceLock<Hash>,
}

impl Notes {
    /// The notes of the request with these extensions; of their own if there are none.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Notes how its key stands against its rate limit.
    pub fn note_standing(&self, standing: Standing) {
        let _ = self.0.standing.set(standing);
    }

    /// How its key stands against its rate limit, if it was authenticated.
    pub fn standing(&self) -> Option<Standing> {
        self.0.standing.get().copied()
    }

    /// Notes the digest of its body.
    pub fn note_body(&self, digest: Hash) {
        let _ = self.0.body.set(digest);
    }

    /// The digest of its body; that of nothing if it has none.
    pub fn body(&self) -> Hash {
        self.0.body.get().copied().unwrap_or_default()
    }
}
