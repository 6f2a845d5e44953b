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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token::forge::{self, CLAIMS, HEADER, encode};

    #[test]
    fn a_header_says_one_algorithm_one_type_one_key_and_nothing_critical() {
        for (from, to) in [
            ("", ""),
            ("EdDSA", "Ed25519"),
            ("at+jwt", "AT+JWT"),
            ("at+jwt", "application/at+jwt"),
            ("{", r#"{ "jku":"https://elsewhere.example","x5c":[], "#),
        ] {
            let header = HEADER.replacen(from, to, 1);
            assert!(parse(&forge::token(&header, CLAIMS)).is_ok(), "{header}");
        }
        for (from, to) in [
            ("EdDSA", "none"),
            ("EdDSA", "None"),
            ("EdDSA", "HS256"),
            ("EdDSA", "ES256"),
            ("EdDSA", "eddsa"),
            ("EdDSA", "ed25519"),
            ("EdDSA", "Ed448"),
            ("EdDSA", ""),
            (r#""EdDSA""#, "null"),
            (r#""EdDSA""#, r#"["EdDSA"]"#),
            (r#""alg":"EdDSA","#, ""),
            ("at+jwt", "JWT"),
            ("at+jwt", "jwt"),
            ("at+jwt", "application/jwt"),
            ("at+jwt", "application/application/at+jwt"),
            ("at+jwt", "at+jwt "),
            ("at+jwt", ""),
            (r#""typ":"at+jwt","#, ""),
            ("sig_01jzzzzzzzzzzzzzzzzzzzzzz4", ""),
            ("sig_", "../sig_"),
            ("sig_", "sig é"),
            ("sig_", "sig_sig_sig_sig_sig_sig_sig_sig_sig_sig_"),
            (r#""sig_01jzzzzzzzzzzzzzzzzzzzzzz4""#, "1"),
            (r#","kid":"sig_01jzzzzzzzzzzzzzzzzzzzzzz4""#, ""),
            ("{", r#"{"crit":[],"#),
            ("{", r#"{"crit":null,"#),
            ("{", r#"{"crit":["exp"],"exp":1,"#),
            ("{", r#"{"alg":"none","#),
            ("{", r#"{"alg":"EdDSA","#),
            ("{", r#"{"x":1,"x":1,"#),
            ("{", "["),
            ("}", "}}"),
            ("}", ""),
        ] {
            let header = HEADER.replacen(from, to, 1);
            assert_eq!(parse(&forge::token(&header, CLAIMS)), Err(Malformed::Header), "{header}");
        }
        for header in ["", "null", "1", r#"["EdDSA","at+jwt","sig_1",false]"#, r#""EdDSA""#] {
            assert_eq!(parse(&forge::token(header, CLAIMS)), Err(Malformed::Header), "{header}");
        }
    }

    #[test]
    fn claims_are_there_once_and_of_their_types() {
        for (from, to) in [
            ("", ""),
            (r#","intent":"größe""#, ""),
            (r"größe", r#"\"\u0000\ud83d\ude00"#),
            ("{", r#"{"cnf":{"jkt":"x"},"nbf":1.5,"act":[null], "#),
            ("1782914700", "18446744073709551615"),
        ] {
            let claims = CLAIMS.replacen(from, to, 1);
            assert!(parse(&forge::token(HEADER, &claims)).is_ok(), "{claims}");
        }
        let mut bad: Vec<String> = [
            (r#""billing""#, r#"["billing"]"#),
            (r#""db.read db.write""#, r#"["db.read","db.write"]"#),
            ("1782914700", r#""1782914700""#),
            ("1782914700", "1782914700.0"),
            ("1782914700", "1.7829147e9"),
            ("1782914700", "-1"),
            ("1782914700", "18446744073709551616"),
            ("1782914700", "1e999"),
            ("1782914700", "null"),
            ("1782914700", "01"),
            (r#""größe""#, "null"),
            (r#""größe""#, "7"),
            ("größe", r"\ud800"),
            ("{", r#"{"exp":1782914700,"#),
            ("{", r#"{"\u0065xp":9999999999,"#),
            ("{", r#"{"cnf":{"a":1,"a":2},"#),
            ("{", "["),
            ("}", "} x"),
        ]
        .into_iter()
        .map(|(from, to)| CLAIMS.replacen(from, to, 1))
        .collect();
        for name in ["iss", "sub", "client_id", "aud", "scope", "iat", "exp", "jti", "org"] {
            bad.push(CLAIMS.replacen(&format!("{name:?}"), r#""x""#, 1));
        }
        bad.extend(
            ["", "null", "[]", "{}", r#"["i","s","c","a","s",1,2,"j","o"]"#].map(Into::into),
        );
        for claims in bad {
            assert_eq!(parse(&forge::token(HEADER, &claims)), Err(Malformed::Claims), "{claims}");
        }
    }

    #[test]
    fn each_part_is_spelled_in_one_way() {
        let good = forge::token(HEADER, CLAIMS);
        let [header, claims, signature] = forge::parts(&good);
        let live = |jws: String| format!("rai_live_{jws}");
        for (token, why) in [
            (String::new(), Malformed::Prefix),
            (format!("{header}.{claims}.{signature}"), Malformed::Prefix),
            (good.replace("rai_live_", "RAI_LIVE_"), Malformed::Prefix),
            (format!(" {good}"), Malformed::Prefix),
            (live(String::new()), Malformed::Parts),
            (live(header.into()), Malformed::Parts),
            (live(format!("{header}.{claims}")), Malformed::Parts),
            (live(format!("{header}.{claims}.{signature}.")), Malformed::Parts),
            (live(format!("{header}..{claims}.{signature}")), Malformed::Parts),
            (live(format!("{header}.{claims}.{signature}.{signature}.x")), Malformed::Parts),
            (live(format!(".{claims}.{signature}")), Malformed::Header),
            (live(format!("{header}..{signature}")), Malformed::Claims),
            (live(format!("{header}.{claims}.")), Malformed::Signature),
            (live(format!("{header}=.{claims}.{signature}")), Malformed::Base64("header")),
            (live(format!("{header}.{claims}=.{signature}")), Malformed::Base64("claims")),
            (live(format!("{header}.{claims}.{signature}==")), Malformed::Base64("signature")),
            (live(format!("{header}.{claims}.{signature}\n")), Malformed::Base64("signature")),
            (live(format!("{header}.{claims}. {signature}")), Malformed::Base64("signature")),
            (live(format!("{header} .{claims}.{signature}")), Malformed::Base64("header")),
            (live(format!("{header}.{claims}.{}", "+".repeat(86))), Malformed::Base64("signature")),
            (live(format!("{header}.{claims}.{}", "/".repeat(86))), Malformed::Base64("signature")),
            // 86 characters hold 516 bits: the last four must be zero.
            (
                live(format!("{header}.{claims}.{}B", "A".repeat(85))),
                Malformed::Base64("signature"),
            ),
            (live(format!("{header}.{claims}.{}", encode([0; 63]))), Malformed::Signature),
            (live(format!("{header}.{claims}.{}", encode([0; 65]))), Malformed::Signature),
            (live(format!("{header}.{claims}.é")), Malformed::Base64("signature")),
        ] {
            assert_eq!(parse(&token), Err(why), "{token}");
        }
    }

    #[test]
    fn a_token_is_refused_for_its_length_before_anything_else() {
        let with_intent =
            |length: usize| forge::token(HEADER, &CLAIMS.replacen("größe", &"x".repeat(length), 1));
        let spare = TOKEN_MAX_BYTES - with_intent(0).len();
        let longest = with_intent(spare * 3 / 4);
        assert!(longest.len() <= TOKEN_MAX_BYTES && longest.len() > TOKEN_MAX_BYTES - 4);
        assert!(parse(&longest).is_ok());
        assert_eq!(parse(&with_intent(spare * 3 / 4 + 3)), Err(Malformed::TooLong));
        assert_eq!(parse(&"x".repeat(TOKEN_MAX_BYTES)), Err(Malformed::Prefix));
        assert_eq!(parse(&"x".repeat(TOKEN_MAX_BYTES + 1)), Err(Malformed::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_panics(any: String, header: String, claims: String, signature: [u8; 64]) {
            let _ = parse(&any);
            let prefixed = format!("rai_live_{any}");
            let _ = parse(&prefixed);
            let _ = crate::token::read_claims(&prefixed, &mut Vec::new());
            let parts = [encode(header), encode(claims.clone()), encode(signature)];
            let _ = parse(&format!("rai_test_{}", parts.join(".")));
            let _ = parse(&forge::token(HEADER, &claims));
        }

        #[test]
        fn no_changed_byte_leaves_a_token_signed(place: prop::sample::Index, byte in 0x20..0x7fu8) {
            let good = forge::token(HEADER, CLAIMS);
            let public_key = crate::token::Signer::new("k", &forge::SEED).public_key();
            let mut bytes = good.clone().into_bytes();
            let place = "rai_live_".len() + place.index(good.len() - "rai_live_".len());
            prop_assume!(bytes[place] != byte);
            bytes[place] = byte;
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert!(!parse(&changed).is_ok_and(|parsed| parsed.is_signed_by(&public_key)));
        }
    }
}
