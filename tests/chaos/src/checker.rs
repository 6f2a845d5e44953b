//! Judges a history: may a system that keeps the promise of `docs/guarantee.md` have answered so?
//!
//! For each credential two times decide. From `certain`, the earliest success of a revoke that
//! covers it, no verification sent later may call it valid. Before `possible`, the earliest moment
//! at which a revoke that may cover it was sent, none may call it dead. What lies between may go
//! either way, but does not come back: once a node has called a credential dead, that node never
//! calls it valid again, and no other does once every lease of before is over. One pass over the
//! revokes and two over the verifications; must not know how a history came about.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use crate::history::{Credential, Event, Outcome, Said, Shown, Span, Target};

/// Most violations of one rule that are described; all are counted.
const DESCRIBED_MAX: u64 = 5;

/// What may not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Valid, though sent after a revoke was acknowledged.
    ValidAfterRevoke,
    /// Valid, though this node had called it dead, or another one longer than a lease ago.
    ValidAfterDead,
    /// Dead, though nothing that was sent by then may have killed it, or refused as never issued.
    LiveRefused,
    /// Something acknowledged is not there in the end.
    WriteLost,
    /// A node never got to say in the end what it holds.
    NotChecked,
    /// Audit chains that differ, are broken, or lack what was acknowledged.
    Audit,
    /// The cluster did not recover.
    Unwell,
    /// An answer outside the contract.
    Unclassifiable,
}

impl Rule {
    pub const ALL: [Self; 8] = [
        Self::ValidAfterRevoke,
        Self::ValidAfterDead,
        Self::LiveRefused,
        Self::WriteLost,
        Self::NotChecked,
        Self::Audit,
        Self::Unwell,
        Self::Unclassifiable,
    ];

    pub const fn describe(self) -> &'static str {
        match self {
            Self::ValidAfterRevoke => "valid after an acknowledged revoke",
            Self::ValidAfterDead => "valid again after it was seen dead",
            Self::LiveRefused => "a live credential called dead or unknown",
            Self::WriteLost => "an acknowledged write lost",
            Self::NotChecked => "not checked in the end",
            Self::Audit => "audit chains that differ, are broken or lack a write",
            Self::Unwell => "the cluster did not recover",
            Self::Unclassifiable => "an answer outside the contract",
        }
    }
}

/// How often something was done, and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub done: u64,
    pub refused: u64,
    /// Writes of unknown outcome; verifications without an answer.
    pub unknown: u64,
}

impl Count {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }
}

/// What the checker found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Credentials that verifications asked about and that were answered, refused, or neither.
    pub verified: Count,
    pub verified_valid: u64,
    pub issues: Count,
    pub agents: Count,
    pub revokes: Count,
    /// Credentials whose revocation was acknowledged.
    pub certainly_dead: u64,
    /// Looks at the end: each is a credential or an agent at one node.
    pub last_looks: u64,
    pub faults: BTreeMap<String, u64>,
    pub violations: BTreeMap<Rule, u64>,
    pub described: Vec<String>,
}

impl Verdict {
    pub fn acknowledged_writes(&self) -> u64 {
        self.issues.done + self.agents.done + self.revokes.done
    }

    pub fn violations(&self) -> u64 {
        self.violations.values().sum()
    }

    fn violation(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        let count = self.violations.entry(rule).or_default();
        *count += 1;
        if *count <= DESCRIBED_MAX {
            self.described.push(format!("{}: {}", rule.describe(), what()));
        }
    }
}

struct Known {
    credential: Credential,
    /// When it was asked for and shown.
    issued: Span,
    /// From when on it is dead for certain.
    certain: u64,
    /// From when on it may be dead.
    possible: u64,
    /// Where it was seen dead, and when first.
    seen_dead: BTreeMap<u64, u64>,
    /// The first of those times.
    first_dead: u64,
    /// Which nodes have said in the end what it is.
    last_looks: BTreeSet<u64>,
}

/// When a target's revokes were sent and, if so, acknowledged.
type Revokes = HashMap<Target, Vec<(Span, Outcome)>>;

/// Judges `history`.
pub fn check(history: &[Event]) -> Verdict {
    let mut verdict = Verdict::default();
    let (mut known, revokes, lease_ns) = gather(history, &mut verdict);
    for (number, credential) in &mut known {
        bound(*number, credential, &revokes);
    }
    verdict.certainly_dead = known.values().filter(|one| one.certain < u64::MAX).count() as u64;
    first_pass(history, &mut known);
    second_pass(history, &known, lease_ns, &mut verdict);
    last_looks(history, &mut known, &revokes, &mut verdict);
    audit(history, &mut verdict);
    verdict
}

