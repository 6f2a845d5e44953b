//! Policies, throttles, approvals and nonces.

use super::{super::*, world::*};
use crate::limits;

const ALLOW: End = End::Allow(None);

fn rule(effect: Effect) -> Rule {
    Rule {
        effect,
        scopes: None,
        agents: None,
        owners: None,
        target_services: None,
        model_providers: None,
        model_names: None,
        frameworks: None,
        signed: None,
        condition: None,
    }
}

fn pol(n: u128) -> PolicyId {
    PolicyId::from_ulid(n)
}

fn place(n: u128, rule: u16) -> RuleRef {
    RuleRef { policy: pol(n), rule }
}

fn new_policy(n: u128, rules: Vec<Rule>) -> Action {
    let rules = CheckedRules { rules, steps: 1 };
    Action::CreatePolicy(CreatePolicy {
        id: pol(n),
        name: "p".into(),
        description: None,
        priority: 100,
        rules,
        is_active: true,
    })
}

fn throttle(limit: u64, per: Per) -> Rule {
    rule(Effect::Throttle(Throttle { limit, window_s: 60, per }))
}

fn asking() -> Rule {
    rule(Effect::RequireApproval(RequireApproval { approval_ttl_s: 60 }))
}

/// A verdict on a request of agent `of`, made from the state as it is.
fn judge(world: &World, of: u128, throttles: Vec<RuleRef>, end: End) -> Judged {
    let agent = &world.state.agents[&agent(of)];
    Judged {
        verdict: Verdict { throttles, end },
        policy_epoch: world.state.policy_epoch(agent.tenant),
        agent: agent.policy_digest(),
        at: world.state.clock,
    }
}

/// Token `n` for agent `of`, as judged by these throttles.
fn issue(world: &World, n: u128, of: u128, throttles: Vec<RuleRef>) -> IssueToken {
    let new = new_token(n, of, world.state.clock / 1000, 300);
    hashed(IssueToken { judged: judge(world, of, throttles, ALLOW), ..new })
}

/// The same request, which the policies do not grant.
fn decline(world: &World, n: u128, of: u128, end: End) -> DeclineToken {
    DeclineToken {
        id: ApprovalId::from_ulid(n),
        agent: agent(of),
        scope: vec!["db.read".into(), "mail.*".into()],
        ttl_s: 300,
        target_service: "any".into(),
        intent: None,
        signed: None,
        judged: judge(world, of, Vec::new(), end),
    }
}

fn second_agent() -> Action {
    Action::CreateAgent(CreateAgent { owner: "sales".into(), ..new_agent(9) })
}

#[test]
fn a_throttle_counts_what_is_issued_for_each_of_its_subjects() {
    for (per, others_still_get) in
        [(Per::Agent, true), (Per::Owner, true), (Per::Organization, false)]
    {
        let mut world = World::new();
        world.events(ALICE, second_agent());
        world.events(ALICE, new_policy(1, vec![throttle(2, per)]));
        for n in 10..12 {
            let new = issue(&world, n, 1, vec![place(1, 0)]);
            assert_eq!(world.events(ALICE, Action::IssueToken(new)), ["-", "token.issued"]);
        }
        let new = issue(&world, 12, 1, vec![place(1, 0)]);
        let (outcome, events) = world.ask(ALICE, Action::IssueToken(new)).expect("an outcome");
        assert_eq!(events, ["token.denied"]);
        let by = Throttled { rule: place(1, 0), until: T0 + 60_000, retry_after_s: 60 };
        assert_eq!(outcome, Outcome::TokenThrottled(by));
        let new = issue(&world, 13, 9, vec![place(1, 0)]);
        let (outcome, _) = world.ask(ALICE, Action::IssueToken(new)).expect("an outcome");
        assert_eq!(matches!(outcome, Outcome::TokenIssued(_)), others_still_get, "{per:?}");
        // The window is over a minute after its first counted request; a new one opens.
        let mut world = world.at(T0 + 60_000);
        let new = issue(&world, 14, 1, vec![place(1, 0)]);
        assert_eq!(world.events(ALICE, Action::IssueToken(new)), ["-", "token.issued"]);
    }
}

