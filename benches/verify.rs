//! What verifying costs, beside what it saves: a bare Ed25519 check in the same run.
//!
//! A world of 1,000,000 live tokens of 100,000 agents, each really signed; tokens are drawn in
//! random order and asked everything that can be asked. What is timed is what a request handler
//! does: load the view, read the clock, decide. The table at the end puts the figures side by side.
//! Without `--bench` (as `cargo test` runs it) the world is small and nothing is measured.

use std::{
    cell::RefCell,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use authrai::{
    clock,
    domain::{
        Agent, AgentId, AgentStatus, Environment, Hash, LiveToken, OrgId, SigningKey, SigningKeyId,
        State, Tenant, TokenId,
    },
    token::{self, Claims, Prefix, Signer},
    verify::{Question, Reason, Verdict, View, Views, decide},
};
use criterion::{Criterion, SamplingMode};
use ed25519_dalek::{Signature, VerifyingKey};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ISSUER: &str = "http://127.0.0.1:8080";
const SEED: [u8; 32] = [7; 32];
const TOKENS: usize = 1_000_000;
const TOKENS_PER_AGENT: usize = 10;
/// How many of the tokens are revoked in the world where some are.
const REVOKED: usize = 100_000;
/// How many tokens the slow checks go round in.
const SAMPLE: usize = 1_000;
const TTL_S: u64 = 86_400;

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let world = World::new(if is_bench { TOKENS } else { SAMPLE });
    let mut criterion = Criterion::default().configure_from_args();
    let figures = measure(&mut criterion, &world);
    criterion.final_summary();
    if is_bench {
        print_table(&world, &figures);
    }
}

/// SplitMix64: numbers that repeat from run to run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            items.swap(place, self.below(place + 1));
        }
    }
}

struct World {
    /// In random order.
    tokens: Vec<String>,
    /// Signed well, and issued by nobody.
    unissued: Vec<String>,
    live: Views,
    /// The same with the first [`REVOKED`] of `tokens` revoked.
    some_revoked: Views,
    public_key: [u8; 32],
    bytes_per_token: f64,
}

impl World {
    fn new(count: usize) -> Self {
        let mut state = State::default();
        let kid = SigningKeyId::from_ulid(1);
        let signer = Signer::new(&kid.to_string(), &SEED);
        let key = SigningKey {
            id: kid,
            number: 1,
            node: 1,
            public_key: signer.public_key(),
            created_at: 0,
            retired_at: None,
            revoked_at: None,
            last_expiry: 0,
        };
        state.signing_key_numbers.insert(kid, 1);
        state.signing_keys.insert(1, Arc::new(key));
        let agents = count / TOKENS_PER_AGENT;
        state.agents = (0..agents).map(agent).map(|agent| (agent.id, Arc::new(agent))).collect();

        let mut random = Random(1);
        let now_s = clock::now_ms() / 1_000;
        let sign =
            |number: usize, agent: usize| signer.sign(Prefix::Live, &claims(number, agent, now_s));
        let mut tokens = Vec::with_capacity(count);
        let mut records: Vec<(Hash, LiveToken)> = Vec::with_capacity(count);
        for number in 0..count {
            let agent = random.below(agents);
            let token = sign(number, agent);
            records.push((token::hash(&token), live_token(number, agent, now_s)));
            tokens.push(token);
        }

        let before = resident_bytes();
        for (hash, record) in &records {
            state.tokens.insert(*hash, *record);
        }
        let bytes_per_token = (resident_bytes() - before) / count as f64;

        random.shuffle(&mut tokens);
        let unissued = (0..SAMPLE).map(|number| sign(count + number, number % agents)).collect();
        let (live, some_revoked) = (Views::default(), Views::default());
        live.publish(View { index: 1, state: state.clone() });
        for token in tokens.iter().take(REVOKED) {
            if let Some(record) = state.tokens.get_mut(&token::hash(token)) {
                record.revoked = true;
            }
        }
        some_revoked.publish(View { index: 2, state });
        let public_key = signer.public_key();
        Self { tokens, unissued, live, some_revoked, public_key, bytes_per_token }
    }
}

fn agent_id(number: usize) -> AgentId {
    AgentId::from_ulid((0x0190_0000_0000 + number as u128) << 80 | 1)
}

