//! Plans, what they allow, and what is counted against them.

use super::{super::*, world::*};

/// The world with organisation 1 on this plan.
fn world_on(plan: &str) -> World {
    let mut world = World::new();
    world.ask(OPERATOR, change(plan)).expect("accepted");
    world
}

fn change(plan: &str) -> Action {
    Action::ChangePlan(ChangePlan { org: org(1), plan: plan.into() })
}

fn limit(quota: Quota, limit: u64, plan: &str, upgrade_to: Option<&str>) -> Refusal {
    Refusal::PlanLimitReached(PlanLimitReached {
        quota,
        limit,
        usage: limit,
        plan: plan.into(),
        upgrade_to: upgrade_to.map(str::to_owned),
    })
}

#[test]
fn agents_of_both_environments_count_until_they_are_revoked() {
    // One agent is in the live half and one in the test half.
    let mut world = world_on("tiny");
    let full = limit(Quota::Agents, 2, "tiny", Some("small"));
    world.refuses(vec![
        ("one more", ALICE, Action::CreateAgent(new_agent(5)), full.clone()),
        ("one more in the other half", ALICE_TEST, Action::CreateAgent(new_agent(5)), full.clone()),
    ]);
    world.ask(BOB, Action::CreateAgent(new_agent(5))).expect("another organisation");
    let again = Action::CreateAgent(new_agent(1));
    assert!(world.events(ALICE, again).is_empty(), "an agent that is there is no new one");
    let pause = Action::UpdateAgent(UpdateAgent { paused: Some(true), ..update_agent(1) });
    world.ask(ALICE, pause).expect("accepted");
    world.refuses(vec![("a paused one counts", ALICE, Action::CreateAgent(new_agent(6)), full)]);
    world.ask(ALICE_TEST, Action::RevokeAgent(agent(2))).expect("accepted");
    assert_eq!(world.events(ALICE, Action::CreateAgent(new_agent(6))), ["agent.created"]);
    assert_eq!(world.state.usage(org(1), T0).agents, 2);
}

#[test]
fn tokens_count_by_the_calendar_month_of_the_log() {
    let end = Period::of(T0).ends_at();
    let mut world = world_on("tiny").at(end - 1_000);
    let issue = |n: u128, at: Millis| Action::IssueToken(new_token(n, 1, at / 1000, 300));
    // One was issued when the world was made, in this month too.
    for n in 2..=4 {
        world.ask(ALICE, issue(n, end - 1_000)).expect("within the limit");
    }
    world.ask(ALICE, Action::RevokeToken(TokenRef::Id(tok(2)))).expect("accepted");
    assert!(world.events(ALICE, issue(4, end - 1_000)).is_empty(), "proposed again");
    let over = limit(Quota::TokensPerMonth, 4, "tiny", Some("small"));
    world.refuses(vec![(
        "a revoked one was issued all the same",
        ALICE,
        issue(5, end - 1_000),
        over,
    )]);
    assert_eq!(world.state.usage(org(1), end - 1).tokens_this_month, 4);

    let mut world = world.at(end);
    assert_eq!(world.state.usage(org(1), end).tokens_this_month, 0);
    for n in 5..=8 {
        world.ask(ALICE, issue(n, end)).expect("a new month");
    }
    let over = limit(Quota::TokensPerMonth, 4, "tiny", Some("small"));
    world.refuses(vec![("the new month is full too", ALICE, issue(9, end), over)]);
    assert_eq!(world.state.usage(org(2), end).tokens_this_month, 0, "another organisation");
}

#[test]
fn the_plan_that_would_do_is_the_least_that_allows_one_more() {
    for (plan, agents, would_do) in [("tiny", 2, Some("small")), ("small", 3, Some("big"))] {
        let mut world = world_on(plan);
        for n in 10..8 + agents as u8 {
            world.ask(ALICE, Action::CreateAgent(new_agent(n))).expect("within the limit");
        }
        let refusal = limit(Quota::Agents, agents, plan, would_do);
        world.refuses(vec![(plan, ALICE, Action::CreateAgent(new_agent(50)), refusal)]);
    }
    let mut world = world_on("tiny");
    let only = vec![new_plan("tiny", 0, Some(2)), new_plan("same", 1, Some(2))];
    world.ask(NODE, Action::SetPlans(only)).expect("accepted");
    let refusal = limit(Quota::Agents, 2, "tiny", None);
    world.refuses(vec![("none would", ALICE, Action::CreateAgent(new_agent(50)), refusal)]);
}

