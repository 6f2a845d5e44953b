//! Signatures of Standard Webhooks 1.0: HMAC-SHA256 over id, timestamp and body.
//!
//! During a rotation both secrets sign, and a receiver accepts either. Must not know what is in the
//! body.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::SigningSecret;

/// The value of `webhook-signature`: one `v1,…` a secret, separated by spaces.
pub(super) fn signature(
    secrets: &[SigningSecret],
    id: &str,
    timestamp_s: u64,
    body: &[u8],
) -> String {
    let one = |secret: &SigningSecret| one(secret.bytes(), id, timestamp_s, body);
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn one(key: &[u8], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn a_signature_is_that_of_the_reference_libraries() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let body = b"{\"test\": 2432232314}";
        assert_eq!(
            one(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn every_secret_signs_id_timestamp_and_body() {
        let secrets = [SigningSecret::mint(), SigningSecret::mint()];
        let both = signature(&secrets, "evt_1", 5, b"{}");
        let parts: Vec<&str> = both.split(' ').collect();
        assert_eq!(parts[0], signature(&secrets[..1], "evt_1", 5, b"{}"));
        assert_eq!(parts[1], signature(&secrets[1..], "evt_1", 5, b"{}"));
        assert!(parts.iter().all(|part| part.starts_with("v1,") && part.len() == 47));
        for (id, timestamp, body) in [("evt_2", 5, b"{}"), ("evt_1", 6, b"{}"), ("evt_1", 5, b"[]")]
        {
            assert_ne!(signature(&secrets, id, timestamp, body), both);
        }
    }
}