/// Counts, and collects what was issued and revoked.
fn gather(history: &[Event], verdict: &mut Verdict) -> (HashMap<u32, Known>, Revokes, u64) {
    let (mut known, mut revokes, mut lease_ns) = (HashMap::new(), Revokes::new(), 0);
    for event in history {
        match event {
            Event::Begun { lease_ms, .. } => lease_ns = lease_ms * 1_000_000,
            Event::Issued { span, outcome, credential, .. } => {
                verdict.issues.add(*outcome);
                if let Some((number, credential)) = *credential {
                    known.insert(number, Known::new(credential, *span));
                }
            }
            Event::AgentMade { outcome, .. } => verdict.agents.add(*outcome),
            Event::Revoked { span, outcome, target, .. } => {
                verdict.revokes.add(*outcome);
                revokes.entry(*target).or_default().push((*span, *outcome));
            }
            Event::Fault { kind, .. } => *verdict.faults.entry(kind.clone()).or_default() += 1,
            Event::Unwell { at, why } => {
                verdict.violation(Rule::Unwell, || format!("at {}: {why}", seconds(*at)));
            }
            Event::Unclassifiable { at, node, answer } => {
                verdict.violation(Rule::Unclassifiable, || {
                    format!("node {node} at {}: {answer}", seconds(*at))
                });
            }
            _ => {}
        }
    }
    (known, revokes, lease_ns)
}

impl Known {
    fn new(credential: Credential, issued: Span) -> Self {
        let (seen_dead, last_looks) = (BTreeMap::new(), BTreeSet::new());
        let never = u64::MAX;
        Self {
            credential,
            issued,
            certain: never,
            possible: never,
            seen_dead,
            first_dead: never,
            last_looks,
        }
    }
}

/// From when on a credential may be dead, and is.
fn bound(number: u32, known: &mut Known, revokes: &Revokes) {
    let mut targets = vec![Target::Credential(number)];
    if let Credential::Token { agent, signed_by } = known.credential {
        targets.extend([
            Target::AgentTokens(agent),
            Target::Agent(agent),
            Target::SigningKey(signed_by),
        ]);
    }
    for target in targets {
        for (revoke, outcome) in revokes.get(&target).into_iter().flatten() {
            // The tokens that an agent has by then are those issued before; all else a revoke
            // names outright. One of unknown outcome may happen at any later time.
            let by_then = matches!(target, Target::AgentTokens(_));
            let covered = !by_then || known.issued.to < revoke.from;
            let spared = by_then && known.issued.from > revoke.to;
            match outcome {
                Outcome::Refused => {}
                Outcome::Done if spared => {}
                Outcome::Done => {
                    known.possible = known.possible.min(revoke.from);
                    if covered {
                        known.certain = known.certain.min(revoke.to);
                    }
                }
                Outcome::Unknown => known.possible = known.possible.min(revoke.from),
            }
        }
    }
}

/// Every single answer of the history.
fn answers(history: &[Event]) -> impl Iterator<Item = (u64, Span, u32, Said)> {
    history
        .iter()
        .filter_map(|event| match event {
            Event::Verified { node, span, credentials, said } => {
                Some((*node, *span, credentials, said))
            }
            _ => None,
        })
        .flat_map(|(node, span, credentials, said)| {
            let said = said.bytes().map(Said::from_letter);
            credentials.iter().zip(said).map(move |(number, said)| (node, span, *number, said))
        })
}

/// Notes who was seen dead.
fn first_pass(history: &[Event], known: &mut HashMap<u32, Known>) {
    for (node, span, number, said) in answers(history) {
        if let (Said::Dead, Some(known)) = (said, known.get_mut(&number)) {
            let seen = known.seen_dead.entry(node).or_insert(u64::MAX);
            *seen = span.to.min(*seen);
            known.first_dead = known.first_dead.min(span.to);
        }
    }
}

/// Judges every answer.
fn second_pass(
    history: &[Event],
    known: &HashMap<u32, Known>,
    lease_ns: u64,
    verdict: &mut Verdict,
) {
    // The longest that a lease of any clock that is 1 % off can last, with what the granter waits.
    let longest_lease = lease_ns / 20 * 21;
    for (node, span, number, said) in answers(history) {
        match said {
            Said::Refused => verdict.verified.refused += 1,
            Said::Nothing => verdict.verified.unknown += 1,
            Said::Valid | Said::Dead | Said::Wrong => verdict.verified.done += 1,
        }
        let Some(known) = known.get(&number) else {
            verdict.violation(Rule::Unclassifiable, || format!("credential {number} is unknown"));
            continue;
        };
        let what = || Described { node, span, number, known, said };
        match said {
            Said::Valid => {
                verdict.verified_valid += 1;
                let here = known.seen_dead.get(&node).is_some_and(|dead| *dead < span.from);
                let anywhere = known.first_dead.saturating_add(longest_lease) < span.from;
                if known.certain < span.from {
                    verdict.violation(Rule::ValidAfterRevoke, || what().to_string());
                } else if here || anywhere {
                    verdict.violation(Rule::ValidAfterDead, || what().to_string());
                }
            }
            Said::Dead if span.to < known.possible => {
                verdict.violation(Rule::LiveRefused, || what().to_string());
            }
            Said::Wrong => verdict.violation(Rule::LiveRefused, || what().to_string()),
            Said::Dead | Said::Refused | Said::Nothing => {}
        }
    }
}