#[test]
fn changing_the_plan_says_whether_it_went_up_or_down() {
    let mut world = World::new();
    let chain = |world: &World, action| {
        world.state.decide(T0, &command(ALICE, action)).expect("accepted").events[0].chain
    };
    assert_eq!(chain(&world, change("tiny")), ALICE_TENANT, "the organisation's own chain");
    for (plan, events) in [
        ("tiny", &["billing.plan_downgraded"][..]),
        ("tiny", &[]),
        ("small", &["billing.plan_upgraded"]),
        ("big", &["billing.plan_upgraded"]),
    ] {
        assert_eq!(world.events(ALICE, change(plan)), events, "{plan}");
        assert_eq!(world.state.plan_of(org(1)).expect("a plan").name, plan);
    }
    let nowhere = Action::ChangePlan(ChangePlan { org: org(2), plan: "tiny".into() });
    world.refuses(vec![
        ("another's", ALICE, nowhere, Refusal::NotFound(Kind::Organization(()))),
        (
            "without the right",
            CLERK,
            change("tiny"),
            Refusal::Forbidden("this takes the permission billing:write".into()),
        ),
    ]);
    let unknown = world.state.decide(T0, &command(ALICE, change("huge")));
    assert_eq!(invalid_field(unknown), "plan");
}

#[test]
fn a_plan_below_what_is_in_use_is_refused_with_all_that_is_too_much() {
    let mut world = World::new();
    world.ask(ALICE, Action::CreateAgent(new_agent(10))).expect("accepted");
    for n in 2..=5 {
        world.ask(ALICE, Action::IssueToken(new_token(n, 1, S0, 300))).expect("accepted");
    }
    let excess = vec![
        Excess { quota: Quota::Agents, limit: 2, usage: 3 },
        Excess { quota: Quota::TokensPerMonth, limit: 4, usage: 5 },
    ];
    let period_ends_at = Period::of(T0).ends_at();
    let too_small = PlanTooSmall { plan: "tiny".into(), excess, period_ends_at };
    world.refuses(vec![("too small", ALICE, change("tiny"), Refusal::PlanTooSmall(too_small))]);
    assert_eq!(world.events(ALICE, change("small")), ["billing.plan_downgraded"], "just enough");
}

#[test]
fn the_catalogue_is_what_the_newest_configuration_says() {
    let mut world = world_on("tiny");
    let same = Action::SetPlans(new_plans());
    assert!(world.events(NODE, same).is_empty());
    let larger = vec![new_plan("big", 0, None), new_plan("huge", 1, None)];
    assert_eq!(world.events(NODE, Action::SetPlans(larger.clone())), ["plans.updated"]);
    assert!(world.state.offers(&larger));
    // Organisation 1 stays on a plan that is offered no more.
    let names: Vec<_> = world.state.plans.keys().map(String::as_str).collect();
    assert_eq!(names, ["big", "huge", "tiny"]);
    assert!(world.state.offered_plan("tiny").is_none());
    let full = limit(Quota::Agents, 2, "tiny", Some("huge"));
    world.refuses(vec![("as before", ALICE, Action::CreateAgent(new_agent(5)), full)]);
    let back = world.state.decide(
        T0,
        &command(BOB, Action::ChangePlan(ChangePlan { org: org(2), plan: "tiny".into() })),
    );
    assert_eq!(invalid_field(back), "plan");
    // Once nobody is on it, the next catalogue is without it.
    world.ask(ALICE, change("huge")).expect("accepted");
    world.ask(NODE, Action::SetPlans(larger)).expect("accepted");
    assert_eq!(world.state.plans.len(), 2);
}