#[test]
fn what_is_not_issued_is_not_counted() {
    let mut world = World::new();
    world.events(ALICE, new_policy(1, vec![throttle(1, Per::Agent), asking()]));
    let counted =
        |world: &World| world.state.throttle_windows.values().map(|w| w.count).sum::<u64>();
    let mut asked = decline(&world, 1, 1, End::RequireApproval(place(1, 1)));
    asked.judged.verdict.throttles = vec![place(1, 0)];
    assert_eq!(world.events(ALICE, Action::DeclineToken(asked)), ["approval.requested"]);
    let mut denied = decline(&world, 2, 1, End::Deny(None));
    denied.judged.verdict.throttles = vec![place(1, 0)];
    assert_eq!(world.events(ALICE, Action::DeclineToken(denied)), ["token.denied"]);
    assert_eq!(counted(&world), 0);
    let new = issue(&world, 3, 1, vec![place(1, 0)]);
    world.events(ALICE, Action::IssueToken(new.clone()));
    assert_eq!(world.ask(ALICE, Action::IssueToken(new)).map(|came| came.1), Ok(vec![]));
    assert_eq!(counted(&world), 1);
}

#[test]
fn a_request_that_was_refused_comes_to_the_same_when_it_is_proposed_again() {
    let mut world = World::new();
    world.events(ALICE, new_policy(1, vec![rule(Effect::Deny(()))]));
    let denied = Action::DeclineToken(decline(&world, 1, 1, End::Deny(Some(place(1, 0)))));
    let first = world.ask(ALICE, denied.clone()).expect("an outcome");
    assert_eq!(first.0, Outcome::TokenDenied(Some(place(1, 0))));
    assert_eq!(world.ask(ALICE, denied), Ok((first.0, vec![])));
    let mut world = world.at(T0 + limits::DECLINED_MEMORY_S * 1000);
    world.events(NODE, Action::Tick(()));
    assert!(world.state.declined.is_empty() && world.state.declined_ends.is_empty());
}

#[test]
fn a_verdict_is_stale_once_what_it_was_made_from_has_changed() {
    let mut fresh = World::new();
    fresh.events(ALICE, new_policy(1, vec![throttle(9, Per::Agent)]));
    let new = issue(&fresh, 10, 1, vec![place(1, 0)]);
    let changes: Vec<(&str, Actor, Action)> = vec![
        ("new policy", ALICE, new_policy(2, vec![asking()])),
        ("policy gone", ALICE, Action::DeletePolicy(pol(1))),
        (
            "policy off",
            ALICE,
            Action::UpdatePolicy(UpdatePolicy {
                id: pol(1),
                name: None,
                description: None,
                priority: None,
                rules: None,
                is_active: Some(false),
            }),
        ),
        (
            "default",
            OPERATOR,
            Action::UpdateOrganization(UpdateOrganization {
                id: org(1),
                name: None,
                default_effect: Some(DefaultEffect::Deny),
            }),
        ),
        (
            "agent",
            ALICE,
            Action::UpdateAgent(UpdateAgent { owner: Some("sales".into()), ..update_agent(1) }),
        ),
    ];
    for (change, actor, action) in changes {
        let mut world = fresh.clone();
        world.events(actor, action);
        world.refuses(vec![(change, ALICE, Action::IssueToken(new.clone()), Refusal::Stale(()))]);
    }
    let mut old = new.clone();
    old.judged.at = T0 - limits::VERDICT_AGE_MAX_MS - 1;
    fresh.refuses(vec![("too old", ALICE, Action::IssueToken(old), Refusal::Stale(()))]);
    // Counting is no change, nor are another tenant's policies.
    let counted = issue(&fresh, 11, 1, vec![place(1, 0)]);
    fresh.events(ALICE, Action::IssueToken(counted));
    fresh.events(BOB, new_policy(3, vec![asking()]));
    assert_eq!(fresh.events(ALICE, Action::IssueToken(new)), ["-", "token.issued"]);
}

#[test]
fn a_command_cannot_grant_what_its_verdict_does_not() {
    let mut world = World::new();
    world.events(ALICE, new_policy(1, vec![rule(Effect::Deny(())), asking()]));
    for end in [End::Deny(None), End::Deny(Some(place(1, 0))), End::RequireApproval(place(1, 1))] {
        let mut new = issue(&world, 10, 1, Vec::new());
        new.judged.verdict.end = end;
        let came = world.state.decide(T0, &command(ALICE, Action::IssueToken(new)));
        assert_eq!(invalid_field(came), "judged");
    }
    let granted = Action::DeclineToken(decline(&world, 1, 1, ALLOW));
    assert_eq!(invalid_field(world.state.decide(T0, &command(ALICE, granted))), "judged");
}

