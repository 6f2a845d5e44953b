//! Tokens that were issued: what their states and the question make of them.

use std::sync::LazyLock;

use super::*;

/// What to do to the world and to the question.
type Cause = fn(&mut State, &mut Question<'_>);

/// A scope that no token here grants.
static DROP: LazyLock<[String; 1]> = LazyLock::new(|| ["db.drop".to_owned()]);

#[test]
fn an_issued_token_in_good_standing_is_valid_and_says_what_it_stands_for() {
    let (state, token) = world_with(&claims());
    let required = ["db.read".to_owned(), "db.write".to_owned()];
    let question = Question {
        token: &token,
        required_scope: &required,
        target_service: Some("billing"),
        environment: Some(Environment::Live),
    };
    let valid = valid(verdict(&state, &question));
    assert_eq!(valid.token_id.to_string(), claims().jti);
    assert_eq!(*valid.agent, *agent_of(&state));
    assert_eq!(valid.scope, "db.read db.write");
    assert_eq!(valid.scopes().collect::<Vec<_>>(), ["db.read", "db.write"]);
    assert_eq!(valid.target_service, "billing");
    assert_eq!(valid.intent.as_deref(), Some("größe"));
    assert_eq!((valid.issued_at, valid.expires_at), (ISSUED_AT_S, EXPIRES_AT_S));
}

#[test]
fn a_token_without_an_intent_is_as_good() {
    let (state, token) = world_with(&Claims { intent: None, ..claims() });
    assert_eq!(valid(verdict(&state, &plain(&token))).intent, None);
}

#[test]
fn the_first_reason_that_applies_is_given() {
    let causes: [(Reason, Cause); 10] = [
        (Reason::UnknownKey, |state, question| {
            change_token(state, question.token, |live| live.signing_key = 99);
        }),
        (Reason::Revoked, |state, _| change_key(state, |key| key.revoked_at = Some(NOW_MS))),
        (Reason::Revoked, |state, question| {
            change_token(state, question.token, |live| live.revoked = true);
        }),
        (Reason::Revoked, |state, _| change_agent(state, |agent| agent.token_epoch += 1)),
        (Reason::AgentRevoked, |state, _| change_agent(state, revoke)),
        (Reason::Expired, |state, _| state.clock = EXPIRES_AT_S * 1_000),
        (Reason::AgentPaused, |state, _| {
            change_agent(state, |agent| {
                if agent.status == AgentStatus::Active {
                    agent.status = AgentStatus::Paused;
                }
            });
        }),
        (Reason::WrongEnvironment, |_, question| question.environment = Some(Environment::Test)),
        (Reason::WrongTarget, |_, question| question.target_service = Some("shipping")),
        (Reason::InsufficientScope, |_, question| {
            question.required_scope = DROP.as_slice();
        }),
    ];
    assert_first_reason_wins(&causes.map(|(reason, _)| reason), |at_work| {
        let (mut state, token) = world_with(&claims());
        let mut question = plain(&token);
        for place in at_work {
            causes[*place].1(&mut state, &mut question);
        }
        verdict(&state, &question)
    });
}

#[test]
fn a_token_killed_only_by_its_agents_revocation_says_so() {
    use AgentStatus::{Active, Paused, Revoked};
    // The agent's status, and how far its token epoch has moved since the token was issued.
    for (status, moved, expected) in [
        (Active, 0, None),
        (Active, 1, Some(Reason::Revoked)),
        (Active, 2, Some(Reason::Revoked)),
        (Paused, 0, Some(Reason::AgentPaused)),
        (Paused, 1, Some(Reason::Revoked)),
        (Revoked, 0, Some(Reason::AgentRevoked)),
        (Revoked, 1, Some(Reason::AgentRevoked)),
        (Revoked, 2, Some(Reason::Revoked)),
    ] {
        let (mut state, token) = world_with(&claims());
        change_agent(&mut state, |agent| {
            agent.status = status;
            agent.token_epoch += moved;
        });
        match (verdict(&state, &plain(&token)), expected) {
            (Verdict::Valid(_), None) => {}
            (verdict, Some(reason)) => {
                assert_eq!(verdict, Verdict::Invalid(reason), "{status:?} {moved}");
            }
            (verdict, None) => panic!("{status:?} {moved}: {verdict:?}"),
        }
    }
}

#[test]
fn no_token_epoch_brings_a_token_back() {
    for (token_epoch, agent_epoch) in [(u32::MAX, 0), (6, 5), (0, u32::MAX)] {
        let (mut state, token) = world_with(&claims());
        change_token(&mut state, &token, |live| live.token_epoch = token_epoch);
        change_agent(&mut state, |agent| agent.token_epoch = agent_epoch);
        assert_eq!(verdict(&state, &plain(&token)), Verdict::Invalid(Reason::Revoked));
    }
}

#[test]
fn a_retired_key_takes_no_token_with_it() {
    let (mut state, token) = world_with(&claims());
    change_key(&mut state, |key| key.retired_at = Some(NOW_MS));
    valid(verdict(&state, &plain(&token)));
}

#[test]
fn a_token_whose_agent_is_not_there_is_not_valid() {
    let (mut state, token) = world_with(&claims());
    state.agents.clear();
    assert_eq!(verdict(&state, &plain(&token)), Verdict::Invalid(Reason::AgentRevoked));
}

#[test]
fn expiry_is_judged_by_the_later_of_wall_clock_and_log() {
    let end_ms = EXPIRES_AT_S * 1_000;
    for (wall_ms, log_ms, is_valid) in [
        (end_ms - 1, 0, true),
        (0, end_ms - 1, true),
        (end_ms - 1, end_ms - 1, true),
        (end_ms, 0, false),
        (0, end_ms, false),
        (end_ms - 1, end_ms, false),
        (u64::MAX, 0, false),
    ] {
        let (mut state, token) = world_with(&claims());
        state.clock = log_ms;
        let view = View { index: 1, state };
        match decide(&view, ISSUER, wall_ms, &plain(&token)) {
            Verdict::Valid(_) => assert!(is_valid, "{wall_ms} {log_ms}"),
            other => {
                assert_eq!(other, Verdict::Invalid(Reason::Expired));
                assert!(!is_valid, "{wall_ms} {log_ms}");
            }
        }
    }
}

#[test]
fn a_token_fits_its_own_target_and_one_for_any_fits_all() {
    for (target, asked, fits) in [
        ("billing", None, true),
        ("billing", Some("billing"), true),
        ("billing", Some("Billing"), false),
        ("billing", Some("bill"), false),
        ("billing", Some(""), false),
        ("billing", Some("any"), false),
        ("any", None, true),
        ("any", Some("billing"), true),
        ("any", Some("any"), true),
        ("any", Some(""), true),
        ("ANY", Some("billing"), false),
        ("größe \"x\"", Some("größe \"x\""), true),
    ] {
        let (state, token) = world_with(&Claims { aud: target.into(), ..claims() });
        match verdict(&state, &Question { target_service: asked, ..plain(&token) }) {
            Verdict::Valid(valid) => {
                assert!(fits, "{target} {asked:?}");
                assert_eq!(valid.target_service, target);
            }
            other => {
                assert_eq!(other, Verdict::Invalid(Reason::WrongTarget));
                assert!(!fits, "{target} {asked:?}");
            }
        }
    }
}

#[test]
fn every_required_scope_must_be_covered_by_one_that_was_granted() {
    for (granted, required, suffices) in [
        ("db.read db.write", &[][..], true),
        ("db.read db.write", &["db.read"], true),
        ("db.read db.write", &["db.write", "db.read", "db.read"], true),
        ("db.read db.write", &["db.read", "db.drop"], false),
        ("db.read db.write", &["db.*"], false),
        ("db.read db.write", &["db"], false),
        ("db.read db.write", &["db.read db.write"], false),
        ("db.*", &["db.read", "db.read.rows", "db.*"], true),
        ("db.*", &["db"], false),
        ("*", &["db", "a.b"], true),
        ("db.read", &[""], false),
    ] {
        let (state, token) = world_with(&Claims { scope: granted.into(), ..claims() });
        let required: Vec<String> = required.iter().map(|&scope| scope.into()).collect();
        match verdict(&state, &Question { required_scope: &required, ..plain(&token) }) {
            Verdict::Valid(_) => assert!(suffices, "{granted} {required:?}"),
            other => {
                assert_eq!(other, Verdict::Invalid(Reason::InsufficientScope));
                assert!(!suffices, "{granted} {required:?}");
            }
        }
    }
}

#[test]
fn the_environment_asked_for_is_that_of_the_agent() {
    use Environment::{Live, Test};
    for (environment, asked, fits) in [
        (Live, None, true),
        (Live, Some(Live), true),
        (Live, Some(Test), false),
        (Test, None, true),
        (Test, Some(Test), true),
        (Test, Some(Live), false),
    ] {
        let (mut state, token) = world_with(&claims());
        change_agent(&mut state, |agent| agent.tenant.environment = environment);
        match verdict(&state, &Question { environment: asked, ..plain(&token) }) {
            Verdict::Valid(_) => assert!(fits, "{environment} {asked:?}"),
            other => {
                assert_eq!(other, Verdict::Invalid(Reason::WrongEnvironment));
                assert!(!fits, "{environment} {asked:?}");
            }
        }
    }
}

#[test]
fn what_was_issued_under_another_issuers_name_stays_valid() {
    let (state, token) = world_with(&claims());
    let view = View { index: 1, state };
    valid(decide(&view, "https://renamed.example", NOW_MS, &plain(&token)));
}