fn token_id(number: usize) -> TokenId {
    TokenId::from_ulid((0x0197_0000_0000 + number as u128) << 80 | 2)
}

const ORG: OrgId = OrgId::from_ulid(3);

fn agent(number: usize) -> Agent {
    Agent {
        id: agent_id(number),
        tenant: Tenant { org: ORG, environment: Environment::Live },
        name: format!("agent number {number}"),
        owner: "engineering".into(),
        description: None,
        model_provider: Some("anthropic".into()),
        model_name: Some("claude-3".into()),
        framework: Some("langchain".into()),
        metadata: Default::default(),
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

fn claims(number: usize, agent: usize, now_s: u64) -> Claims<'static> {
    let agent = agent_id(agent).to_string();
    Claims {
        iss: ISSUER.into(),
        sub: agent.clone().into(),
        client_id: agent.into(),
        aud: "billing".into(),
        scope: "secrets.read db.write".into(),
        iat: now_s,
        exp: now_s + TTL_S,
        jti: token_id(number).to_string().into(),
        org: ORG.to_string().into(),
        intent: Some("reconcile the invoices of last month".into()),
    }
}

fn live_token(number: usize, agent: usize, now_s: u64) -> LiveToken {
    LiveToken {
        id: token_id(number),
        agent: agent_id(agent),
        signing_key: 1,
        token_epoch: 0,
        expires_at: (now_s + TTL_S) as u32,
        revoked: false,
    }
}

/// What of this process lies in memory, as Linux counts it.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<f64>().ok());
    kib.expect("Linux states VmRSS in kB") * 1_024.0
}

/// Asks all that can be asked of a token.
fn verify(views: &Views, token: &str, required_scope: &[String], later_s: u64) -> Verdict {
    let view = views.load();
    let question = Question {
        token,
        required_scope,
        target_service: Some("billing"),
        environment: Some(Environment::Live),
    };
    decide(&view, ISSUER, clock::now_ms() + later_s * 1_000, &question)
}

/// Nanoseconds for each thing measured.
struct Figures {
    bare: f64,
    first: f64,
    again: f64,
    revoked: f64,
    expired: f64,
    unseen: f64,
    bad_signature: f64,
    malformed: f64,
    sign: f64,
}

fn measure(criterion: &mut Criterion, world: &World) -> Figures {
    let key = VerifyingKey::from_bytes(&world.public_key).expect("a signing key's public half");
    let signed: Vec<(&str, Signature)> =
        world.tokens.iter().take(SAMPLE).map(|token| signed_part(token)).collect();
    let scope = ["db.write".to_owned()];
    let is = |verdict: Verdict, reason| verdict == Verdict::Invalid(reason);
    let all = world.tokens.as_slice();
    let some = &all[..REVOKED.min(all.len())];
    let forged: Vec<String> = world.unissued.iter().map(|token| resigned(token)).collect();
    let cut: Vec<&str> = world.unissued.iter().map(|token| &token[..token.len() - 9]).collect();
    let signer = Signer::new(&SigningKeyId::from_ulid(1).to_string(), &SEED);
    let to_sign: Vec<Claims<'_>> = (0..SAMPLE).map(|number| claims(number, number, 1)).collect();

    Figures {
        bare: run(criterion, "bare verify_strict", &signed, |(message, signature)| {
            key.verify_strict(message.as_bytes(), signature).is_ok()
        }),
        first: run_once_each(criterion, "live token, first check", all, |token| {
            matches!(verify(&world.live, token, &scope, 0), Verdict::Valid(_))
        }),
        again: run(criterion, "live token, later check", all, |token| {
            matches!(verify(&world.live, token, &scope, 0), Verdict::Valid(_))
        }),
        revoked: run(criterion, "revoked token", some, |token| {
            is(verify(&world.some_revoked, token, &scope, 0), Reason::Revoked)
        }),
        expired: run(criterion, "expired token", all, |token| {
            is(verify(&world.live, token, &scope, TTL_S), Reason::Expired)
        }),
        unseen: run(criterion, "signed well, not issued", &world.unissued, |token| {
            verify(&world.live, token, &scope, 0) == Verdict::Unseen
        }),
        bad_signature: run(criterion, "bad signature", &forged, |token| {
            is(verify(&world.live, token, &scope, 0), Reason::BadSignature)
        }),
        malformed: run(criterion, "malformed token", &cut, |token| {
            is(verify(&world.live, token, &scope, 0), Reason::Malformed)
        }),
        sign: run(criterion, "sign a token", &to_sign, |claims| {
            !signer.sign(Prefix::Live, claims).is_empty()
        }),
    }
}

