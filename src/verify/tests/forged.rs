//! Tokens that somebody made up or tampered with: each is turned away, and none brings the node
//! down. After the classes of bad Ed25519 signatures that Wycheproof collects.

use proptest::prelude::*;

use super::*;
use crate::token::forge::{encode, parts};

/// The order of the Ed25519 base point, little-endian (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Every encoding of a point of small order: the eight canonical ones, then the others.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

/// R is the neutral point and S = k·a, for the good header, claims and key: satisfies the equation
/// of RFC 8032 and yet was made without choosing a nonce. Computed apart from this program.
const NEUTRAL_R: &str = "0100000000000000000000000000000000000000000000000000000000000000\
    7eda1d867dc7fd9d6dcf1956a6598960314098b67c68472719b66bd33a39030a";

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).expect("hexadecimal").try_into().expect("as long as asked")
}

fn good() -> String {
    forge::token(HEADER, CLAIMS)
}

fn good_signature() -> [u8; 64] {
    let mut signature = [0; 66];
    let token = good();
    let encoded = parts(&token)[2];
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let read = base64::Engine::decode_slice(&engine, encoded, &mut signature);
    assert_eq!(read, Ok(64));
    signature[..64].try_into().expect("64 bytes")
}

fn with_signature(signature: impl AsRef<[u8]>) -> String {
    let token = good();
    let [header, claims, _] = parts(&token);
    format!("rai_live_{header}.{claims}.{}", encode(signature))
}

fn reason(state: &State, token: &str) -> Reason {
    match verdict(state, &plain(token)) {
        Verdict::Invalid(reason) => reason,
        other => panic!("{other:?} for {token}"),
    }
}

#[test]
fn a_signature_has_one_spelling_and_no_weak_point() {
    let good = good_signature();
    let (r, s) = good.split_at(32);
    // The same scalar plus the order: without the check that RFC 8032 demands, it verifies too.
    let mut carry = 0;
    let s_plus_order: Vec<u8> = s
        .iter()
        .zip(ORDER)
        .map(|(a, b)| {
            carry += u16::from(*a) + u16::from(b);
            let byte = carry as u8;
            carry >>= 8;
            byte
        })
        .collect();
    let mut high_bits = good;
    high_bits[63] |= 0xe0;
    let mut bad = vec![
        ("S plus the order", [r, &s_plus_order].concat()),
        ("S with high bits", high_bits.to_vec()),
        ("S is the order", [r, &ORDER].concat()),
        ("S is zero", [r, &[0; 32]].concat()),
        ("S is all ones", [r, &[0xff; 32]].concat()),
        ("R and S change places", [s, r].concat()),
        ("all zeros", vec![0; 64]),
        ("all ones", vec![0xff; 64]),
        ("R is no point", [&[2; 32], s].concat()),
        ("R is neutral, and the equation holds", bytes::<64>(NEUTRAL_R).to_vec()),
    ];
    for point in SMALL_ORDER {
        bad.push(("R of small order", [&bytes::<32>(point), s].concat()));
        bad.push(("R of small order, S zero", [bytes::<32>(point), [0; 32]].concat()));
    }
    for (what, signature) in bad {
        let token = with_signature(&signature);
        assert_eq!(reason(&world(), &token), Reason::BadSignature, "{what}: {signature:02x?}");
    }
    assert_eq!(verdict(&world(), &plain(&with_signature(good))), Verdict::Unseen);
}

#[test]
fn a_key_of_small_order_signs_nothing() {
    // With the neutral point as key, R = S·B satisfies the equation for every message: S = 1.
    let base_point = format!("58{}", "66".repeat(31));
    let mut one = [0; 32];
    one[0] = 1;
    let signature = [bytes::<32>(&base_point), one].concat();
    for point in SMALL_ORDER {
        let mut state = world();
        change_key(&mut state, |key| key.public_key = bytes(point));
        let tokens = [with_signature(&signature), with_signature(bytes::<64>(NEUTRAL_R)), good()];
        for token in tokens {
            assert_eq!(reason(&state, &token), Reason::BadSignature, "{point}");
        }
    }
}

#[test]
fn a_signature_of_the_wrong_length_is_malformed() {
    let good = good_signature();
    for length in (0..64).chain([65, 96, 128]) {
        let signature: Vec<u8> = good.iter().copied().cycle().take(length).collect();
        assert_eq!(reason(&world(), &with_signature(signature)), Reason::Malformed, "{length}");
    }
}

