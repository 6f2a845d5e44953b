//! Making tokens: claims to a signed compact JWS behind its prefix.
//!
//! A signer holds a private key, which is wiped when it is dropped. Must not know where that key
//! is kept or when it is replaced.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::json;

use super::{Claims, Prefix, TYP};

/// A signing key and the name by which verifiers find its public half.
pub struct Signer {
    /// The header's part of every token, encoded; the `kid` is in it.
    header: String,
    key: SigningKey,
}

impl Signer {
    /// The signer with this `kid` and this Ed25519 private key (RFC 8032, section 5.1.5).
    pub fn new(kid: &str, seed: &[u8; 32]) -> Self {
        let header = json!({ "alg": "EdDSA", "typ": TYP, "kid": kid }).to_string();
        Self { header: URL_SAFE_NO_PAD.encode(header), key: SigningKey::from_bytes(seed) }
    }

    /// The public half of its key.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// A whole token. The same claims always make the same token (RFC 8032). It can be longer than
    /// [`super::TOKEN_MAX_BYTES`] when the claims are: such a token verifies nowhere.
    ///
    /// # Panics
    ///
    /// Never: claims are strings and integers, which always have a JSON form.
    pub fn sign(&self, prefix: Prefix, claims: &Claims<'_>) -> String {
        let claims = serde_json::to_vec(claims).expect("strings and integers have a JSON form");
        let mut token = String::from(prefix.as_str());
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.key.sign(&token.as_bytes()[prefix.as_str().len()..]);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        token
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("public_key", &hex::encode(self.public_key())).finish()
    }
}
