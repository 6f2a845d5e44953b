//! For tests: tokens put together by hand, so that every part can be wrong.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};

/// The private key of RFC 8032, section 7.1, test 1.
pub(crate) const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

/// A good header.
pub(crate) const HEADER: &str =
    r#"{"alg":"EdDSA","typ":"at+jwt","kid":"sig_01jzzzzzzzzzzzzzzzzzzzzzz4"}"#;

/// Good claims.
pub(crate) const CLAIMS: &str = concat!(
    r#"{"iss":"https://auth.example","sub":"agent_01jzzzzzzzzzzzzzzzzzzzzzz1","#,
    r#""client_id":"agent_01jzzzzzzzzzzzzzzzzzzzzzz1","aud":"billing","#,
    r#""scope":"db.read db.write","iat":1782914400,"exp":1782914700,"#,
    r#""jti":"tok_01jzzzzzzzzzzzzzzzzzzzzzz2","org":"org_01jzzzzzzzzzzzzzzzzzzzzzz3","#,
    r#""intent":"größe"}"#
);

/// A live token with this header and these claims, whatever they are, signed well with [`SEED`].
pub(crate) fn token(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = SigningKey::from_bytes(&SEED).sign(signed.as_bytes());
    format!("rai_live_{signed}.{}", encode(signature.to_bytes()))
}

/// Base64url without padding.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The three parts of a token, without its prefix.
pub(crate) fn parts(token: &str) -> [&str; 3] {
    let jws = token.strip_prefix("rai_live_").expect("a live token");
    let mut parts = jws.split('.');
    std::array::from_fn(|_| parts.next().expect("three parts"))
}