/// What the signature of a token covers, and that signature.
fn signed_part(token: &str) -> (&str, Signature) {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let (_, jws) = Prefix::split(token).expect("a prefix");
    let (signed, signature) = jws.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    (signed, Signature::from_slice(&signature).expect("64 bytes"))
}

/// The token with another one's signature.
fn resigned(token: &str) -> String {
    let other = Signer::new("other", &SEED).sign(Prefix::Live, &claims(0, 0, 0));
    let (signed, _) = token.rsplit_once('.').expect("three parts");
    let (_, signature) = other.rsplit_once('.').expect("three parts");
    format!("{signed}.{signature}")
}

/// Times `check` on `items`, round and round: the median of the samples, in nanoseconds. Panics on
/// a wrong result.
fn run<T>(criterion: &mut Criterion, name: &str, items: &[T], check: impl Fn(&T) -> bool) -> f64 {
    let mut rounds = items.iter().cycle();
    sample(criterion, name, Duration::from_secs(3), |iterations| {
        timed(rounds.by_ref().take(iterations as usize), &check)
    })
}

/// Times `check` on `items`, each once, and then no more of them.
fn run_once_each<T>(
    criterion: &mut Criterion,
    name: &str,
    items: &[T],
    check: impl Fn(&T) -> bool,
) -> f64 {
    let mut left = items.iter();
    sample(criterion, name, Duration::from_millis(700), |iterations| {
        assert!(left.len() >= iterations as usize, "too few tokens for a first check each");
        timed(left.by_ref().take(iterations as usize), &check)
    })
}

fn timed<'a, T: 'a>(
    mut items: impl Iterator<Item = &'a T>,
    check: impl Fn(&T) -> bool,
) -> Duration {
    let start = Instant::now();
    let is_right = items.all(|item| check(black_box(item)));
    let elapsed = start.elapsed();
    assert!(is_right, "a check went wrong");
    elapsed
}

fn sample(
    criterion: &mut Criterion,
    name: &str,
    time: Duration,
    mut routine: impl FnMut(u64) -> Duration,
) -> f64 {
    let samples = RefCell::new(Vec::new());
    let mut group = criterion.benchmark_group("verify");
    group.sampling_mode(SamplingMode::Flat).sample_size(50);
    group.warm_up_time(time / 10).measurement_time(time);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let elapsed = routine(iterations);
            samples.borrow_mut().push(elapsed.as_nanos() as f64 / iterations as f64);
            elapsed
        });
    });
    group.finish();
    let mut samples = samples.into_inner();
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print_table(world: &World, figures: &Figures) {
    let bare = figures.bare;
    println!("== verify: summary ==");
    println!("{} live tokens of {} bytes", world.tokens.len(), world.tokens[0].len());
    println!("{:<36}{:>12}   of a bare check", "", "nanoseconds");
    for (name, nanoseconds) in [
        ("bare verify_strict, key at hand", bare),
        ("live token, first check", figures.first),
        ("live token, later check", figures.again),
        ("revoked token", figures.revoked),
        ("expired token", figures.expired),
        ("signed well, not issued", figures.unseen),
        ("bad signature", figures.bad_signature),
        ("malformed token", figures.malformed),
        ("sign a token", figures.sign),
    ] {
        println!("{name:<36}{nanoseconds:>12.0}   {:.3}", nanoseconds / bare);
    }
    let slower = figures.first.max(figures.again);
    verdict(
        "bare check / check of a live token",
        bare / slower,
        "at least",
        10.0,
        slower * 10.0 <= bare,
    );
    let bytes = world.bytes_per_token;
    verdict("bytes of the view a live token", bytes, "at most", 200.0, bytes <= 200.0);
}

fn verdict(name: &str, value: f64, bound: &str, target: f64, is_met: bool) {
    let met = if is_met { "met" } else { "MISSED" };
    println!("{name:<36}{value:>12.1}   target: {bound} {target}: {met}");
}
