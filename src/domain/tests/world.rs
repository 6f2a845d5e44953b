//! A small world to decide in: two organisations, their keys, agents, a node and a token.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::super::*;

/// When the world was made, and the second of that.
pub(crate) const T0: Millis = 1_782_914_400_000;
pub(crate) const S0: Seconds = T0 / 1000;

pub(crate) fn org(n: u128) -> OrgId {
    OrgId::from_ulid(n)
}
pub(crate) fn key(n: u128) -> ApiKeyId {
    ApiKeyId::from_ulid(n)
}
pub(crate) fn op(n: u128) -> OperatorKeyId {
    OperatorKeyId::from_ulid(n)
}
pub(crate) fn agent(n: u128) -> AgentId {
    AgentId::from_ulid(n)
}
pub(crate) fn tok(n: u128) -> TokenId {
    TokenId::from_ulid(n)
}
pub(crate) fn sig(n: u128) -> SigningKeyId {
    SigningKeyId::from_ulid(n)
}
pub(crate) fn hash(n: u8) -> Hash {
    [n; 32]
}

/// Organisation 1's live key with every permission.
pub(crate) const ALICE: Actor = Actor::ApiKey(ApiKeyId::from_ulid(1));
/// Organisation 1's test key with every permission.
pub(crate) const ALICE_TEST: Actor = Actor::ApiKey(ApiKeyId::from_ulid(2));
/// Organisation 2's live key with every permission.
pub(crate) const BOB: Actor = Actor::ApiKey(ApiKeyId::from_ulid(3));
/// Organisation 1's live key that may only write API keys.
pub(crate) const CLERK: Actor = Actor::ApiKey(ApiKeyId::from_ulid(4));
pub(crate) const OPERATOR: Actor = Actor::Operator(OperatorKeyId::from_ulid(1));
pub(crate) const NODE: Actor = Actor::Node(1);
pub(crate) const SETUP: Actor = Actor::Setup(());
pub(crate) const ALICE_TENANT: Tenant = Tenant::live(OrgId::from_ulid(1));

pub(crate) fn new_org(n: u128) -> CreateOrganization {
    CreateOrganization {
        id: org(n),
        name: format!("Org {n}"),
        default_effect: DefaultEffect::Allow,
        plan: "big".into(),
    }
}

/// A plan with these limits on agents and on tokens in a month.
pub(crate) fn new_plan(name: &str, rank: u16, most: Option<u64>) -> Plan {
    Plan {
        name: name.into(),
        price: format!("{rank} USD"),
        rank,
        limits: PlanLimits {
            agents: most,
            tokens_per_month: most.map(|most| most.saturating_mul(2)),
            webhooks: most,
            requests_per_second: 10 + u32::from(rank),
        },
        is_offered: true,
    }
}

/// The plans of the world, the least first: 2 agents, 3 agents, no limit.
pub(crate) fn new_plans() -> Vec<Plan> {
    vec![new_plan("tiny", 0, Some(2)), new_plan("small", 1, Some(3)), new_plan("big", 2, None)]
}

pub(crate) fn new_key(n: u8, of: u128, environment: Environment) -> CreateApiKey {
    CreateApiKey {
        id: key(n.into()),
        org: org(of),
        environment,
        name: format!("Key {n}"),
        permissions: Permissions::all(),
        secret_hash: hash(n),
        last_four: format!("k{n:03}"),
        expires_at: None,
    }
}

pub(crate) fn new_operator(n: u8) -> CreateOperatorKey {
    CreateOperatorKey {
        id: op(n.into()),
        name: format!("Operator {n}"),
        secret_hash: hash(100 + n),
        last_four: format!("o{n:03}"),
    }
}

pub(crate) fn new_agent(n: u8) -> CreateAgent {
    CreateAgent {
        id: agent(n.into()),
        name: format!("Agent {n}"),
        owner: "engineering".into(),
        description: None,
        model_provider: Some("openai".into()),
        model_name: None,
        framework: None,
        metadata: BTreeMap::from([("team".into(), "blue".into())]),
        public_key: [n; 32],
        require_signature: false,
    }
}

pub(crate) fn update_agent(n: u128) -> UpdateAgent {
    UpdateAgent {
        id: agent(n),
        name: None,
        owner: None,
        description: None,
        model_provider: None,
        model_name: None,
        framework: None,
        metadata: None,
        require_signature: None,
        paused: None,
    }
}

/// Token `n` for agent `of`, issued in second `iat`. Its hash is a function of all that it says, as
/// that of a real one is.
pub(crate) fn new_token(n: u128, of: u128, iat: Seconds, ttl: Seconds) -> IssueToken {
    hashed(IssueToken {
        id: tok(n),
        hash: [0; 32],
        agent: agent(of),
        signing_key: sig(1),
        scope: vec!["db.read".into(), "mail.*".into()],
        target_service: "any".into(),
        intent: None,
        issued_at: iat,
        expires_at: iat.saturating_add(ttl),
        signed: None,
        judged: judged(of, iat, End::Allow(None)),
        approval: None,
    })
}