/// A world in which agent 1 asked for an approval; key 5 can answer it.
fn asked() -> (World, ApprovalId) {
    let mut world = World::new();
    world.events(ALICE, Action::CreateApiKey(new_key(5, 1, Environment::Live)));
    world.events(ALICE, new_policy(1, vec![asking()]));
    let new = decline(&world, 1, 1, End::RequireApproval(place(1, 0)));
    let id = new.id;
    assert_eq!(world.events(ALICE, Action::DeclineToken(new)), ["approval.requested"]);
    (world, id)
}

fn collect(world: &World, n: u128, id: ApprovalId) -> IssueToken {
    let new = IssueToken { approval: Some(id), ..issue(world, n, 1, Vec::new()) };
    let judged = judge(world, 1, Vec::new(), End::RequireApproval(place(1, 0)));
    hashed(IssueToken { judged, ..new })
}

const APPROVER: Actor = Actor::ApiKey(ApiKeyId::from_ulid(5));

#[test]
fn an_approval_takes_another_key_and_is_collected_once() {
    let (mut world, id) = asked();
    let not = |status| Refusal::ApprovalNot(status);
    let early = Action::IssueToken(collect(&world, 10, id));
    world.refuses(vec![("pending", ALICE, early, not(ApprovalStatus::Pending))]);
    assert!(matches!(world.ask(ALICE, Action::Approve(id)), Err(Refusal::Forbidden(_))));
    // Whoever joins in the asking cannot approve either.
    let again = decline(&world, 2, 1, End::RequireApproval(place(1, 0)));
    let (outcome, events) = world.ask(APPROVER, Action::DeclineToken(again)).expect("joined");
    assert!(matches!(outcome, Outcome::ApprovalPending(known) if known.id == id));
    assert_eq!(events, ["-"]);
    assert!(matches!(world.ask(APPROVER, Action::Approve(id)), Err(Refusal::Forbidden(_))));

    let (mut world, id) = asked();
    assert_eq!(world.events(APPROVER, Action::Approve(id)), ["approval.approved"]);
    assert_eq!(world.ask(APPROVER, Action::Approve(id)).map(|came| came.1), Ok(vec![]));
    let other = IssueToken { intent: Some("else".into()), ..collect(&world, 11, id) };
    let no_more =
        IssueToken { judged: judge(&world, 1, Vec::new(), ALLOW), ..collect(&world, 12, id) };
    world.refuses(vec![
        ("another request", ALICE, Action::IssueToken(other), Refusal::ApprovalElsewhere(())),
        ("not asked for now", ALICE, Action::IssueToken(no_more), Refusal::ApprovalStale(())),
    ]);
    let first = collect(&world, 13, id);
    let events = world.events(ALICE, Action::IssueToken(first.clone()));
    assert_eq!(events, ["approval.consumed", "token.issued"]);
    assert_eq!(world.ask(ALICE, Action::IssueToken(first)).map(|came| came.1), Ok(vec![]));
    let second = Action::IssueToken(collect(&world, 14, id));
    world.refuses(vec![
        ("twice", ALICE, second, not(ApprovalStatus::Consumed)),
        ("too late", APPROVER, Action::Disapprove(id), not(ApprovalStatus::Consumed)),
    ]);
}

