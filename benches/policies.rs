//! What deciding a token request by policies costs, beside what issuing pays anyway: signing the
//! token, in the same run.
//!
//! Sets of 1, 10 and 100 policies of ten rules each, of which none matches, so that every rule is
//! looked at: with lists of patterns, and with CEL conditions. Without `--bench` (as `cargo test`
//! runs it) each is done once and nothing is measured.

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use authrai::{
    domain::{
        Agent, AgentId, AgentStatus, DefaultEffect, End, Environment, OrgId, Policy, PolicyId,
        SigningKeyId, Tenant,
    },
    policy::{CompiledPolicy, PolicySet, Question, RuleDraft, check},
    token::{Claims, Prefix, Signer},
};
use criterion::{Criterion, criterion_group, criterion_main};

const RULES: usize = 10;
const SIZES: [usize; 3] = [1, 10, 100];
const TENANT: Tenant = Tenant { org: OrgId([1; 16]), environment: Environment::Live };

fn agent() -> Agent {
    Agent {
        id: AgentId::from_ulid(7),
        tenant: TENANT,
        name: "data-processor".into(),
        owner: "engineering".into(),
        description: None,
        model_provider: Some("openai".into()),
        model_name: Some("gpt-5".into()),
        framework: None,
        metadata: BTreeMap::from([("team".into(), "search".into())]),
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

/// `size` policies of [`RULES`] rules like `rule`, which is numbered.
fn set(size: usize, rule: impl Fn(usize) -> RuleDraft) -> PolicySet {
    let policies: Vec<_> = (0..size)
        .map(|number| {
            let drafts: Vec<_> = (0..RULES).map(|nth| rule(number * RULES + nth)).collect();
            let checked = check(&drafts).expect("rules that are right");
            CompiledPolicy::new(&Arc::new(Policy {
                id: PolicyId::from_ulid(number as u128),
                tenant: TENANT,
                name: "p".into(),
                description: None,
                priority: 100,
                rules: checked.rules,
                steps: checked.steps,
                is_active: true,
                created_at: 0,
                updated_at: 0,
            }))
        })
        .collect();
    PolicySet::new(&policies)
}

fn patterns(number: usize) -> RuleDraft {
    RuleDraft {
        effect: "deny".into(),
        scopes: Some(vec![format!("db{number}.*"), format!("files{number}.read")]),
        owners: Some(vec![format!("team-{number}-*")]),
        ..RuleDraft::default()
    }
}

fn condition(number: usize) -> RuleDraft {
    RuleDraft {
        effect: "deny".into(),
        condition: Some(format!(
            "agent.owner == 'team-{number}' && request.ttl > 600 || \
             request.scope.exists(s, s == 'db{number}.write')"
        )),
        ..RuleDraft::default()
    }
}

fn evaluate(criterion: &mut Criterion) {
    let agent = agent();
    let scope = ["db.write".to_owned(), "files.read".to_owned()];
    let question = Question {
        agent: &agent,
        scope: &scope,
        ttl_s: 900,
        target_service: "billing",
        intent: Some("nightly report"),
        signed: false,
        now_ms: 1_780_000_000_000,
    };
    let mut group = criterion.benchmark_group("policies");
    let signer = Signer::new(&SigningKeyId::from_ulid(1).to_string(), &[7; 32]);
    let id = agent.id.to_string();
    let claims = Claims {
        iss: "http://127.0.0.1:8080".into(),
        sub: id.as_str().into(),
        client_id: id.as_str().into(),
        aud: "billing".into(),
        scope: "db.write files.read".into(),
        iat: 1_780_000_000,
        exp: 1_780_000_900,
        jti: "tok_01j1qz4zk8e6m2v7x9c3b5n0ah".into(),
        org: "org_01j1qz4zk8e6m2v7x9c3b5n0ah".into(),
        intent: Some("nightly report".into()),
    };
    group.bench_function("sign a token", |bencher| {
        bencher.iter(|| signer.sign(Prefix::Live, black_box(&claims)));
    });
    type Kind = (&'static str, fn(usize) -> RuleDraft);
    let kinds: [Kind; 2] = [("patterns", patterns), ("conditions", condition)];
    for (kind, rule) in kinds {
        for size in SIZES {
            let set = set(size, rule);
            let name = format!("{} rules of {kind}", size * RULES);
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let verdict = set.decide(black_box(&question), DefaultEffect::Allow);
                    assert_eq!(verdict.end, End::Allow(None));
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