/// What everybody must say in the end: what was acknowledged is there, at every node.
fn last_looks(
    history: &[Event],
    known: &mut HashMap<u32, Known>,
    revokes: &Revokes,
    verdict: &mut Verdict,
) {
    let end = history.iter().find_map(|event| match event {
        Event::Final { at, nodes } => Some((*at, nodes)),
        _ => None,
    });
    let Some((end, nodes)) = end else {
        verdict.violation(Rule::NotChecked, || "the history has no end".into());
        return;
    };
    for (node, span, number, said) in answers(history) {
        if let (true, Some(known)) = (span.from >= end, known.get_mut(&number)) {
            // Whether it was the right thing to say has been judged.
            if matches!(said, Said::Valid | Said::Dead | Said::Wrong) {
                known.last_looks.insert(node);
            }
        }
    }
    for (number, known) in known.iter() {
        for node in nodes {
            if known.last_looks.contains(node) {
                verdict.last_looks += 1;
            } else {
                verdict.violation(Rule::NotChecked, || format!("credential {number} at {node}"));
            }
        }
    }
    agents(history, nodes, revokes, verdict);
}

fn agents(history: &[Event], nodes: &[u64], revokes: &Revokes, verdict: &mut Verdict) {
    let mut seen = HashMap::new();
    for event in history {
        if let Event::AgentSeen { node, agent, shown } = event {
            seen.insert((*agent, *node), *shown);
        }
    }
    let made = history.iter().filter_map(|event| match event {
        Event::AgentMade { agent, .. } => *agent,
        _ => None,
    });
    for agent in made {
        let revokes = revokes.get(&Target::Agent(agent)).into_iter().flatten();
        let outcomes: Vec<_> = revokes.map(|(_, outcome)| *outcome).collect();
        let revoked = outcomes.contains(&Outcome::Done);
        let may_be = revoked || outcomes.contains(&Outcome::Unknown);
        for node in nodes {
            let Some(shown) = seen.get(&(agent, *node)) else {
                verdict.violation(Rule::NotChecked, || format!("agent {agent} at {node}"));
                continue;
            };
            verdict.last_looks += 1;
            let right = match shown {
                Shown::Active => !revoked,
                Shown::Revoked => may_be,
                Shown::Missing => false,
            };
            if !right {
                verdict.violation(Rule::WriteLost, || {
                    format!("agent {agent} is {shown:?} at node {node}, revoked: {outcomes:?}")
                });
            }
        }
    }
}

fn audit(history: &[Event], verdict: &mut Verdict) {
    let mut heads: BTreeMap<&str, BTreeMap<(u64, &str), Vec<u64>>> = BTreeMap::new();
    let mut exported = 0;
    for event in history {
        match event {
            Event::Chain { node, chain, ok, length, head } => {
                if !ok {
                    let broken = || format!("the chain {chain} is broken at node {node}");
                    verdict.violation(Rule::Audit, broken);
                }
                heads.entry(chain).or_default().entry((*length, head)).or_default().push(*node);
            }
            Event::Export { chain, accepted, missing } => {
                exported += 1;
                if !accepted {
                    let refused = || format!("the export of {chain} does not verify");
                    verdict.violation(Rule::Audit, refused);
                }
                for write in missing {
                    let lost = || format!("{write} is not in the audit chain {chain}");
                    verdict.violation(Rule::WriteLost, lost);
                }
            }
            _ => {}
        }
    }
    for (chain, heads) in &heads {
        if heads.len() != 1 {
            verdict.violation(Rule::Audit, || format!("heads of {chain} differ: {heads:?}"));
        }
    }
    if heads.is_empty() || exported == 0 {
        verdict.violation(Rule::NotChecked, || "no audit chain was looked at".into());
    }
}

/// An answer, for people.
struct Described<'a> {
    node: u64,
    span: Span,
    number: u32,
    known: &'a Known,
    said: Said,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, span: Span { from, to }, number, known, said } = self;
        let (from, to) = (seconds(*from), seconds(*to));
        write!(f, "node {node} said {said:?} of {number} ({:?}) ", known.credential)?;
        write!(f, "asked at {from}, answered at {to}; it was issued at ")?;
        write!(f, "{}, may be dead from ", seconds(known.issued.to))?;
        write!(f, "{}, is dead from {}, ", seconds(known.possible), seconds(known.certain))?;
        write!(f, "was first seen dead at {}", seconds(known.first_dead))
    }
}

fn seconds(ns: u64) -> String {
    if ns == u64::MAX {
        return "never".into();
    }
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1_000)
}

#[cfg(test)]
mod tests;