#[test]
fn only_an_operator_gives_a_plan_that_is_not_self_service() {
    let mut world = world_on("tiny");
    let names = |names: &[&str]| {
        Action::SetOperatorPlans(names.iter().map(|name| (*name).to_owned()).collect())
    };
    let events = world.events(NODE, names(&["big", "gone"]));
    assert_eq!(events, ["plans.self_service_updated"]);
    assert!(world.events(NODE, names(&["gone", "big"])).is_empty(), "the same again");
    world.refuses(vec![
        ("by its key", ALICE, change("big"), Refusal::PlanNotSelfService("big".into())),
        ("by a tenant", BOB, names(&[]), Refusal::Forbidden("an API key cannot do this".into())),
    ]);
    world.ask(ALICE, change("small")).expect("one that it can choose");
    world.ask(OPERATOR, change("big")).expect("by an operator");
    world.ask(ALICE, change("big")).expect("it is on it already");
    world.ask(NODE, names(&[])).expect("accepted");
    world.ask(ALICE, change("small")).expect("accepted");
    world.ask(ALICE, change("big")).expect("self-service from now on");
    let came = world.state.decide(T0, &command(NODE, names(&["No Name"])));
    assert_eq!(invalid_field(came), "plans");
}

#[test]
fn a_new_limit_holds_from_the_entry_on_that_sets_it() {
    let mut world = world_on("tiny");
    let mut plans = new_plans();
    plans[0].limits.agents = Some(1);
    world.ask(NODE, Action::SetPlans(plans.clone())).expect("accepted");
    let over = PlanLimitReached {
        quota: Quota::Agents,
        limit: 1,
        usage: 2,
        plan: "tiny".into(),
        upgrade_to: Some("small".into()),
    };
    world.refuses(vec![(
        "less than is in use",
        ALICE,
        Action::CreateAgent(new_agent(5)),
        Refusal::PlanLimitReached(over),
    )]);
    plans[0].limits.agents = None;
    world.ask(NODE, Action::SetPlans(plans)).expect("accepted");
    world.ask(ALICE, Action::CreateAgent(new_agent(5))).expect("no limit");
}

#[test]
fn a_catalogue_that_is_not_sound_is_refused() {
    let world = World::new();
    let named = |name: &str| new_plan(name, 0, None);
    let rated = |requests_per_second| {
        let limits = PlanLimits { requests_per_second, ..named("a").limits };
        Plan { limits, ..named("a") }
    };
    for (why, plans) in [
        ("no name", vec![named("")]),
        ("a long name", vec![named(&"a".repeat(crate::limits::PLAN_NAME_MAX_BYTES + 1))]),
        ("a name in capitals", vec![named("Free")]),
        ("one plan twice", vec![named("a"), named("a")]),
        ("no price", vec![Plan { price: String::new(), ..named("a") }]),
        ("a limit beyond all numbers", vec![new_plan("a", 0, Some(u64::MAX / 2))]),
        ("no requests at all", vec![rated(0)]),
        ("too many requests", vec![rated(crate::limits::REQUESTS_PER_SECOND_MAX + 1)]),
    ] {
        let came = world.state.decide(T0, &command(NODE, Action::SetPlans(plans)));
        assert_eq!(invalid_field(came), "plans", "{why}");
    }
    let many = (0..=crate::limits::PLANS_MAX).map(|n| named(&format!("p{n}"))).collect();
    let most = crate::limits::PLANS_MAX as u64;
    let by_a_tenant = "an API key cannot do this".to_owned();
    world.refuses(vec![
        ("too many", NODE, Action::SetPlans(many), Refusal::too_many("plans", most)),
        ("by a tenant", ALICE, Action::SetPlans(new_plans()), Refusal::Forbidden(by_a_tenant)),
    ]);
}

#[test]
fn a_new_organization_is_on_a_plan_that_is_offered() {
    let mut world = World::new();
    let on = |n: u128, plan: &str| {
        Action::CreateOrganization(CreateOrganization { plan: plan.into(), ..new_org(n) })
    };
    world.ask(OPERATOR, on(7, "tiny")).expect("accepted");
    assert_eq!(world.state.plan_of(org(7)).expect("a plan").name, "tiny");
    let came = world.state.decide(T0, &command(OPERATOR, on(8, "huge")));
    assert_eq!(invalid_field(came), "plan");
}
