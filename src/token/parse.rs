//! Reading a token that may be anything: from text to its parts, or why it is not a token.
//!
//! Strict, because whatever is let through here is what a signature is checked for: one spelling of
//! each part, one meaning of each member. Says nothing of who signed it: that is
//! [`Parsed::is_signed_by`], and which key to ask with is the caller's affair.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, de::IgnoredAny};

use super::{Claims, Prefix, TOKEN_MAX_BYTES, TYP, unique};

/// Longest `kid` that is looked at.
const KID_MAX_BYTES: usize = 64;

/// Why a text is not a token of ours, whoever signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than any token.
    #[error("the token is longer than {TOKEN_MAX_BYTES} bytes")]
    TooLong,
    /// Does not start as a token does.
    #[error("the token does not start with rai_live_ or rai_test_")]
    Prefix,
    /// Not the three parts of a compact JWS.
    #[error("the token is not three parts with a dot between each two (RFC 7515)")]
    Parts,
    /// The part named is not base64url in its one canonical spelling.
    #[error("the {0} of the token is not canonical base64url without padding")]
    Base64(&'static str),
    /// The header is not one of ours.
    #[error(
        "the token's header is not a JSON object with alg EdDSA, typ at+jwt, a kid and no crit"
    )]
    Header,
    /// The claims are not those of an access token.
    #[error("the token's claims are not a JSON object with the claims of an access token")]
    Claims,
    /// The signature is not 64 bytes.
    #[error("the token's signature is not 64 bytes")]
    Signature,
}

/// A token taken apart. Nothing in it is to be believed before its signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// Its prefix.
    pub prefix: Prefix,
    /// Which key it says has signed it: 1 to 64 letters, digits, `_` and `-`.
    pub kid: String,
    /// What it says.
    pub claims: Claims<'static>,
    signed: &'a str,
    signature: [u8; 64],
}

impl Parsed<'_> {
    /// Whether the holder of `public_key` signed it. As strict as Ed25519 verification gets: no
    /// second spelling of a signature, no small-order point in the key or the signature.
    pub fn is_signed_by(&self, public_key: &[u8; 32]) -> bool {
        VerifyingKey::from_bytes(public_key).is_ok_and(|key| {
            key.verify_strict(self.signed.as_bytes(), &Signature::from_bytes(&self.signature))
                .is_ok()
        })
    }
}

/// Takes a token apart. A text that is too long is refused before it is looked at.
pub fn parse(token: &str) -> Result<Parsed<'_>, Malformed> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err(Malformed::TooLong);
    }
    let (prefix, jws) = Prefix::split(token).ok_or(Malformed::Prefix)?;
    let (signed, signature) = jws.rsplit_once('.').ok_or(Malformed::Parts)?;
    let (header, claims) = signed.split_once('.').ok_or(Malformed::Parts)?;
    if claims.contains('.') {
        return Err(Malformed::Parts);
    }
    let kid = read_header(&decode(header, "header")?)?;
    let claims = read_strictly(&decode(claims, "claims")?)?;
    let signature = decode(signature, "signature")?.try_into().map_err(|_| Malformed::Signature)?;
    Ok(Parsed { prefix, kid, claims, signed, signature })
}

fn decode(part: &str, name: &'static str) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed::Base64(name))
}

/// Members that are not listed are ignored, as RFC 7515, section 4 demands; `crit` would list those
/// that must not be, and there is none that this program understands.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn read_header(json: &[u8]) -> Result<String, Malformed> {
    if !unique::is_object(json) {
        return Err(Malformed::Header);
    }
    let header: Header = serde_json::from_slice(json).map_err(|_| Malformed::Header)?;
    let alg_fits = matches!(header.alg.as_str(), "EdDSA" | "Ed25519");
    let kid_fits = (1..=KID_MAX_BYTES).contains(&header.kid.len())
        && header.kid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if !alg_fits || !is_access_token(&header.typ) || !kid_fits || header.crit {
        return Err(Malformed::Header);
    }
    Ok(header.kid)
}

/// A media type: case does not matter, and `application/` may stand before it (RFC 7515, section
/// 4.1.9; RFC 9068, section 4).
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == TYP
}

fn read_strictly(json: &[u8]) -> Result<Claims<'static>, Malformed> {
    if !unique::is_object(json) {
        return Err(Malformed::Claims);
    }
    let claims: Claims<'_> = serde_json::from_slice(json).map_err(|_| Malformed::Claims)?;
    Ok(claims.into_owned())
}
