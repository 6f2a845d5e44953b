//! What a state that comes out of a backup may not do.

use std::sync::Arc;

use super::{super::*, dns_domain::new_domain, golden::check, webhook::new_webhook, world::*};
use crate::limits;

pub(crate) fn new_restore(n: u8) -> Restore {
    Restore {
        cluster: [n; 16],
        backup: BackupOrigin { cluster: [9; 16], index: 7, at: T0, sha256: hash(8) },
        operator_key: CreateOperatorKey { secret_hash: hash(150 + n), ..new_operator(1) },
    }
}

pub(crate) fn a_restoration() -> Restoration {
    Restoration { cluster: [1; 16], backup: new_restore(1).backup, at: 2 }
}

const LATER: Millis = T0 + 60_000;

/// A world with one of everything that gives a right, restored a minute later.
fn restored() -> World {
    let mut world = World::new();
    world.events(ALICE, Action::CreateWebhook(new_webhook(1)));
    world.events(ALICE, new_domain(1, "a.example"));
    world.events(OPERATOR, Action::CreateOperatorKey(new_operator(2)));
    world.events(BOB, Action::RevokeAgent(agent(3)));
    let mut world = world.at(LATER);
    world.events(SETUP, Action::Restore(new_restore(1)));
    world
}

fn lift(suspension: Suspension) -> Action {
    Action::LiftSuspension(suspension)
}

#[test]
fn every_chain_says_that_it_was_restored() {
    let mut world = World::new();
    let chains: Vec<Tenant> = world.state.heads.keys().copied().collect();
    assert_eq!(chains.len(), 4, "the cluster's, two of the first organisation, one of the second");
    let action = command(SETUP, Action::Restore(new_restore(1)));
    let decision = world.state.decide(LATER, &action).expect("accepted");
    for chain in chains {
        let told =
            |event: &&Event| event.chain == chain && event.fact.name() == Some("cluster.restored");
        let mut told = decision.events.iter().filter(told);
        let data = serde_json::Value::from(told.next().expect("it says so").fact.data());
        assert!(told.next().is_none(), "once");
        assert_eq!(data["backup_index"], 7);
        // What there is in the cluster is no tenant's business.
        assert_eq!(data["agents_suspended"].is_null(), chain != Tenant::SYSTEM);
    }
    // Proposed again it happens once; for another cluster it happens again.
    world.run(&action).expect("accepted");
    assert!(world.events(SETUP, Action::Restore(new_restore(1))).is_empty());
    assert!(!world.events(SETUP, Action::Restore(new_restore(2))).is_empty());
}

#[test]
fn no_key_of_before_signs_and_no_token_of_before_lives() {
    let world = restored();
    assert!(world.state.signing_keys.values().all(|key| key.revoked_at == Some(LATER)));
    assert_eq!(world.state.token_lists.total(), 0);
    assert_eq!(world.state.jwks_keys(LATER).count(), 0);
    // What the log goes on with can sign again.
    let mut world = world;
    world.events(NODE, Action::RegisterSigningKey(new_signing_key(2)));
    assert_eq!(world.state.jwks_keys(LATER).count(), 1);
}

#[test]
fn the_operator_keys_of_before_are_gone_for_a_new_one() {
    let world = restored();
    assert!(world.state.operator_keys.keys().eq([&op(1)]));
    for old in [hash(101), hash(102)] {
        assert!(world.state.operator_by_secret_hash(&old).is_none());
        // Nor can one be proposed again.
        let again = CreateOperatorKey { secret_hash: old, ..new_operator(3) };
        let taken = Refusal::IdTaken(Kind::OperatorKey(()));
        world.refuses(vec![("retired", OPERATOR, Action::CreateOperatorKey(again), taken)]);
    }
    assert!(world.state.operator_by_secret_hash(&hash(151)).is_some());
    let reused = Restore { operator_key: new_operator(1), ..new_restore(2) };
    let taken = Refusal::IdTaken(Kind::OperatorKey(()));
    World::new().refuses(vec![("an old secret", SETUP, Action::Restore(reused), taken)]);
}

