//! Public keys as the world reads them: JWK and JWK Set (RFC 7517) of Ed25519 keys (RFC 8037).

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// The public half of a signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `OKP`, an octet key pair.
    pub kty: Cow<'static, str>,
    /// Curve: `Ed25519`.
    pub crv: Cow<'static, str>,
    /// What it is for: `sig`, signatures.
    #[serde(rename = "use")]
    pub usage: Cow<'static, str>,
    /// Algorithm: `EdDSA`, the name that most libraries know.
    pub alg: Cow<'static, str>,
    /// The key's id, the `kid` of what it signs.
    pub kid: String,
    /// The 32 bytes of the key, base64url without padding.
    pub x: String,
}

impl Jwk {
    /// The JWK of an Ed25519 public key.
    pub fn ed25519(kid: String, public_key: &[u8; 32]) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            usage: "sig".into(),
            alg: "EdDSA".into(),
            kid,
            x: URL_SAFE_NO_PAD.encode(public_key),
        }
    }
}

/// What `/.well-known/jwks.json` serves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys, in no order that means anything.
    pub keys: Vec<Jwk>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_published_as_rfc_8037_spells_it() {
        // RFC 8037, appendix A.2.
        let public_key: [u8; 32] =
            hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
                .unwrap()
                .try_into()
                .unwrap();
        let jwks = Jwks { keys: vec![Jwk::ed25519("sig_1".into(), &public_key)] };
        let text = concat!(
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"sig_1","#,
            r#""x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#
        );
        assert_eq!(serde_json::to_string(&jwks).unwrap(), text);
        assert_eq!(serde_json::from_str::<Jwks>(text).unwrap(), jwks);
    }
}
