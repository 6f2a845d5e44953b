//! Making tokens: claims to a signed compact JWS behind its prefix.
//!
//! A signer holds a private key, which is wiped when it is dropped. Must not know where that key
//! is kept or when it is replaced.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde::Serialize;

use super::{Claims, Prefix, TYP};

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

/// A signing key and the name by which verifiers find its public half.
pub struct Signer {
    /// The header's part of every token, encoded; the `kid` is in it.
    header: String,
    key: SigningKey,
}

impl Signer {
    /// The signer with this `kid` and this Ed25519 private key (RFC 8032, section 5.1.5).
    pub fn new(kid: &str, seed: &[u8; 32]) -> Self {
        let header = Header { alg: "EdDSA", typ: TYP, kid };
        Self { header: URL_SAFE_NO_PAD.encode(json(&header)), key: SigningKey::from_bytes(seed) }
    }

    /// The public half of its key.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// A whole token. The same claims always make the same token (RFC 8032). It can be longer than
    /// [`super::TOKEN_MAX_BYTES`] when the claims are: such a token verifies nowhere.
    pub fn sign(&self, prefix: Prefix, claims: &Claims<'_>) -> String {
        let mut token = String::from(prefix.as_str());
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(json(claims), &mut token);
        let signature = self.key.sign(&token.as_bytes()[prefix.as_str().len()..]);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.to_bytes(), &mut token);
        token
    }
}

fn json(members: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(members).expect("strings and integers have a JSON form")
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("public_key", &hex::encode(self.public_key())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{forge, parse, read_claims};

    const KID: &str = "sig_01jzzzzzzzzzzzzzzzzzzzzzz4";
    /// Made by Python's json and cryptography from the same claims and key.
    const TOKEN: &str = concat!(
        "rai_live_eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6InNpZ18wMWp6enp6enp6enp6enp6enp6",
        "enp6enp6NCJ9.eyJpc3MiOiJodHRwczovL2F1dGguZXhhbXBsZSIsInN1YiI6ImFnZW50XzAxanp6enp6enp6enp6",
        "enp6enp6enp6enoxIiwiY2xpZW50X2lkIjoiYWdlbnRfMDFqenp6enp6enp6enp6enp6enp6enp6ejEiLCJhdWQiO",
        "iJiaWxsaW5nIiwic2NvcGUiOiJkYi5yZWFkIGRiLndyaXRlIiwiaWF0IjoxNzgyOTE0NDAwLCJleHAiOjE3ODI5MT",
        "Q3MDAsImp0aSI6InRva18wMWp6enp6enp6enp6enp6enp6enp6enp6MiIsIm9yZyI6Im9yZ18wMWp6enp6enp6enp",
        "6enp6enp6enp6enp6MyIsImludGVudCI6Imdyw7bDn2UifQ.WFRJUJqCiOoRZ5L72beR03nYNmFM3yFl_tjPW-yZP",
        "1fAAoeW6PzZKvCsk_hKE6Y-EdbADr6G5rS3nHEXEv7cDg",
    );

    fn claims() -> Claims<'static> {
        serde_json::from_str(forge::CLAIMS).unwrap()
    }

    #[test]
    fn a_token_is_what_other_implementations_make_of_the_same_claims() {
        let signer = Signer::new(KID, &forge::SEED);
        assert_eq!(signer.sign(Prefix::Live, &claims()), TOKEN);
        let test = signer.sign(Prefix::Test, &claims());
        assert_eq!(test.strip_prefix("rai_test_"), TOKEN.strip_prefix("rai_live_"));
    }

    #[test]
    fn both_readers_find_what_was_signed() {
        let signer = Signer::new(KID, &forge::SEED);
        for intent in [Some("größe \"\n\u{0}"), Some(""), None] {
            let claims = Claims { intent: intent.map(Into::into), ..claims() };
            let token = signer.sign(Prefix::Test, &claims);
            let parsed = parse(&token).unwrap();
            assert_eq!((parsed.prefix, parsed.kid.as_str()), (Prefix::Test, KID));
            assert!(parsed.is_signed_by(&signer.public_key()));
            assert!(!parsed.is_signed_by(&Signer::new(KID, &[1; 32]).public_key()));
            assert_eq!(parsed.claims, claims);
            assert_eq!(read_claims(&token, &mut vec![1, 2, 3]), Ok(claims));
        }
    }

    #[test]
    fn a_signer_shows_only_its_public_half() {
        let shown = format!("{:?}", Signer::new(KID, &forge::SEED));
        // RFC 8032, section 7.1, test 1.
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(shown, format!("Signer {{ public_key: {public:?} }}"));
    }
}
