//! The rules of verification, each as a test, and the small world that they play in.

mod forged;
mod hit;
mod miss;

use std::sync::Arc;

use super::{Question, Reason, Valid, Verdict, View, decide, decide_settled};
use crate::{
    domain::{Agent, AgentStatus, Environment, LiveToken, OrgId, SigningKey, State, Tenant},
    token::{
        self, Claims, Prefix, Signer,
        forge::{self, CLAIMS, HEADER, SEED},
    },
};

const ISSUER: &str = "https://auth.example";
const KID: &str = "sig_01jzzzzzzzzzzzzzzzzzzzzzz4";
const KEY_NUMBER: u32 = 7;
/// The `iat` and `exp` of [`CLAIMS`].
const ISSUED_AT_S: u64 = 1_782_914_400;
const EXPIRES_AT_S: u64 = 1_782_914_700;
/// Ten seconds into the token's life.
const NOW_MS: u64 = (ISSUED_AT_S + 10) * 1_000;

fn claims() -> Claims<'static> {
    serde_json::from_str(CLAIMS).expect("good claims")
}

/// One signing key, one active agent in the live half of one organisation, and no token yet.
fn world() -> State {
    let mut state = State { clock: ISSUED_AT_S * 1_000, ..State::default() };
    let claims = claims();
    let agent = Agent {
        id: claims.sub.parse().expect("an agent's id"),
        tenant: Tenant::live(claims.org.parse::<OrgId>().expect("an organisation's id")),
        name: "data-processor".into(),
        owner: "engineering".into(),
        description: None,
        model_provider: None,
        model_name: None,
        framework: None,
        metadata: Default::default(),
        public_key: [3; 32],
        require_signature: false,
        status: AgentStatus::Active,
        token_epoch: 5,
        key_epoch: 0,
        created_at: 0,
        updated_at: 0,
        revoked_at: None,
    };
    state.agents.insert(agent.id, Arc::new(agent));
    let key = SigningKey {
        id: KID.parse().expect("a signing key's id"),
        number: KEY_NUMBER,
        node: 1,
        public_key: Signer::new(KID, &SEED).public_key(),
        created_at: 0,
        retired_at: None,
        revoked_at: None,
        last_expiry: EXPIRES_AT_S,
    };
    state.signing_key_numbers.insert(key.id, key.number);
    state.signing_keys.insert(key.number, Arc::new(key));
    state
}

/// The world with the token of these claims issued in it, and that token.
fn world_with(claims: &Claims<'_>) -> (State, String) {
    let mut state = world();
    let agent = agent_of(&state).clone();
    let token = Signer::new(KID, &SEED).sign(Prefix::Live, claims);
    let live = LiveToken {
        id: claims.jti.parse().expect("a token's id"),
        agent: agent.id,
        signing_key: KEY_NUMBER,
        token_epoch: agent.token_epoch,
        expires_at: claims.exp.try_into().expect("seconds in 32 bits"),
        revoked: false,
    };
    state.tokens.insert(token::hash(&token), live);
    (state, token)
}

fn agent_of(state: &State) -> &Agent {
    state.agents.values().next().expect("one agent")
}

fn change_agent(state: &mut State, change: impl FnOnce(&mut Agent)) {
    let mut agent = agent_of(state).clone();
    change(&mut agent);
    state.agents.insert(agent.id, Arc::new(agent));
}

fn change_key(state: &mut State, change: impl FnOnce(&mut SigningKey)) {
    change(Arc::make_mut(state.signing_keys.get_mut(&KEY_NUMBER).expect("the key")));
}

fn change_token(state: &mut State, token: &str, change: impl FnOnce(&mut LiveToken)) {
    change(state.tokens.get_mut(&token::hash(token)).expect("the token"));
}

/// As the domain revokes an agent.
fn revoke(agent: &mut Agent) {
    agent.status = AgentStatus::Revoked;
    agent.token_epoch += 1;
    agent.revoked_at = Some(NOW_MS);
}

fn plain(token: &str) -> Question<'_> {
    Question { token, required_scope: &[], target_service: None, environment: None }
}

fn verdict(state: &State, question: &Question<'_>) -> Verdict {
    decide(&View { index: 1, state: state.clone() }, ISSUER, NOW_MS, question)
}

fn settled(state: &State, question: &Question<'_>) -> Verdict {
    decide_settled(&View { index: 1, state: state.clone() }, ISSUER, NOW_MS, question)
}

fn valid(verdict: Verdict) -> Valid {
    match verdict {
        Verdict::Valid(valid) => valid,
        other => panic!("not valid: {other:?}"),
    }
}

/// The verdict under every two of these causes at once is the reason of the first: `judge` is given
/// the places of the causes that are at work.
fn assert_first_reason_wins(reasons: &[Reason], judge: impl Fn(&[usize]) -> Verdict) {
    assert!(reasons.is_sorted(), "causes stand in the order of their reasons");
    for (first, reason) in reasons.iter().enumerate() {
        assert_eq!(judge(&[first]), Verdict::Invalid(*reason), "{reason} alone");
        for (second, other) in reasons.iter().enumerate().skip(first + 1) {
            assert_eq!(
                judge(&[first, second]),
                Verdict::Invalid(*reason),
                "{reason} comes before {other}"
            );
        }
    }
}

#[test]
fn the_reasons_are_those_of_the_contract_in_its_order() {
    let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(
        names.join(" "),
        "malformed unknown_key bad_signature revoked agent_revoked expired not_issued agent_paused \
         wrong_environment wrong_target insufficient_scope"
    );
    assert!(Reason::ALL.is_sorted());
}