/// What the policies said of a request of agent `of`, as it was made, in second `at`.
pub(crate) fn judged(of: u128, at: Seconds, end: End) -> Judged {
    Judged {
        verdict: Verdict { throttles: Vec::new(), end },
        policy_epoch: 0,
        agent: hash(of as u8),
        at: at.saturating_mul(1000),
    }
}

/// A signature on a request in second `at`, by the agent's first key.
pub(crate) fn signed(nonce: u8, at: Seconds) -> SignedRequest {
    SignedRequest { key_epoch: 0, created_s: at, expires_s: None, nonce: hash(nonce) }
}

pub(crate) fn hashed(mut new: IssueToken) -> IssueToken {
    let signed = new.signed.take();
    new.hash = [0; 32];
    new.hash = Sha256::digest(crate::codec::encode(&new)).into();
    new.signed = signed;
    new
}

pub(crate) fn new_signing_key(n: u8) -> RegisterSigningKey {
    RegisterSigningKey { id: sig(n.into()), public_key: [200 + n; 32] }
}

pub(crate) fn command(actor: Actor, action: Action) -> Command {
    Command { actor, request_id: "req_1".into(), action, idempotency: None }
}

/// The commands that make the world.
pub(crate) fn genesis() -> Vec<Command> {
    let clerk = CreateApiKey {
        permissions: [Permission::ApiKeysWrite].into_iter().collect(),
        ..new_key(4, 1, Environment::Live)
    };
    vec![
        command(SETUP, Action::CreateOperatorKey(new_operator(1))),
        command(SETUP, Action::SetPlans(new_plans())),
        command(SETUP, Action::CreateOrganization(new_org(1))),
        command(OPERATOR, Action::CreateOrganization(new_org(2))),
        command(SETUP, Action::CreateApiKey(new_key(1, 1, Environment::Live))),
        command(OPERATOR, Action::CreateApiKey(new_key(2, 1, Environment::Test))),
        command(OPERATOR, Action::CreateApiKey(new_key(3, 2, Environment::Live))),
        command(ALICE, Action::CreateApiKey(clerk)),
        command(NODE, Action::RegisterSigningKey(new_signing_key(1))),
        command(ALICE, Action::CreateAgent(new_agent(1))),
        command(ALICE_TEST, Action::CreateAgent(new_agent(2))),
        command(BOB, Action::CreateAgent(new_agent(3))),
        command(ALICE, Action::IssueToken(new_token(1, 1, S0, 300))),
    ]
}

/// A state, and the log's time in it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) state: State,
}

/// What a command came to: the answer, and the names of what happened (`-` for bookkeeping).
pub(crate) type Came = Result<(Outcome, Vec<&'static str>), Refusal>;

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self { state: State { clock: T0, ..State::default() } };
        for command in genesis() {
            world.run(&command).expect("the world can be made");
        }
        world
    }

    pub(crate) fn at(mut self, at: Millis) -> Self {
        self.state.clock = at;
        self
    }

    pub(crate) fn run(&mut self, command: &Command) -> Came {
        let decision = self.state.decide(self.state.clock, command)?;
        for event in &decision.events {
            self.state.evolve(event);
            if event.fact.name().is_some() {
                // Linking is the machine's work; here a place in the chain is enough.
                let head = self.state.heads.entry(event.chain).or_insert(Head::START);
                head.seq += 1;
                let text = serde_json::to_string(&event.fact.data()).expect("text");
                self.state.note_event_bytes(event.chain, self.state.clock, text.len() as u64);
            }
        }
        let names = decision.events.iter().map(|event| event.fact.name().unwrap_or("-")).collect();
        Ok((decision.outcome, names))
    }

    pub(crate) fn ask(&mut self, actor: Actor, action: Action) -> Came {
        self.run(&command(actor, action))
    }

    /// Runs what must succeed; the names of what happened.
    pub(crate) fn events(&mut self, actor: Actor, action: Action) -> Vec<&'static str> {
        self.ask(actor, action).expect("accepted").1
    }

    /// Checks a table of actions against the refusals that they meet, each in the same state.
    pub(crate) fn refuses(&self, table: Vec<(&str, Actor, Action, Refusal)>) {
        for (rule, actor, action, refusal) in table {
            let came = self.state.decide(self.state.clock, &command(actor, action));
            assert_eq!(came, Err(refusal), "{rule}");
        }
    }
}

/// `field` is invalid, whatever the words.
pub(crate) fn invalid_field(came: Result<Decision, Refusal>) -> String {
    match came {
        Err(Refusal::Invalid((field, _))) => field,
        other => panic!("not a refusal of a field: {other:?}"),
    }
}