#[test]
fn an_approval_ends_with_its_time_its_denial_or_its_rule() {
    let (world, id) = asked();
    let mut late = world.clone().at(T0 + 60_000);
    late.refuses(vec![(
        "run out",
        APPROVER,
        Action::Approve(id),
        Refusal::ApprovalNot(ApprovalStatus::Expired),
    )]);
    assert!(late.state.is_tick_due(T0 + 60_000) && !late.state.is_tick_due(T0 + 59_999));
    late.events(NODE, Action::Tick(()));
    assert_eq!(late.state.approvals[&id].status, ApprovalStatus::Expired);
    let mut forgotten = late.at(T0 + 60_000 + limits::APPROVAL_RETENTION_S * 1000);
    forgotten.events(NODE, Action::Tick(()));
    assert!(forgotten.state.approvals.is_empty() && forgotten.state.approvals_due.is_empty());
    assert!(forgotten.state.approval_subjects.is_empty());

    let mut denied = world.clone();
    denied.events(APPROVER, Action::Approve(id));
    assert_eq!(denied.events(APPROVER, Action::Disapprove(id)), ["approval.denied"]);
    let collected = Action::IssueToken(collect(&denied, 10, id));
    let not_denied = Refusal::ApprovalNot(ApprovalStatus::Denied);
    denied.refuses(vec![("denied", ALICE, collected, not_denied)]);

    let mut changed = world;
    changed.events(APPROVER, Action::Approve(id));
    let other = Rule { signed: Some(false), ..asking() };
    let update = UpdatePolicy {
        id: pol(1),
        name: None,
        description: None,
        priority: None,
        rules: Some(CheckedRules { rules: vec![other], steps: 1 }),
        is_active: None,
    };
    changed.events(ALICE, Action::UpdatePolicy(update));
    let collected = Action::IssueToken(collect(&changed, 11, id));
    changed.refuses(vec![("another rule", ALICE, collected, Refusal::ApprovalStale(()))]);
}

/// One change to every field of the agent that an approver sees.
fn changes() -> Vec<Action> {
    let some = |text: &str| Some(Some(text.to_owned()));
    let metadata = std::collections::BTreeMap::from([("team".to_owned(), Some("red".to_owned()))]);
    let update = || update_agent(1);
    let changes = [
        UpdateAgent { name: Some("Other".into()), ..update() },
        UpdateAgent { owner: Some("other".into()), ..update() },
        UpdateAgent { description: some("other"), ..update() },
        UpdateAgent { model_provider: some("other"), ..update() },
        UpdateAgent { model_name: some("other"), ..update() },
        UpdateAgent { framework: some("other"), ..update() },
        UpdateAgent { metadata: Some(Some(metadata)), ..update() },
        UpdateAgent { require_signature: Some(true), ..update() },
    ];
    let new_key = RotateAgentKey { id: agent(1), public_key: [77; 32] };
    let changes = changes.into_iter().map(Action::UpdateAgent);
    changes.chain([Action::RotateAgentKey(new_key)]).collect()
}

/// A signature by agent 1's key of now.
fn signed_now(world: &World) -> SignedRequest {
    SignedRequest { key_epoch: world.state.agents[&agent(1)].key_epoch, ..signed(9, S0) }
}

#[test]
fn an_approval_is_for_the_agent_that_the_approver_saw() {
    let stale = Refusal::ApprovalStale(());
    for change in changes() {
        let (mut pending, id) = asked();
        pending.events(ALICE, change.clone());
        pending.refuses(vec![("the agent changed", APPROVER, Action::Approve(id), stale.clone())]);
        let again = DeclineToken {
            signed: Some(signed_now(&pending)),
            ..decline(&pending, 2, 1, End::RequireApproval(place(1, 0)))
        };
        let (outcome, _) = pending.ask(ALICE, Action::DeclineToken(again)).expect("asked");
        let Outcome::ApprovalPending(new) = outcome else { panic!("{outcome:?}") };
        assert_ne!(new.id, id, "the old approval stands for another agent: {change:?}");
        assert_eq!(pending.events(APPROVER, Action::Approve(new.id)), ["approval.approved"]);
        assert_eq!(pending.events(APPROVER, Action::Disapprove(id)), ["approval.denied"]);

        let (mut approved, id) = asked();
        approved.events(APPROVER, Action::Approve(id));
        approved.events(ALICE, change.clone());
        let signed = Some(signed_now(&approved));
        let collected = IssueToken { signed, ..collect(&approved, 10, id) };
        let came = approved.ask(ALICE, Action::IssueToken(collected)).map(|came| came.0);
        assert_eq!(came, Ok(Outcome::Refused(stale.clone())), "{change:?}");
    }
    let (mut paused, id) = asked();
    let pause =
        |paused| Action::UpdateAgent(UpdateAgent { paused: Some(paused), ..update_agent(1) });
    paused.events(ALICE, pause(true));
    paused.events(APPROVER, Action::Approve(id));
    paused.events(ALICE, pause(false));
    let collected = Action::IssueToken(collect(&paused, 10, id));
    assert_eq!(paused.events(ALICE, collected), ["approval.consumed", "token.issued"]);

    let mut before = World::new();
    before.state.level = Level::FIRST;
    before.events(ALICE, Action::CreateApiKey(new_key(5, 1, Environment::Live)));
    before.events(ALICE, new_policy(1, vec![asking()]));
    let new = decline(&before, 1, 1, End::RequireApproval(place(1, 0)));
    before.events(ALICE, Action::DeclineToken(new));
    before.events(ALICE, changes().remove(0));
    assert!(before.state.approval_subjects.is_empty());
    before.events(APPROVER, Action::Approve(ApprovalId::from_ulid(1)));
}

