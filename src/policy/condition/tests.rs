//! What a condition may say, what it comes to, and that none can stall or crash a node.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use proptest::prelude::*;

use super::*;
use crate::domain::{Agent, AgentId, AgentStatus, Environment, OrgId, Tenant};

/// Tuesday, 24 November 2026, 15:04:05 UTC.
const NOW_MS: u64 = 1_795_532_645_000;

fn agent() -> Agent {
    Agent {
        id: AgentId::from_ulid(7),
        tenant: Tenant { org: OrgId::from_ulid(1), environment: Environment::Live },
        name: "data-processor".into(),
        owner: "engineering".into(),
        description: None,
        model_provider: Some("openai".into()),
        model_name: Some("gpt-4".into()),
        framework: None,
        metadata: BTreeMap::from([("team".into(), "core".into()), ("tier".into(), "2".into())]),
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

fn compile(text: &str) -> Result<Condition, Fault> {
    on_parser_stack(|| Condition::compile(text)).expect("the parser does not panic")
}

fn holds(condition: &Condition) -> Result<bool, String> {
    let agent = agent();
    let scope = ["db.read".to_owned(), "secrets.*".to_owned()];
    let question = Question {
        agent: &agent,
        scope: &scope,
        ttl_s: 300,
        target_service: "payments",
        intent: Some("nightly report"),
        signed: true,
        now_ms: NOW_MS,
    };
    condition.holds(&Facts::new(&question, &Arc::new(condition.patterns().clone())))
}

#[test]
fn a_condition_sees_agent_request_and_time() {
    for (text, expected) in [
        ("true", true),
        ("agent.owner == 'engineering'", true),
        ("agent.name != \"data-processor\"", false),
        ("agent.id.startsWith('agent_')", true),
        ("agent.description == ''", true),
        ("agent.framework == ''", true),
        ("agent.metadata.team == 'core'", true),
        ("agent.metadata['team'] in ['core', 'infra']", true),
        ("has(agent.metadata.absent)", false),
        ("has(agent.metadata.team) && agent.metadata.team == 'core'", true),
        ("'tier' in agent.metadata && int(agent.metadata.tier) > 1", true),
        ("agent.metadata.exists(k, k == 'team')", true),
        ("size(agent.metadata) == 2", true),
        ("request.ttl <= 300", true),
        ("request.ttl * 2 > 500 && request.ttl / 60 == 5 && request.ttl % 7 == 6", true),
        ("request.target_service.endsWith('ments')", true),
        ("request.intent.contains('report')", true),
        ("request.signed", true),
        ("!request.signed", false),
        ("'db.read' in request.scope", true),
        ("request.scope.exists(s, s.startsWith('secrets.'))", true),
        ("request.scope.all(s, s.startsWith('db.'))", false),
        ("request.scope.exists_one(s, s == 'db.read')", true),
        ("size(request.scope) == 2 && request.scope[0] == 'db.read'", true),
        ("request.scope.filter(s, s.endsWith('*')).size() == 1", true),
        ("request.scope.map(s, size(s)) == [7, 9]", true),
        ("request.scope.filter(s, s.size() > 7).all(s, s.contains('*'))", true),
        ("agent.model_name.matches('^gpt-[0-9]+$')", true),
        ("matches(agent.model_name, 'claude')", false),
        ("request.scope.exists(s, s.matches('^db\\\\.'))", true),
        ("now.getHours() >= 9 && now.getHours() < 17", true),
        ("now.getDayOfWeek() == 2", true),
        ("now.getHours('Europe/Berlin') == 16", true),
        ("now.getHours('-05:00') == 10", true),
        ("now < timestamp('2027-01-01T00:00:00Z')", true),
        ("now - timestamp('2026-11-24T15:00:00Z') < duration('5m')", true),
        ("(now + duration('1h')).getHours() == 16", true),
        ("-request.ttl < 0 && 1.5 + 1.5 == 3.0 && double(request.ttl) > 0.5", true),
        ("(request.ttl > 100 ? 'long' : 'short') == 'long'", true),
        ("agent.owner + '/' + agent.name == 'engineering/data-processor'", true),
        ("string(request.ttl) == '300'", true),
        ("agent.metadata.absent == 'x' || true", true),
        ("[].size() == 0 && !('a' in [])", true),
    ] {
        let condition = compile(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(holds(&condition), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_told_at_run_time_is_an_error() {
    for text in [
        "agent.metadata.absent == 'x'",
        "request.scope[9] == 'x'",
        "request.ttl / (request.ttl - 300) == 1",
        "request.ttl % (request.ttl - 300) == 1",
        "9223372036854775807 + request.ttl > 0",
        "-9223372036854775808 - request.ttl > 0",
        "9223372036854775807 * request.ttl > 0",
        "(-9223372036854775808 + (request.ttl - 300)) / (299 - request.ttl) > 0",
        "int(agent.name) == 1",
        "timestamp(agent.name) < now",
        "duration(agent.name) < duration('1s')",
        "timestamp('9999-12-31T00:00:00Z') + duration('1000h') > now",
    ] {
        let condition = compile(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert!(holds(&condition).is_err(), "{text}: {:?}", holds(&condition));
    }
}

#[test]
fn what_is_not_well_behaved_is_refused_with_its_place() {
    for (text, position, message) in [
        ("", Some((1, 1)), "mismatched input"),
        ("agent.owner ==", Some((1, 15)), "mismatched input"),
        ("agent.owner = 'x'", Some((1, 13)), ""),
        ("agent.owner == 'x", Some((1, 16)), ""),
        ("agnet.owner == 'x'", Some((1, 1)), "unknown name `agnet`"),
        ("agent.ownr == 'x'", Some((1, 6)), "`agent` has no field `ownr`"),
        ("'é' == 'é' &&\n  request.tttl > 1", Some((2, 10)), "no field `tttl`"),
        ("agent == agent", Some((1, 1)), "`agent` is no value"),
        ("agent['name'] == 'x'", Some((1, 1)), "`agent` is no value"),
        ("request.ttl", Some((1, 8)), "comes to a int"),
        ("request.ttl == 'x'", Some((1, 13)), "`==` does not go with int and string"),
        ("request.ttl > 1.5", Some((1, 13)), "`>` does not go with int and double"),
        ("agent.owner && true", Some((1, 13)), "`&&` does not go with string and bool"),
        ("!agent.owner", Some((1, 1)), "`!` does not go with string"),
        ("agent.owner + 1 == 'x'", Some((1, 13)), "`+` does not go with string and int"),
        ("1 in request.scope", Some((1, 3)), "`in` does not go with int and list(string)"),
        ("request.scope < request.scope", Some((1, 15)), "`<` does not go with"),
        ("request.scope['a'] == 'x'", Some((1, 14)), "does not go with list(string) and string"),
        ("agent.owner.size > 1", Some((1, 12)), "a string has no field `size`"),
        ("['a', 1].size() == 2", Some((1, 7)), "a list of string has no place for a int"),
        ("request.ttl ? true : false", Some((1, 13)), "has to be a bool"),
        ("true ? 1 : 'a'", Some((1, 6)), "are of one type"),
        ("agent.owner.lower() == 'x'", Some((1, 18)), "there is no function `lower`"),
        ("size(1) == 1", Some((1, 5)), "`size` does not take int"),
        ("agent.owner.startsWith(1)", Some((1, 23)), "does not take string and int"),
        ("type(agent.owner) == string", Some((1, 5)), "there is no function `type`"),
        ("dyn(1) == 1", Some((1, 4)), "there is no function `dyn`"),
        ("agent.owner == null", Some((1, 16)), "nothing is null here"),
        ("1u == 1u", Some((1, 1)), "without the `u`"),
        ("b'a' == b'a'", Some((1, 1)), "without the `b`"),
        ("{'a': 1}['a'] == 1", Some((1, 1)), "maps cannot be written"),
        ("Foo{a: 1} == Foo{a: 1}", Some((1, 4)), "messages cannot be written"),
        ("agent.?owner == 'x'", Some((1, 6)), "unsupported syntax"),
        ("99999999999999999999 > 1", Some((1, 1)), ""),
        ("agent.owner.matches(agent.name)", Some((1, 20)), "has to be written out"),
        ("agent.owner.matches('(')", Some((1, 20)), "is not a regular expression"),
        ("agent.owner.matches('(a{1000}){1000}')", Some((1, 20)), "too large"),
        ("timestamp('2026-13-01T00:00:00Z') < now", Some((1, 10)), "this is no timestamp"),
        ("duration('soon') < duration('1s')", Some((1, 9)), "this is no duration"),
        ("now.getHours('Mars') == 1", Some((1, 14)), "write out a time zone"),
        ("now.getHours(agent.owner) == 1", Some((1, 19)), "write out a time zone"),
        ("'a'.all(x, true)", Some((1, 1)), "not over a string"),
        ("[1].all(now, true)", Some((1, 8)), "cannot name a loop's variable"),
        ("[1].all(agent, true)", Some((1, 8)), "cannot name a loop's variable"),
        ("[1].all(x, y == 1)", Some((1, 12)), "unknown name `y`"),
        ("[1].all(x, [2].all(y, y == x))", Some((1, 19)), "a loop in a loop"),
        ("has(agent.owner.x)", Some((1, 4)), "has no field `x`"),
    ] {
        let fault = compile(text).expect_err(text);
        assert_eq!(fault.position, position, "{text}: {fault}");
        assert!(fault.message.contains(message), "{text}: {fault}");
    }
}

#[test]
fn length_depth_size_and_cost_are_bounded() {
    let long = format!("agent.owner == '{}'", "x".repeat(limits::CONDITION_MAX_BYTES));
    assert!(compile(&long).expect_err("long").message.contains("at most 1024"));
    for deep in [
        format!("{}true{}", "(".repeat(400), ")".repeat(400)),
        format!("{}1{} == 1", "[".repeat(17), "]".repeat(17)),
        "[".repeat(1_000),
        "{".repeat(1_000),
        "a.b(".repeat(250),
        format!("1{} > 0", "+1".repeat(20)),
        format!("a{}", ".a".repeat(500)),
        format!("{}true", "true?true:".repeat(60)),
        format!("[a]{}", ".map(x,x)".repeat(100)),
    ] {
        let fault = compile(&deep).expect_err(&deep);
        assert!(!fault.message.is_empty(), "{deep}");
    }
    assert!(compile(&format!("{}true", "true&&".repeat(160))).is_ok(), "chains are shallow");
    for (dear, message) in [
        (
            "[agent.description].map(x, x+x+x+x).map(x, x+x+x+x).map(x, x+x+x+x).exists(x, x == '')",
            "can become larger",
        ),
        (
            "agent.description.matches('a') && agent.description.matches('b') \
          && agent.description.matches('c')",
            "steps",
        ),
        ("agent.metadata.exists(k, agent.metadata[k].matches('a.*b.*c.*d'))", "steps"),
    ] {
        let fault = compile(dear).expect_err(dear);
        assert!(fault.message.contains(message), "{dear}: {fault}");
    }
}

/// The same text costs more with a larger automaton, and a small one is not refused.
#[test]
fn a_regular_expression_costs_what_its_automaton_is_large() {
    let steps = |pattern: &str| {
        let text = format!("request.target_service.matches('{pattern}')");
        compile(&text).map(|condition| condition.steps())
    };
    let cheap = steps("^prod-[a-z0-9]+$").expect("a small one");
    let dear = steps("^prod-([a-z0-9]{1,8}-){4}$").expect("a larger one");
    assert!(cheap < 10_000 && dear > 2 * cheap, "{cheap} {dear}");
    for pattern in ["(a?){200}a{200}", "([a-z]{1,30}-){30}", "(\\\\pL{1,10}){5}"] {
        let fault = compile(&format!("agent.description.matches('{pattern}')"));
        let message = fault.expect_err(pattern).message;
        assert!(message.contains("steps") || message.contains("too large"), "{pattern}: {message}");
    }
}

/// What an older build let in stays in force.
#[test]
fn a_condition_that_was_let_in_is_compiled_whatever_it_costs_today() {
    let dear = "agent.description.matches('([a-z]{1,20}-){20}')";
    assert!(compile(dear).expect_err("dear").message.contains("steps"));
    let known = on_parser_stack(|| Condition::compile_known(dear)).expect("no panic");
    assert!(known.expect("known").steps() > limits::CONDITION_STEPS_MAX);
}

/// The dearest regular expressions that are let in take no longer, step for step, than the dearest
/// loop: charged by the size of the automaton, an attacker gains nothing by a pattern. Measured in
/// one run, each the best of several.
#[test]
fn a_step_of_matching_takes_no_longer_than_a_step_of_a_loop() {
    let agent = Agent { description: Some("a".repeat(limits::DESCRIPTION_MAX_CHARS)), ..agent() };
    let scope = vec!["x".repeat(limits::SCOPE_MAX_BYTES); limits::SCOPES_MAX];
    let question = Question {
        agent: &agent,
        scope: &scope,
        ttl_s: 300,
        target_service: "any",
        intent: None,
        signed: false,
        now_ms: NOW_MS,
    };
    let per_step = |text: &str| {
        let condition = compile(text).expect(text);
        let patterns = Arc::new(condition.patterns().clone());
        let best = (0..20).map(|_| {
            let facts = Facts::new(&question, &patterns);
            let started = Instant::now();
            assert!(condition.holds(&facts).is_ok(), "{text}");
            started.elapsed().as_nanos()
        });
        best.min().unwrap_or_default() as f64 / condition.steps() as f64
    };
    let of_a_loop = per_step("request.scope.all(s, s != 'ab' && s != 'cd' && s != 'ef')");
    for pattern in ["(a?){8}a{8}b", "(a|aa)+$", "a.*a.*a.*b"] {
        let of_matching = per_step(&format!("agent.description.matches('{pattern}')"));
        assert!(of_matching < 10.0 * of_a_loop, "{pattern}: {of_matching} ns, {of_a_loop} ns");
    }
}

/// The dearest that is let in, evaluated: a step is a small thing.
#[test]
fn the_dearest_condition_is_evaluated_in_a_moment() {
    let terms = "s.contains('ab') || ".repeat(13);
    let condition = compile(&format!("request.scope.all(s, {terms} true)")).expect("let in");
    assert!(condition.steps() > limits::CONDITION_STEPS_MAX / 10, "{}", condition.steps());
    let agent = agent();
    let scope = vec!["x".repeat(limits::SCOPE_MAX_BYTES); limits::SCOPES_MAX];
    let question = Question {
        agent: &agent,
        scope: &scope,
        ttl_s: 300,
        target_service: "any",
        intent: None,
        signed: false,
        now_ms: NOW_MS,
    };
    let facts = Facts::new(&question, &Arc::default());
    let started = Instant::now();
    assert_eq!(condition.holds(&facts), Ok(true));
    assert!(started.elapsed().as_millis() < 2_000, "{:?}", started.elapsed());
}

/// Pieces from which nearly valid expressions are put together.
const PIECES: &[&str] = &[
    "agent",
    "request",
    "now",
    ".",
    "owner",
    "scope",
    "ttl",
    "metadata",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    "||",
    " in ",
    "'a'",
    "\"b\"",
    "'",
    "\"\"\"",
    "r'",
    "b'",
    "1",
    "0",
    "9223372036854775807",
    "1.5",
    "1e999",
    "1u",
    "0x1F",
    "true",
    "false",
    "null",
    "s",
    "has",
    "all",
    "exists",
    "map",
    "filter",
    "size",
    "matches",
    "startsWith",
    "timestamp",
    "duration",
    "getHours",
    "int",
    "string",
    "\\",
    "`",
    "é",
    "\n",
    "//",
    " ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_panics_or_runs_away(text in ".{0,80}") {
        let _ = compile(&text);
    }

    #[test]
    fn nothing_that_is_let_in_panics_or_comes_to_anything_but_a_bool(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24),
    ) {
        if let Ok(condition) = compile(&pieces.concat()) {
            prop_assert!(condition.steps() <= limits::CONDITION_STEPS_MAX);
            if let Err(why) = holds(&condition) {
                prop_assert!(!why.starts_with("came to"), "{}: {}", pieces.concat(), why);
                prop_assert!(why != "could not be evaluated", "{}", pieces.concat());
            }
        }
    }
}

/// Well-typed expressions over the operators, so that more than a few random texts are let in.
fn boolean() -> impl Strategy<Value = String> {
    let number = prop::sample::select(
        &["request.ttl", "0", "1", "-1", "9223372036854775807", "size(agent.owner)"][..],
    );
    let text = prop::sample::select(
        &["agent.owner", "'a'", "agent.metadata.team", "agent.metadata['no']", "request.intent"][..],
    );
    let leaf = prop_oneof![
        (number.clone(), prop::sample::select(&["+", "-", "*", "/", "%"][..]), number.clone())
            .prop_map(|(a, o, b)| format!("{a} {o} {b} > 0")),
        (text.clone(), text.clone()).prop_map(|(a, b)| format!("{a} == {b}")),
        (text.clone(), text.clone()).prop_map(|(a, b)| format!("({a} + {b}).contains({b})")),
        text.prop_map(|a| format!("request.scope.exists(s, s == {a})")),
        Just("request.signed".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} ? {b} : !({a}))")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_well_typed_is_let_in_and_evaluates_without_a_panic(text in boolean()) {
        prop_assume!(text.len() <= limits::CONDITION_MAX_BYTES);
        match compile(&text) {
            Ok(condition) => {
                if let Err(why) = holds(&condition) {
                    prop_assert!(!why.starts_with("came to"), "{}: {}", text, why);
                    prop_assert!(why != "could not be evaluated", "{}", text);
                }
            }
            Err(fault) => prop_assert!(
                fault.message.contains("steps") || fault.message.contains("deep"),
                "{}: {}", text, fault
            ),
        }
    }
}
