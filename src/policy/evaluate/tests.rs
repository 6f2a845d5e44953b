//! Decisions: tables, and every combination of rules against a naive oracle.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{
    AgentStatus, Allow, Environment, OrgId, Per, RequireApproval, Tenant, Throttle,
};

const TENANT: Tenant = Tenant { org: OrgId([1; 16]), environment: Environment::Live };

fn agent() -> Agent {
    Agent {
        id: AgentId::from_ulid(7),
        tenant: TENANT,
        name: "data-processor".into(),
        owner: "engineering".into(),
        description: None,
        model_provider: Some("openai".into()),
        model_name: None,
        framework: None,
        metadata: BTreeMap::new(),
        public_key: [0; 32],
        require_signature: false,
        status: AgentStatus::Active,
        token_epoch: 0,
        key_epoch: 0,
        created_at: 0,
        updated_at: 0,
        revoked_at: None,
    }
}

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

fn policy(id: u128, priority: u16, rules: Vec<Rule>) -> CompiledPolicy {
    CompiledPolicy::new(&Arc::new(Policy {
        id: PolicyId::from_ulid(id),
        tenant: TENANT,
        name: "p".into(),
        description: None,
        priority,
        rules,
        steps: 0,
        is_active: true,
        created_at: 0,
        updated_at: 0,
    }))
}

const ALLOW: Effect = Effect::Allow(Allow { max_ttl_s: None });
const DENY: Effect = Effect::Deny(());
const THROTTLE: Effect = Effect::Throttle(Throttle { limit: 1, window_s: 1, per: Per::Agent });
const APPROVAL: Effect = Effect::RequireApproval(RequireApproval { approval_ttl_s: 60 });
const EFFECTS: [Effect; 4] = [ALLOW, DENY, THROTTLE, APPROVAL];

/// The decision, straight from the contract: of the matching rules of the highest priority, deny
/// decides before require_approval before throttle before allow; throttles pass on.
fn oracle(rules: &[(RuleRef, u16, Effect)], default: DefaultEffect) -> Verdict {
    let mut left = rules.to_vec();
    let mut throttles = Vec::new();
    while let Some(highest) = left.iter().map(|(_, priority, _)| *priority).max() {
        let mut here: Vec<_> = left.iter().filter(|(_, p, _)| *p == highest).copied().collect();
        here.sort_by_key(|(at, ..)| *at);
        let first = |name: &str| here.iter().find(|(.., e)| e.as_str() == name).map(|(at, ..)| *at);
        if let Some(at) = first("deny") {
            return Verdict { throttles, end: End::Deny(Some(at)) };
        }
        if let Some(at) = first("require_approval") {
            return Verdict { throttles, end: End::RequireApproval(at) };
        }
        throttles
            .extend(here.iter().filter(|(.., e)| e.as_str() == "throttle").map(|(at, ..)| *at));
        if let Some(at) = first("allow") {
            return Verdict { throttles, end: End::Allow(Some(at)) };
        }
        left.retain(|(_, priority, _)| *priority != highest);
    }
    let end = match default {
        DefaultEffect::Allow => End::Allow(None),
        DefaultEffect::Deny => End::Deny(None),
    };
    Verdict { throttles, end }
}