#[test]
fn an_api_key_opens_nothing_until_its_suspension_is_lifted() {
    let mut world = restored();
    let create = || Action::CreateAgent(new_agent(9));
    let suspended = Refusal::CallerSuspended(());
    world.refuses(vec![
        ("Alice", ALICE, create(), suspended.clone()),
        ("Bob", BOB, create(), suspended.clone()),
        ("herself", ALICE, Action::DeleteApiKey(key(1)), suspended.clone()),
        ("a right that it lacks", CLERK, create(), suspended.clone()),
    ]);
    assert_eq!(world.state.suspended(), (4, 2), "Bob's agent was revoked");
    let (outcome, events) = world.ask(OPERATOR, lift(Suspension::ApiKey(key(1)))).expect("lifted");
    assert_eq!(events, ["api_key.suspension_lifted"]);
    let left = SuspensionsLifted { api_keys: 1, agents: 0, api_keys_left: 3, agents_left: 2 };
    assert_eq!(outcome, Outcome::SuspensionsLifted(left));
    world.events(ALICE, create());
    world.refuses(vec![("another is not", BOB, create(), suspended)]);
    // It stays so: a key that was disabled, renamed, rotated is still suspended.
    world.events(
        ALICE,
        Action::UpdateApiKey(UpdateApiKey { id: key(4), name: Some("n".into()), enabled: None }),
    );
    assert!(world.state.is_api_key_suspended(key(4)));
    // What is made since is not, and what is deleted is nothing any more.
    world.events(ALICE, Action::CreateApiKey(new_key(9, 1, Environment::Live)));
    assert!(!world.state.is_api_key_suspended(key(9)));
    world.events(ALICE, Action::DeleteApiKey(key(4)));
    assert_eq!(world.state.suspended(), (2, 2));
}

#[test]
fn an_agent_gets_no_token_until_its_suspension_is_lifted() {
    let mut world = restored();
    world.events(NODE, Action::RegisterSigningKey(new_signing_key(2)));
    world.events(OPERATOR, lift(Suspension::ApiKey(key(1))));
    let now = LATER / 1000;
    let token = || {
        let new = IssueToken { signing_key: sig(2), ..new_token(9, 1, now, 300) };
        Action::IssueToken(hashed(new))
    };
    let suspended = Refusal::AgentSuspended(());
    world.refuses(vec![("suspended", ALICE, token(), suspended.clone())]);
    // Whoever may write it cannot lift it.
    for paused in [true, false] {
        let change = UpdateAgent { paused: Some(paused), ..update_agent(1) };
        world.events(ALICE, Action::UpdateAgent(change));
    }
    world.refuses(vec![("still suspended", ALICE, token(), suspended)]);
    let events = world.events(OPERATOR, lift(Suspension::Agent(agent(1))));
    assert_eq!(events, ["agent.suspension_lifted"]);
    assert!(world.events(ALICE, token()).contains(&"token.issued"));
    // One that is revoked needs no lifting, and comes to life by none.
    world.events(OPERATOR, lift(Suspension::ApiKey(key(2))));
    world.events(ALICE_TEST, Action::RevokeAgent(agent(2)));
    assert_eq!(world.state.suspended().1, 0);
}

#[test]
fn a_suspension_is_lifted_by_an_operator_only() {
    let mut world = restored();
    let forbidden = |why: &str| Refusal::Forbidden(why.into());
    let all = || lift(Suspension::All(()));
    world.refuses(vec![
        ("a node", NODE, all(), forbidden("a node cannot do this")),
        ("setup", SETUP, all(), forbidden("setup cannot do this")),
        ("an API key", ALICE, all(), Refusal::CallerSuspended(())),
        (
            "no such key",
            OPERATOR,
            lift(Suspension::ApiKey(key(99))),
            Refusal::NotFound(Kind::ApiKey(())),
        ),
        (
            "no such agent",
            OPERATOR,
            lift(Suspension::Agent(agent(99))),
            Refusal::NotFound(Kind::Agent(())),
        ),
        (
            "an operator cannot restore",
            OPERATOR,
            Action::Restore(new_restore(2)),
            forbidden("an operator key cannot do this"),
        ),
    ]);
    assert_eq!(world.events(OPERATOR, all()), ["cluster.suspensions_lifted"]);
    assert_eq!(world.state.suspended(), (0, 0));
    for again in [all(), lift(Suspension::ApiKey(key(1))), lift(Suspension::Agent(agent(1)))] {
        assert!(world.events(OPERATOR, again).is_empty());
    }
    let forbidden = forbidden("an API key cannot do this");
    world.refuses(vec![("an API key that is lifted", ALICE, all(), forbidden)]);
}

