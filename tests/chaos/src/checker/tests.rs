//! Seeded histories: each bad one breaks one rule and is caught, each good one passes.

use super::*;

const MS: u64 = 1_000_000;

fn span(from_ms: u64, to_ms: u64) -> Span {
    Span { from: from_ms * MS, to: to_ms * MS }
}

/// A history of one agent and one token, 0, that were there from the start, and what follows.
fn history(events: Vec<Event>) -> Vec<Event> {
    let token = Credential::Token { agent: 7, signed_by: 3 };
    let mut all = vec![
        Event::Begun { seed: 1, lease_ms: 2_000, again: String::new() },
        made(7),
        Event::Issued {
            node: 1,
            span: span(10, 20),
            outcome: Outcome::Done,
            credential: Some((0, token)),
        },
    ];
    all.extend(events);
    all
}

/// The same, with an end at which two nodes say `said` of the token and show the agent so.
fn ended(events: Vec<Event>, said: Said, shown: Shown) -> Vec<Event> {
    let mut all = history(events);
    all.push(Event::Final { at: 100_000 * MS, nodes: vec![1, 2] });
    for node in [1, 2] {
        all.push(verified(node, 100_001, 100_002, said));
        all.push(Event::AgentSeen { node, agent: 7, shown });
        all.push(chain(node, "aa"));
    }
    all.push(Event::Export { chain: "live".into(), accepted: true, missing: Vec::new() });
    all
}

fn made(agent: u32) -> Event {
    Event::AgentMade { node: 1, span: span(0, 5), outcome: Outcome::Done, agent: Some(agent) }
}

fn chain(node: u64, head: &str) -> Event {
    Event::Chain { node, chain: "live".into(), ok: true, length: 2, head: head.into() }
}

fn verified(node: u64, from: u64, to: u64, said: Said) -> Event {
    let said = said.letter().to_string();
    Event::Verified { node, span: span(from, to), credentials: vec![0], said }
}

fn revoked(from: u64, to: u64, outcome: Outcome, target: Target) -> Event {
    Event::Revoked { node: 1, span: span(from, to), outcome, target }
}

const TOKEN: Target = Target::Credential(0);

#[track_caller]
fn expect(history: &[Event], rules: &[Rule]) {
    let verdict = check(history);
    let broken: Vec<_> = verdict.violations.keys().copied().collect();
    assert_eq!(broken, rules, "{:#?}", verdict.described);
}

#[test]
fn a_history_that_keeps_the_promise_passes() {
    let good = ended(
        vec![
            verified(2, 21, 22, Said::Valid),
            revoked(100, 200, Outcome::Done, TOKEN),
            // Both overlap the revoke and may go either way.
            verified(1, 99, 150, Said::Dead),
            verified(2, 150, 201, Said::Valid),
            verified(2, 201, 202, Said::Refused),
            verified(1, 203, 204, Said::Nothing),
            verified(1, 205, 206, Said::Dead),
        ],
        Said::Dead,
        Shown::Active,
    );
    expect(&good, &[]);
    let verdict = check(&good);
    assert_eq!(verdict.verified, Count { done: 6, refused: 1, unknown: 1 });
    assert_eq!(verdict.verified_valid, 2);
    assert_eq!(verdict.acknowledged_writes(), 3);
    assert_eq!(verdict.certainly_dead, 1);
    assert_eq!(verdict.last_looks, 4);
}

#[test]
fn valid_after_an_acknowledged_revoke_is_caught_whatever_was_revoked() {
    let targets = [TOKEN, Target::AgentTokens(7), Target::Agent(7), Target::SigningKey(3)];
    for target in targets {
        let revoke = revoked(100, 200, Outcome::Done, target);
        let shown = if target == Target::Agent(7) { Shown::Revoked } else { Shown::Active };
        let late = vec![revoke.clone(), verified(2, 201, 202, Said::Valid)];
        expect(&ended(late, Said::Dead, shown), &[Rule::ValidAfterRevoke]);
        let overlapping = vec![revoke, verified(2, 200, 202, Said::Valid)];
        expect(&ended(overlapping, Said::Dead, shown), &[]);
    }
}

#[test]
fn an_acknowledged_revoke_that_is_gone_in_the_end_is_caught() {
    let revoke = vec![revoked(100, 200, Outcome::Done, TOKEN)];
    expect(&ended(revoke, Said::Valid, Shown::Active), &[Rule::ValidAfterRevoke]);
}

#[test]
fn a_revoke_of_unknown_outcome_may_have_happened_or_not() {
    let revoke = || revoked(100, 200, Outcome::Unknown, TOKEN);
    for said in [Said::Valid, Said::Dead] {
        expect(&ended(vec![revoke(), verified(2, 300, 301, said)], said, Shown::Active), &[]);
    }
    // It may happen as late as it likes.
    let late = vec![revoke(), verified(2, 300, 301, Said::Valid)];
    expect(&ended(late, Said::Dead, Shown::Active), &[]);
}