#[test]
fn every_combination_of_effects_priorities_and_matches_decides_as_the_contract_says() {
    let agent = agent();
    let scope = ["db.read".to_owned()];
    let question = Question {
        agent: &agent,
        scope: &scope,
        ttl_s: 300,
        target_service: "any",
        intent: None,
        signed: false,
        now_ms: 0,
    };
    let kinds: Vec<(Effect, u16, bool)> = EFFECTS
        .into_iter()
        .flat_map(|effect| {
            [(effect, 1, true), (effect, 2, true), (effect, 3, true), (effect, 2, false)]
        })
        .collect();
    let compile = |id: u128, (effect, priority, matches): (Effect, u16, bool)| {
        let signed = (!matches).then_some(true);
        policy(id, priority, vec![Rule { signed, ..rule(effect) }])
    };
    let compiled: Vec<Vec<CompiledPolicy>> =
        (0..3).map(|id| kinds.iter().map(|kind| compile(id, *kind)).collect()).collect();
    let mut seen = 0;
    for a in 0..kinds.len() {
        for b in 0..kinds.len() {
            for c in 0..kinds.len() {
                let picked = [a, b, c];
                let set = PolicySet::new((0..3).map(|id| &compiled[id][picked[id]]));
                let matching: Vec<(RuleRef, u16, Effect)> = (0..3)
                    .filter(|id| kinds[picked[*id]].2)
                    .map(|id| {
                        let (effect, priority, _) = kinds[picked[id]];
                        let policy = PolicyId::from_ulid(id as u128);
                        (RuleRef { policy, rule: 0 }, priority, effect)
                    })
                    .collect();
                for default in [DefaultEffect::Allow, DefaultEffect::Deny] {
                    let expected = oracle(&matching, default);
                    let explained = set.explain(&question, default);
                    assert_eq!(explained.verdict, expected, "{matching:?}");
                    assert_eq!(explained.matched.len(), matching.len());
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 16 * 16 * 16 * 2);
}

/// Whether a lone rule matches a request.
fn matches(rule: Rule, question: &Question<'_>) -> bool {
    let policy = policy(1, 1, vec![rule]);
    !PolicySet::new([&policy]).explain(question, DefaultEffect::Allow).matched.is_empty()
}

#[test]
fn allow_covers_the_whole_request_and_the_others_match_any_overlap() {
    let agent = agent();
    let list = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    for (scopes, requested, overlaps, covers) in [
        (list(&["db.write"]), &["db.write"][..], true, true),
        (list(&["db.write"]), &["db.read", "db.write"], true, false),
        (list(&["db.*"]), &["db.read", "db.write"], true, true),
        (list(&["db.read", "db.write"]), &["db.read", "db.write"], true, true),
        (list(&["db.write"]), &["db.*"], true, false),
        (list(&["db.write"]), &["*"], true, false),
        (list(&["db.*"]), &["db.*"], true, true),
        (list(&["db.write"]), &["db.read"], false, false),
        (None, &["anything", "*"], true, true),
    ] {
        let scope: Vec<String> = requested.iter().map(|text| (*text).to_owned()).collect();
        let question = Question {
            agent: &agent,
            scope: &scope,
            ttl_s: 300,
            target_service: "any",
            intent: None,
            signed: false,
            now_ms: 0,
        };
        for effect in EFFECTS {
            let expected = if effect == ALLOW { covers } else { overlaps };
            let rule = Rule { scopes: scopes.clone(), ..rule(effect) };
            assert_eq!(matches(rule, &question), expected, "{effect:?} {scopes:?} {requested:?}");
        }
    }
}

#[test]
fn a_token_for_any_target_is_one_for_every_listed_target() {
    let agent = agent();
    for (listed, requested, overlaps, covers) in [
        ("payments", "payments", true, true),
        ("pay*", "payments", true, true),
        ("payments", "billing", false, false),
        ("payments", "any", true, false),
        ("an*", "any", true, false),
        ("any", "any", true, true),
        ("*", "any", true, true),
        ("any", "payments", false, false),
    ] {
        let scope = ["x".to_owned()];
        let question = Question {
            agent: &agent,
            scope: &scope,
            ttl_s: 300,
            target_service: requested,
            intent: None,
            signed: false,
            now_ms: 0,
        };
        for effect in EFFECTS {
            let expected = if effect == ALLOW { covers } else { overlaps };
            let rule = Rule { target_services: Some(vec![listed.into()]), ..rule(effect) };
            assert_eq!(matches(rule, &question), expected, "{effect:?} {listed} {requested}");
        }
    }
}

#[test]
fn the_other_fields_match_as_they_say() {
    let agent = agent();
    let scope = ["x".to_owned()];
    let question = Question {
        agent: &agent,
        scope: &scope,
        ttl_s: 300,
        target_service: "any",
        intent: None,
        signed: true,
        now_ms: 0,
    };
    let list = |text: &str| Some(vec![text.to_owned()]);
    let id = agent.id.to_string();
    let impostor = Agent { id: AgentId::from_ulid(8), name: id.clone(), ..agent.clone() };
    let from_impostor = Question { agent: &impostor, ..question };
    for (rule, question, expected) in [
        (Rule { agents: list("data-*"), ..rule(DENY) }, &question, true),
        (Rule { agents: list("other"), ..rule(DENY) }, &question, false),
        (Rule { agents: list(&id), ..rule(DENY) }, &question, true),
        (Rule { agents: list("agent_*"), ..rule(DENY) }, &question, true),
        (Rule { agents: list(&id), ..rule(ALLOW) }, &from_impostor, false),
        (Rule { owners: list("eng*"), ..rule(DENY) }, &question, true),
        (Rule { owners: list("Engineering"), ..rule(DENY) }, &question, false),
        (Rule { model_providers: list("openai"), ..rule(DENY) }, &question, true),
        (Rule { model_providers: list("anthropic"), ..rule(DENY) }, &question, false),
        (Rule { model_names: list("gpt*"), ..rule(DENY) }, &question, false),
        (Rule { model_names: list("*"), ..rule(DENY) }, &question, true),
        (Rule { frameworks: list("langchain"), ..rule(DENY) }, &question, false),
        (Rule { signed: Some(true), ..rule(DENY) }, &question, true),
        (Rule { signed: Some(false), ..rule(DENY) }, &question, false),
        (rule(Effect::Allow(Allow { max_ttl_s: Some(300) })), &question, true),
        (rule(Effect::Allow(Allow { max_ttl_s: Some(299) })), &question, false),
    ] {
        assert_eq!(matches(rule.clone(), question), expected, "{rule:?}");
    }
}

#[test]
fn a_condition_that_cannot_be_told_refuses_and_grants_nothing() {
    let agent = agent();
    let scope = ["x".to_owned()];
    let question = Question {
        agent: &agent,
        scope: &scope,
        ttl_s: 300,
        target_service: "any",
        intent: None,
        signed: false,
        now_ms: 0,
    };
    for (condition, told) in [
        ("agent.owner == 'engineering'", Some(true)),
        ("agent.owner == 'sales'", Some(false)),
        ("agent.metadata.team == 'core'", None),
        ("no longer understood", None),
    ] {
        for effect in EFFECTS {
            let expected = told.unwrap_or(effect != ALLOW);
            let rule = Rule { condition: Some(condition.into()), ..rule(effect) };
            assert_eq!(matches(rule, &question), expected, "{effect:?} {condition}");
        }
    }
}

#[test]
fn an_inactive_policy_does_not_count() {
    let agent = agent();
    let scope = ["x".to_owned()];
    let question = Question {
        agent: &agent,
        scope: &scope,
        ttl_s: 300,
        target_service: "any",
        intent: None,
        signed: false,
        now_ms: 0,
    };
    let active = policy(1, 1, vec![rule(DENY)]);
    let inactive =
        CompiledPolicy::new(&Arc::new(Policy { is_active: false, ..(**active.source()).clone() }));
    let end = |policy| PolicySet::new([policy]).decide(&question, DefaultEffect::Allow).end;
    assert!(matches!(end(&active), End::Deny(Some(_))));
    assert_eq!(end(&inactive), End::Allow(None));
}

#[test]
fn a_request_that_too_many_throttles_match_is_denied_by_the_first_beyond() {
    let most = limits::THROTTLES_PER_VERDICT_MAX;
    let agent = agent();
    let scope = ["db.read".to_owned()];
    let question = Question {
        agent: &agent,
        scope: &scope,
        ttl_s: 300,
        target_service: "any",
        intent: None,
        signed: false,
        now_ms: 0,
    };
    let decide = |number: usize| {
        let policy = policy(1, 100, vec![rule(THROTTLE); number]);
        PolicySet::new([&policy]).decide(&question, DefaultEffect::Allow)
    };
    let at = |place: usize| RuleRef { policy: PolicyId::from_ulid(1), rule: place as u16 };
    let throttles: Vec<RuleRef> = (0..most).map(at).collect();
    let verdict = Verdict { throttles: throttles.clone(), end: End::Allow(None) };
    assert_eq!(decide(most), verdict);
    let verdict = Verdict { throttles, end: End::Deny(Some(at(most))) };
    assert_eq!(decide(most + 1), verdict);
    assert_eq!(decide(100), verdict);
}
