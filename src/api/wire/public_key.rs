//! Ed25519 public keys on the wire: base64url of 32 bytes, without padding (RFC 8037).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::VerifyingKey;
use serde_json::Value;

use crate::api::{fields::Checked, rules};

/// A key as the API writes it.
pub(super) fn text(key: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// The rule of a public key with which signatures can be checked safely: a point on the curve, in its
/// canonical spelling, of large order (RFC 8032, section 5.1.3).
pub(super) fn strong(value: Value) -> Checked<[u8; 32]> {
    let text = rules::string(value)?;
    let bytes: [u8; 32] = URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or("must be 32 bytes in base64url without padding")?;
    let point = VerifyingKey::from_bytes(&bytes).map_err(|_| "is not a point on Ed25519")?;
    if point.is_weak() {
        return Err("is a weak key: anybody could sign for it".into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::fields::Faults;

    #[test]
    fn a_public_key_is_a_strong_point_on_ed25519() {
        // RFC 8032, section 7.1, test 1.
        let good = strong(json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).unwrap();
        let same = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(hex::encode(good), same);
        let weak = text(&[&[1u8][..], &[0; 31]].concat().try_into().unwrap());
        let no_point = text(&[&[2u8][..], &[0; 31]].concat().try_into().unwrap());
        for (key, said) in [
            ("", "must be 32 bytes in base64url without padding"),
            ("AAAA", "must be 32 bytes in base64url without padding"),
            ("not+base64/url=", "must be 32 bytes in base64url without padding"),
            (no_point.as_str(), "is not a point on Ed25519"),
            (weak.as_str(), "is a weak key: anybody could sign for it"),
        ] {
            assert_eq!(strong(json!(key)), Err(Faults::from(said)), "{key}");
        }
    }
}
