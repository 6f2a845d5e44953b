//! Tokens that are not in the view: why they are not valid, or that nobody can say yet.

use super::*;
use crate::limits::{TOKEN_MAX_BYTES, TTL_MAX_S};

/// What to do to the world and to a well-signed token.
type Cause = fn(&mut State, &mut String);

#[test]
fn a_good_token_that_the_view_lacks_is_unseen_and_then_not_issued() {
    let (later, token) = world_with(&claims());
    let question = plain(&token);
    assert_eq!(verdict(&world(), &question), Verdict::Unseen);
    assert_eq!(settled(&world(), &question), Verdict::Invalid(Reason::NotIssued));
    assert_eq!(settled(&later, &question), verdict(&later, &question));
    valid(settled(&later, &question));
}

#[test]
fn a_token_of_an_agent_that_the_view_lacks_is_unseen() {
    let mut state = world();
    state.agents.clear();
    let token = forge::token(HEADER, CLAIMS);
    assert_eq!(verdict(&state, &plain(&token)), Verdict::Unseen);
}

#[test]
fn what_is_asked_of_an_unseen_token_changes_nothing() {
    let mut state = world();
    change_agent(&mut state, |agent| agent.status = AgentStatus::Paused);
    let token = forge::token(HEADER, CLAIMS);
    let question = Question {
        token: &token,
        required_scope: &["db.drop".to_owned()],
        target_service: Some("shipping"),
        environment: Some(Environment::Test),
    };
    assert_eq!(verdict(&state, &question), Verdict::Unseen);
    assert_eq!(settled(&state, &question), Verdict::Invalid(Reason::NotIssued));
}

#[test]
fn the_first_reason_that_applies_is_given() {
    let causes: [(Reason, Cause); 7] = [
        (Reason::Malformed, |_, token| token.push('=')),
        (Reason::UnknownKey, |state, _| state.signing_key_numbers.clear()),
        (Reason::BadSignature, |state, _| change_key(state, |key| key.public_key = [9; 32])),
        (Reason::Revoked, |state, _| change_key(state, |key| key.revoked_at = Some(NOW_MS))),
        (Reason::AgentRevoked, |state, _| change_agent(state, revoke)),
        (Reason::Expired, |state, _| state.clock = EXPIRES_AT_S * 1_000),
        (Reason::NotIssued, |_, token| *token = token.replace("rai_live_", "rai_test_")),
    ];
    assert_first_reason_wins(&causes.map(|(reason, _)| reason), |at_work| {
        let (mut state, mut token) = (world(), forge::token(HEADER, CLAIMS));
        for place in at_work {
            causes[*place].1(&mut state, &mut token);
        }
        verdict(&state, &plain(&token))
    });
}

#[test]
fn claims_that_this_cluster_never_writes_are_not_issued_at_once() {
    let far = ISSUED_AT_S + TTL_MAX_S;
    for (from, to, expected) in [
        ("", String::new(), Verdict::Unseen),
        (r#""exp":1782914700"#, format!(r#""exp":{far}"#), Verdict::Unseen),
        (r#""exp":1782914700"#, format!(r#""exp":{}"#, far + 1), NOT_ISSUED),
        (r#""exp":1782914700"#, format!(r#""exp":{}"#, u64::MAX), NOT_ISSUED),
        (r#""iat":1782914400"#, format!(r#""iat":{EXPIRES_AT_S}"#), NOT_ISSUED),
        (r#""iat":1782914400"#, format!(r#""iat":{}"#, u64::MAX), NOT_ISSUED),
        ("https://auth.example", "https://auth.example/".into(), NOT_ISSUED),
        ("https://auth.example", String::new(), NOT_ISSUED),
        ("billing", String::new(), NOT_ISSUED),
        (r#""sub":"agent_01"#, r#""sub":"agent_02"#.into(), NOT_ISSUED),
        ("agent_01", "agnt_01".into(), NOT_ISSUED),
        ("org_01jzzzzzzzzzzzzzzzzzzzzzz3", "org_system".into(), NOT_ISSUED),
        ("org_01jzzzzzzzzzzzzzzzzzzzzzz3", "org_01jzzzzzzzzzzzzzzzzzzzzzz4".into(), NOT_ISSUED),
        ("org_01jzzzzzzzzzzzzzzzzzzzzzz3", "3".into(), NOT_ISSUED),
        ("tok_01", "tok_0".into(), NOT_ISSUED),
    ] {
        let token = forge::token(HEADER, &CLAIMS.replace(from, &to));
        assert_eq!(verdict(&world(), &plain(&token)), expected, "{from} -> {to}");
    }
}

const NOT_ISSUED: Verdict = Verdict::Invalid(Reason::NotIssued);

#[test]
fn an_expired_token_is_expired_whether_or_not_its_record_is_still_there() {
    for (record, end_ms) in [(true, EXPIRES_AT_S * 1_000), (false, EXPIRES_AT_S * 1_000)] {
        for (wall_ms, is_expired) in [(end_ms - 1, false), (end_ms, true)] {
            let (mut state, token) = world_with(&claims());
            if !record {
                state.tokens.clear();
            }
            let view = View { index: 1, state };
            let verdict = decide(&view, ISSUER, wall_ms, &plain(&token));
            assert_eq!(verdict == Verdict::Invalid(Reason::Expired), is_expired, "{verdict:?}");
        }
    }
}

#[test]
fn a_kid_that_names_no_registered_key_is_unknown() {
    for kid in ["sig_01jzzzzzzzzzzzzzzzzzzzzzz5", "sig_1", "key-of-another-issuer", "agent_01"] {
        let token = forge::token(&HEADER.replace(KID, kid), CLAIMS);
        assert_eq!(
            verdict(&world(), &plain(&token)),
            Verdict::Invalid(Reason::UnknownKey),
            "{kid}"
        );
    }
}

#[test]
fn a_token_signed_by_another_registered_key_than_it_names_has_a_bad_signature() {
    let mut state = world();
    let other = Signer::new("sig_01jzzzzzzzzzzzzzzzzzzzzzz5", &[8; 32]);
    let key = SigningKey {
        id: "sig_01jzzzzzzzzzzzzzzzzzzzzzz5".parse().unwrap(),
        number: 8,
        public_key: other.public_key(),
        ..state.signing_keys[&KEY_NUMBER].as_ref().clone()
    };
    state.signing_key_numbers.insert(key.id, key.number);
    state.signing_keys.insert(key.number, Arc::new(key));

    let good = other.sign(Prefix::Live, &claims());
    assert_eq!(verdict(&state, &plain(&good)), Verdict::Unseen);
    let mixed = Signer::new(KID, &[8; 32]).sign(Prefix::Live, &claims());
    assert_eq!(verdict(&state, &plain(&mixed)), Verdict::Invalid(Reason::BadSignature));
}

#[test]
fn a_token_that_is_too_long_is_malformed_even_if_it_was_issued() {
    let claims = Claims { intent: Some("x".repeat(TOKEN_MAX_BYTES).into()), ..claims() };
    let (state, token) = world_with(&claims);
    assert_eq!(verdict(&state, &plain(&token)), Verdict::Invalid(Reason::Malformed));
}