#[test]
fn what_may_have_been_used_up_after_the_backup_counts_no_more() {
    let mut world = restored();
    // A webhook may have been deleted, a domain lost.
    let webhook = &world.state.webhooks[&super::webhook::wh(1)];
    assert_eq!(webhook.disabled, Some((DisabledReason::Restored, LATER)));
    assert!(world.state.domains.values().all(|domain| domain.last_checked_at.is_none()));
    // A nonce may have been used: a signature of before, or just after, is out of time.
    world.events(NODE, Action::RegisterSigningKey(new_signing_key(2)));
    world.events(OPERATOR, lift(Suspension::All(())));
    let at = LATER + 10_000;
    let mut world = world.at(at);
    let skew = limits::ISSUED_AT_SKEW_MAX_S;
    let asked = |nonce: u8, created: Seconds| {
        let mut new = new_token(u128::from(nonce), 1, at / 1000, 300);
        new.signing_key = sig(2);
        new = hashed(new);
        new.signed = Some(signed(nonce, created));
        Action::IssueToken(new)
    };
    let out_of_time = Refusal::SignatureOutOfTime(at / 1000);
    for created in [LATER / 1000 - 1, LATER / 1000, LATER / 1000 + skew] {
        world.refuses(vec![("of before", ALICE, asked(9, created), out_of_time.clone())]);
    }
    world.events(ALICE, asked(10, LATER / 1000 + skew + 1));
}

#[test]
fn an_approval_of_before_is_over_and_an_answer_of_before_forgotten() {
    for status in ApprovalStatus::ALL {
        let mut world = World::new();
        let approval =
            Approval { status, expires_at: LATER * 2, ..super::golden_policy::an_approval() };
        let id = approval.id;
        world.state.put_approval(Arc::new(approval));
        let mut world = world.at(LATER);
        world.events(SETUP, Action::Restore(new_restore(1)));
        let is_open = matches!(status, ApprovalStatus::Pending | ApprovalStatus::Approved);
        let expected = if is_open { ApprovalStatus::Expired } else { status };
        assert_eq!(world.state.approvals[&id].status, expected);
        assert!(world.state.pending_approvals.is_empty());
    }
    let mut world = World::new();
    let claim = IdempotencyClaim { record: hash(1), request: hash(2), sealed: vec![3] };
    let once = |n| Command {
        idempotency: Some(claim.clone()),
        ..command(ALICE, Action::CreateAgent(new_agent(n)))
    };
    world.run(&once(10)).expect("accepted");
    world.events(SETUP, Action::Restore(new_restore(1)));
    assert_eq!(world.state.answers_remembered_in_all, Remembered::default());
    world.events(OPERATOR, lift(Suspension::All(())));
    world.run(&once(11)).expect("carried out, not replayed");
    assert!(world.state.agents.contains_key(&agent(11)));
}

#[test]
fn every_stored_form_of_a_restoration_keeps_its_meaning() {
    check(&[
        (
            Action::Restore(new_restore(1)),
            "0196010101010101010101010101010101010909090909090909090909090909090907fd00bffa1d9f0100000808080808080808080808080808080808080808080808080808080808080808000000000000000000000000000000010a4f70657261746f7220319797979797979797979797979797979797979797979797979797979797979797046f303031",
        ),
        (lift(Suspension::All(())), "019701"),
        (lift(Suspension::ApiKey(key(1))), "01970200000000000000000000000000000001"),
        (lift(Suspension::Agent(agent(1))), "01970300000000000000000000000000000001"),
    ]);
    let lifted = SuspensionsLifted { api_keys: 1, agents: 2, api_keys_left: 3, agents_left: 4 };
    check(&[
        (
            Outcome::Restored(Arc::new(a_restoration())),
            "0132010101010101010101010101010101010909090909090909090909090909090907fd00bffa1d9f010000080808080808080808080808080808080808080808080808080808080808080802",
        ),
        (Outcome::SuspensionsLifted(lifted), "013301020304"),
    ]);
    check(&[(Refusal::CallerSuspended(()), "0132"), (Refusal::AgentSuspended(()), "0133")]);
}
