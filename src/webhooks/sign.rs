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
    let one = |secret: &SigningSecret| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes())
            .expect("an HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn a_signature_is_that_of_the_reference_libraries() {
        let bytes = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&bytes).expect("a key");
        mac.update(b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}");
        let expected = STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(expected, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
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
