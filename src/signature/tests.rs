//! Signed requests: what verifies, and everything that must not.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

const BODY: &[u8] = br#"{"agent_id":"agent_x","scope":["db.read"]}"#;
const COVERED: &str = r#"("@method" "@path" "content-digest")"#;
const STATED: &str =
    r#";created=1795532645;nonce="0123456789abcdef";keyid="agent_x";alg="ed25519""#;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn digest_of(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Three headers as an agent makes them, from what it covers and states, byte for byte.
fn signed(covered: &str, stated: &str) -> (String, String, String) {
    let digest = digest_of(BODY);
    let base = format!(
        "\"@method\": POST\n\"@path\": /v1/tokens\n\"content-digest\": {digest}\n\
         \"@signature-params\": {covered}{stated}"
    );
    let signature = STANDARD.encode(key().sign(base.as_bytes()).to_bytes());
    (format!("sig1={covered}{stated}"), format!("sig1=:{signature}:"), digest)
}

fn message<'a>(headers: &'a (String, String, String)) -> Message<'a> {
    Message {
        method: "POST",
        path: "/v1/tokens",
        signature_input: Some(&headers.0),
        signature: Some(&headers.1),
        content_digest: Some(&headers.2),
        body: BODY,
    }
}

fn verify(message: &Message<'_>) -> Result<Option<Presented>, Fault> {
    let presented = Presented::read(message)?;
    if let Some(presented) = &presented {
        presented.is_by(key().verifying_key().as_bytes())?;
    }
    Ok(presented)
}

#[test]
fn a_signature_over_method_path_and_digest_verifies() {
    let headers = signed(COVERED, STATED);
    let presented = verify(&message(&headers)).expect("verifies").expect("is there");
    assert_eq!(presented.key_id, "agent_x");
    assert_eq!(presented.created_s, 1_795_532_645);
    assert_eq!(presented.expires_s, None);
    assert_eq!(presented.nonce, "0123456789abcdef");
    let spaced = (format!("  {} ", headers.0), format!(" {}", headers.1), headers.2.clone());
    assert!(verify(&message(&spaced)).is_ok(), "white space around a header is not signed");
}

#[test]
fn a_request_without_a_signature_is_not_signed() {
    let headers = signed(COVERED, STATED);
    let bare = Message { signature_input: None, signature: None, ..message(&headers) };
    assert_eq!(verify(&bare), Ok(None));
    let without = [
        Message { signature_input: None, ..message(&headers) },
        Message { signature: None, ..message(&headers) },
        Message { content_digest: None, ..message(&headers) },
    ];
    for (message, name) in
        without.into_iter().zip(["Signature-Input", "Signature", "Content-Digest"])
    {
        assert_eq!(verify(&message), Err(Fault::Missing(name)));
    }
}

#[test]
fn whatever_is_covered_cannot_be_changed() {
    let headers = signed(COVERED, STATED);
    let good = message(&headers);
    let other_body = br#"{"agent_id":"agent_x","scope":["db.*"]}"#;
    let other_digest = digest_of(other_body);
    let later = headers.0.replace("1795532645", "1795532646");
    let other_nonce = headers.0.replace("0123456789abcdef", "0123456789abcdeg");
    let other_key = headers.0.replace("agent_x", "agent_y");
    for (changed, expected) in [
        (Message { method: "PUT", ..good }, Fault::WrongSignature),
        (Message { path: "/v1/agents", ..good }, Fault::WrongSignature),
        (Message { body: other_body, ..good }, Fault::WrongDigest),
        (
            Message { body: other_body, content_digest: Some(&other_digest), ..good },
            Fault::WrongSignature,
        ),
        (Message { signature_input: Some(&later), ..good }, Fault::WrongSignature),
        (Message { signature_input: Some(&other_nonce), ..good }, Fault::WrongSignature),
        (Message { signature_input: Some(&other_key), ..good }, Fault::WrongSignature),
    ] {
        assert_eq!(verify(&changed), Err(expected), "{changed:?}");
    }
    let presented = Presented::read(&good).expect("reads").expect("is there");
    let stranger = SigningKey::from_bytes(&[8; 32]);
    assert_eq!(presented.is_by(stranger.verifying_key().as_bytes()), Err(Fault::WrongSignature));
    // A key of small order verifies anything under a lenient check.
    let mut small_order = [0; 32];
    small_order[0] = 1;
    assert_eq!(presented.is_by(&small_order), Err(Fault::WrongSignature));
    assert_eq!(presented.is_by(&[0xff; 32]), Err(Fault::WrongSignature));
}