#[test]
fn a_signature_counts_in_its_window_and_its_nonce_once_whatever_comes_of_it() {
    let world = World::new();
    let with = |signed: SignedRequest| {
        Action::IssueToken(IssueToken { signed: Some(signed), ..issue(&world, 10, 1, Vec::new()) })
    };
    let out = Refusal::SignatureOutOfTime(S0);
    let expired = SignedRequest { expires_s: Some(S0), ..signed(1, S0) };
    world.refuses(vec![
        ("old", ALICE, with(signed(1, S0 - limits::SIGNATURE_WINDOW_S - 1)), out.clone()),
        ("from the future", ALICE, with(signed(1, S0 + 6)), out.clone()),
        ("run out", ALICE, with(expired), out),
    ]);
    let mut world = world.clone();
    let pause = UpdateAgent { paused: Some(true), ..update_agent(1) };
    world.events(ALICE, Action::UpdateAgent(pause));
    let (outcome, events) = world.ask(ALICE, with(signed(1, S0))).expect("an outcome");
    let paused = Refusal::AgentNotActive(AgentStatus::Paused);
    assert_eq!((outcome, events), (Outcome::Refused(paused), vec!["-"]));
    let resume = UpdateAgent { paused: Some(false), ..update_agent(1) };
    world.events(ALICE, Action::UpdateAgent(resume));
    world.refuses(vec![("seen", ALICE, with(signed(1, S0)), Refusal::NonceUsed(()))]);
    // What the node itself has to try again uses nothing up.
    let mut stale = issue(&world, 11, 1, Vec::new());
    stale.signed = Some(signed(2, S0));
    stale.judged.policy_epoch = 7;
    world.refuses(vec![("stale", ALICE, Action::IssueToken(stale), Refusal::Stale(()))]);
    assert_eq!(world.events(ALICE, with(signed(2, S0))), ["-", "token.issued"]);
    let until = T0 + (limits::SIGNATURE_WINDOW_S + limits::NONCE_MARGIN_S) * 1000;
    let mut world = world.at(until);
    world.events(NODE, Action::Tick(()));
    assert!(world.state.nonces.is_empty() && world.state.nonce_ends.is_empty());
}

#[test]
fn policies_are_bounded_in_number_size_and_cost() {
    let mut world = World::new();
    let many = vec![rule(Effect::Deny(())); limits::RULES_MAX + 1];
    let wide = Rule { scopes: Some(vec!["a".into(); limits::PATTERNS_MAX + 1]), ..asking() };
    let long = Rule { condition: Some("x".repeat(limits::CONDITION_MAX_BYTES + 1)), ..asking() };
    for (field, rules) in [
        ("rules", Vec::new()),
        ("rules", many),
        ("rules[0]", vec![wide]),
        ("rules[1]", vec![asking(), long]),
    ] {
        let came = world.state.decide(T0, &command(ALICE, new_policy(1, rules)));
        assert_eq!(invalid_field(came), field);
    }
    let dear = |n: u128, is_active: bool| {
        let steps = limits::POLICY_STEPS_PER_TENANT_MAX / 2 + 1;
        Action::CreatePolicy(CreatePolicy {
            id: pol(n),
            name: "p".into(),
            description: None,
            priority: 0,
            rules: CheckedRules { rules: vec![asking()], steps },
            is_active,
        })
    };
    world.events(ALICE, dear(1, true));
    world.events(ALICE, dear(2, false));
    let refusal = Refusal::PoliciesTooExpensive(limits::POLICY_STEPS_PER_TENANT_MAX);
    world.refuses(vec![("too dear together", ALICE, dear(3, true), refusal)]);
    world.events(BOB, dear(4, true));
}