#[test]
fn a_swapped_header_is_malformed_or_breaks_the_signature() {
    let token = good();
    let [_, claims, signature] = parts(&token);
    for (header, expected) in [
        (HEADER.replace("EdDSA", "none"), Reason::Malformed),
        (HEADER.replace("EdDSA", "HS256"), Reason::Malformed),
        (HEADER.replace("EdDSA", "ES256"), Reason::Malformed),
        (HEADER.replace("at+jwt", "JWT"), Reason::Malformed),
        (HEADER.replace('{', r#"{"crit":["x"],"#), Reason::Malformed),
        (HEADER.replace(KID, "sig_01jzzzzzzzzzzzzzzzzzzzzzz5"), Reason::UnknownKey),
        (HEADER.replace("EdDSA", "Ed25519"), Reason::BadSignature),
        (HEADER.replace("at+jwt", "application/at+jwt"), Reason::BadSignature),
        (HEADER.replace('{', "{ "), Reason::BadSignature),
    ] {
        let swapped = format!("rai_live_{}.{claims}.{signature}", encode(&header));
        assert_eq!(reason(&world(), &swapped), expected, "{header}");
        if expected == Reason::Malformed {
            let signed_well = forge::token(&header, CLAIMS);
            assert_eq!(reason(&world(), &signed_well), Reason::Malformed, "{header}");
        }
    }
    let unsigned = format!("rai_live_{}.{claims}.", encode(HEADER.replace("EdDSA", "none")));
    assert_eq!(reason(&world(), &unsigned), Reason::Malformed);
}

#[test]
fn another_spelling_of_an_issued_token_is_not_that_token() {
    let (state, token) = world_with(&claims());
    valid(verdict(&state, &plain(&token)));
    let [header, body, signature] = parts(&token);
    let last = &signature[..signature.len() - 1];
    for other in [
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}="),
        format!("{token}=="),
        format!("{token}."),
        format!("{token}\0"),
        token.replace("rai_live_", ""),
        token.replace("rai_live_", "rai_live_rai_live_"),
        token.replace("rai_live_", "Rai_live_"),
        format!("rai_live_{header}={body}.{signature}"),
        format!("rai_live_{header}.{body}\n.{signature}"),
        format!("rai_live_{header}.{body}.{last}-"),
        format!("rai_live_{header}.{body}.{}", signature.replace(['-', '_'], "+")),
        format!("rai_live_{header}.{body}.{}", signature.replace(['-', '_'], "/")),
    ] {
        assert_eq!(reason(&state, &other), Reason::Malformed, "{other:?}");
    }
    let other_environment = token.replace("rai_live_", "rai_test_");
    assert_eq!(reason(&state, &other_environment), Reason::NotIssued);
}

#[test]
fn a_truncated_token_is_malformed() {
    let (state, token) = world_with(&claims());
    for length in 0..token.len() {
        assert_eq!(reason(&state, &token[..length]), Reason::Malformed, "{length} bytes");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let (state, token) = world_with(&claims());
    for bit in 0..token.len() * 8 {
        let mut bytes = token.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(flipped) = String::from_utf8(bytes) else { continue };
        let reason = reason(&state, &flipped);
        assert!(reason <= Reason::BadSignature, "{reason} at bit {bit}: {flipped}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_is_valid(
        any: String, part in 0..3usize, text in "[-A-Za-z0-9_+/=. ]{0,200}"
    ) {
        let (state, token) = world_with(&claims());
        let mut parts = parts(&token);
        parts[part] = &text;
        for bad in [
            any.clone(),
            format!("rai_live_{any}"),
            format!("{token}{any}x"),
            format!("rai_live_{}", parts.join(".")),
        ] {
            prop_assert!(matches!(verdict(&state, &plain(&bad)), Verdict::Invalid(_)));
        }
    }

    #[test]
    fn any_claims_under_a_good_signature_are_judged(claims: String, header: String) {
        for token in [forge::token(HEADER, &claims), forge::token(&header, CLAIMS)] {
            prop_assert!(!matches!(verdict(&world(), &plain(&token)), Verdict::Valid(_)));
        }
    }
}