#[test]
fn what_was_seen_dead_does_not_come_back() {
    let revoke = || revoked(100, 200, Outcome::Unknown, TOKEN);
    let dead = || verified(1, 300, 310, Said::Dead);
    // node, sent at, whether it may say valid
    let rows =
        [(1, 309, true), (1, 311, false), (2, 311, true), (2, 2_409, true), (2, 2_411, false)];
    for (node, from, may) in rows {
        let events = vec![revoke(), dead(), verified(node, from, from + 1, Said::Valid)];
        let rules: &[Rule] = if may { &[] } else { &[Rule::ValidAfterDead] };
        expect(&ended(events, Said::Dead, Shown::Active), rules);
    }
}

#[test]
fn a_live_token_called_dead_or_unknown_is_caught() {
    let rows = [
        // Nothing was revoked.
        vec![verified(2, 30, 31, Said::Dead), verified(1, 40, 41, Said::Valid)],
        vec![verified(2, 30, 31, Said::Wrong), verified(1, 40, 41, Said::Valid)],
    ];
    for events in rows {
        let verdict = check(&ended(events, Said::Valid, Shown::Active));
        assert!(verdict.violations.contains_key(&Rule::LiveRefused), "{:?}", verdict.described);
    }
    let early = vec![verified(2, 30, 99, Said::Dead), revoked(100, 200, Outcome::Done, TOKEN)];
    expect(&ended(early, Said::Dead, Shown::Active), &[Rule::LiveRefused]);
    let refused = vec![revoked(100, 200, Outcome::Refused, TOKEN)];
    expect(&ended(refused, Said::Dead, Shown::Active), &[Rule::LiveRefused]);
}

#[test]
fn an_agents_tokens_die_when_issued_before_and_live_when_issued_after() {
    // revoke from, to, what is said in the end, what that breaks; the token is issued at 10 to 20.
    let rows: [(u64, u64, Said, &[Rule]); 5] = [
        (21, 30, Said::Dead, &[]),
        (21, 30, Said::Valid, &[Rule::ValidAfterRevoke]),
        (1, 9, Said::Valid, &[]),
        (1, 9, Said::Dead, &[Rule::LiveRefused]),
        // At the same time: either.
        (15, 30, Said::Valid, &[]),
    ];
    for (from, to, said, rules) in rows {
        let revoke = revoked(from, to, Outcome::Done, Target::AgentTokens(7));
        expect(&ended(vec![revoke], said, Shown::Active), rules);
    }
}

#[test]
fn an_agent_that_is_lost_or_came_back_is_caught() {
    let revoke = |outcome| vec![revoked(100, 200, outcome, Target::Agent(7))];
    expect(&ended(Vec::new(), Said::Valid, Shown::Missing), &[Rule::WriteLost]);
    expect(&ended(Vec::new(), Said::Valid, Shown::Revoked), &[Rule::WriteLost]);
    expect(&ended(revoke(Outcome::Done), Said::Dead, Shown::Active), &[Rule::WriteLost]);
    expect(&ended(revoke(Outcome::Unknown), Said::Dead, Shown::Revoked), &[]);
    expect(&ended(revoke(Outcome::Refused), Said::Valid, Shown::Revoked), &[Rule::WriteLost]);
}

#[test]
fn audit_chains_that_differ_or_lack_a_write_are_caught() {
    let mut differ = ended(Vec::new(), Said::Valid, Shown::Active);
    differ.push(chain(3, "bb"));
    expect(&differ, &[Rule::Audit]);
    let export = |accepted, missing: &[&str]| {
        let missing = missing.iter().map(|&one| one.to_owned()).collect();
        Event::Export { chain: "live".into(), accepted, missing }
    };
    for (export, rule) in
        [(export(false, &[]), Rule::Audit), (export(true, &["tok_1"]), Rule::WriteLost)]
    {
        let mut bad = ended(Vec::new(), Said::Valid, Shown::Active);
        bad.push(export);
        expect(&bad, &[rule]);
    }
}

#[test]
fn a_history_without_a_last_look_everywhere_is_no_proof() {
    expect(&history(Vec::new()), &[Rule::NotChecked]);
    let mut refused = ended(Vec::new(), Said::Valid, Shown::Active);
    refused.retain(|event| !matches!(event, Event::Verified { node: 2, .. }));
    refused.push(verified(2, 100_001, 100_002, Said::Refused));
    expect(&refused, &[Rule::NotChecked]);
}

#[test]
fn a_cluster_that_stays_unwell_or_talks_nonsense_is_caught() {
    let mut bad = ended(Vec::new(), Said::Valid, Shown::Active);
    bad.push(Event::Unwell { at: 0, why: "no leader".into() });
    bad.push(Event::Unclassifiable { at: 0, node: 1, answer: "500".into() });
    expect(&bad, &[Rule::Unwell, Rule::Unclassifiable]);
}