#[test]
fn what_is_stated_is_complete_known_and_of_its_type() {
    let good = STATED;
    for (covered, stated, ok) in [
        (COVERED, good.to_owned(), true),
        (COVERED, good.replace(r#";alg="ed25519""#, ""), true),
        (COVERED, format!("{good};expires=1795532700"), true),
        (COVERED, good.replace("ed25519", "rsa-pss-sha512"), false),
        (COVERED, good.replace(";created=1795532645", ""), false),
        (COVERED, good.replace("1795532645", "-1"), false),
        (COVERED, good.replace("1795532645", "1795532645.5"), false),
        (COVERED, good.replace("1795532645", "\"1795532645\""), false),
        (COVERED, good.replace(r#";nonce="0123456789abcdef""#, ""), false),
        (COVERED, good.replace("0123456789abcdef", "short"), false),
        (COVERED, good.replace("0123456789abcdef", &"x".repeat(129)), false),
        (COVERED, good.replace(r#";keyid="agent_x""#, ""), false),
        (COVERED, format!("{good};tag=\"x\""), false),
        (COVERED, format!("{good};expires=soon"), false),
        (r#"("@method" "@path")"#, good.to_owned(), false),
        (r#"("@method" "@path" "content-digest" "content-type")"#, good.to_owned(), false),
        (r#"("@method" "@path" "@path")"#, good.to_owned(), false),
        (r#"("@method" "@path" "content-digest";req)"#, good.to_owned(), false),
        (r#"("@method" "@target-uri" "content-digest")"#, good.to_owned(), false),
        ("\"@method\"", good.to_owned(), false),
        ("()", good.to_owned(), false),
    ] {
        let headers = signed(covered, &stated);
        assert_eq!(verify(&message(&headers)).is_ok(), ok, "{covered}{stated}");
    }
}

#[test]
fn there_is_exactly_one_signature_under_one_label() {
    let (input, signature, digest) = signed(COVERED, STATED);
    let two_inputs = format!("{input}, sig2={COVERED}{STATED}");
    let two_signatures = format!("{signature}, {}", signature.replace("sig1", "sig2"));
    for (input, signature) in [
        (two_inputs.clone(), signature.clone()),
        (input.clone(), two_signatures.clone()),
        (two_inputs, two_signatures),
        (input.clone(), signature.replace("sig1", "sig2")),
        (input.clone(), "sig1=:AAAA:".into()),
        (input.clone(), "sig1=abc".into()),
        (input.clone(), format!("sig1=({})", signature.replace("sig1=", ""))),
        (input.clone(), String::new()),
        (String::new(), signature.clone()),
        (format!("{input};x=\"y\""), signature.clone()),
        (format!("sig1={COVERED};pad=\"{}\"{STATED}", "x".repeat(3_000)), signature),
    ] {
        let headers = (input, signature, digest.clone());
        assert!(verify(&message(&headers)).is_err(), "{headers:?}");
    }
}

/// RFC 9421, appendix B.2.6: other components than ours, the same base and signature.
#[test]
fn the_base_and_the_signature_are_those_of_the_rfc() {
    let key: [u8; 32] = STANDARD
        .decode("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=")
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .expect("the RFC's test key");
    let names = ["date", "@method", "@path", "@authority", "content-type", "content-length"];
    let values =
        ["Tue, 20 Apr 2021 02:07:55 GMT", "POST", "/foo", "example.com", "application/json", "18"];
    let input = concat!(
        r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")"#,
        r#";created=1618884473;keyid="test-key-ed25519""#
    );
    let (_, covered) = the_one("Signature-Input", input).expect("parses");
    let ListEntry::InnerList(covered) = covered else { panic!("a list of components") };
    let value =
        |name: &str| names.iter().position(|known| *known == name).map(|place| values[place]);
    let base = base_of(&covered, &names, value).expect("all are known");
    assert_eq!(
        base,
        concat!(
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n",
            "\"@method\": POST\n",
            "\"@path\": /foo\n",
            "\"@authority\": example.com\n",
            "\"content-type\": application/json\n",
            "\"content-length\": 18\n",
            "\"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \
             \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\""
        )
    );
    let presented = Presented {
        key_id: String::new(),
        created_s: 0,
        expires_s: None,
        nonce: String::new(),
        base,
        signature: signature_bytes(
            "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lI\
             p5WPpBKRCw==:",
            "sig-b26",
        )
        .expect("64 bytes"),
    };
    let public = SigningKey::from_bytes(&key).verifying_key();
    assert_eq!(presented.is_by(public.as_bytes()), Ok(()));
}

proptest! {
    #[test]
    fn no_headers_panic(input in ".{0,80}", signature in ".{0,80}", digest in ".{0,40}") {
        let headers = (input, signature, digest);
        let _ = verify(&message(&headers));
    }
}
