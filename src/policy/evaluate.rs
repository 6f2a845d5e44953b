//! Deciding: which rules of a tenant's policies match a token request, and what that comes to.
//!
//! Rules stand in one order: the higher priority first, on a tie deny, require_approval, throttle,
//! allow, then the older policy and the earlier rule. The first that matches decides, except that a
//! throttle passes what it lets through to the rules below it; so a verdict is the throttles that
//! match above the first other rule that does, and that rule, or the default. A verdict holds a
//! bounded number of throttles: a request that more of them match is denied.
//!
//! Refusing rules match what might be meant, granting rules only what surely is: a rule other than
//! `allow` matches when a requested scope or target overlaps a listed one, and when its condition
//! cannot be told; `allow` has to cover all of the request. Must not know counters or the clock.

use std::sync::Arc;

use super::{Condition, Facts, Glob, Patterns, condition};
use crate::{
    domain::{
        Agent, AgentId, DefaultEffect, Effect, End, Policy, PolicyId, Rule, RuleRef, Verdict,
    },
    limits,
};

/// The target that fits every service.
const ANY_TARGET: &str = "any";

/// A token request, as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub agent: &'a Agent,
    /// The scopes asked for.
    pub scope: &'a [String],
    /// The life asked for. Seconds.
    pub ttl_s: u64,
    /// Where the token is to be used; `any` is everywhere.
    pub target_service: &'a str,
    /// What it is for.
    pub intent: Option<&'a str>,
    /// Whether the agent signed the request.
    pub signed: bool,
    /// The time. Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// Which.
    pub at: RuleRef,
    /// Its policy's priority.
    pub priority: u16,
    /// What it does.
    pub effect: Effect,
    /// Why its condition could not be told, when it matched for that.
    pub error: Option<String>,
}

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The decision, apart from counting.
    pub verdict: Verdict,
    /// Every rule that matched, in the order in which they are asked.
    pub matched: Vec<Matched>,
}

#[derive(Debug)]
enum When {
    Always,
    If(Condition),
    /// What was let in once and is not understood any more.
    Unknown,
}

#[derive(Debug)]
struct CompiledRule {
    at: RuleRef,
    priority: u16,
    effect: Effect,
    scopes: Option<Vec<Glob>>,
    agents: Option<Vec<AgentPattern>>,
    target_services: Option<Vec<Glob>>,
    owners: Option<Vec<Glob>>,
    model_providers: Option<Vec<Glob>>,
    model_names: Option<Vec<Glob>>,
    frameworks: Option<Vec<Glob>>,
    signed: Option<bool>,
    when: When,
}

/// An agent's id written out means that agent and not one that took the id for its name.
#[derive(Debug)]
enum AgentPattern {
    Id(AgentId),
    Glob(Glob),
}

/// A policy, ready to be evaluated. Clones share it.
#[derive(Debug, Clone)]
pub struct CompiledPolicy {
    source: Arc<Policy>,
    rules: Vec<Arc<CompiledRule>>,
}

impl CompiledPolicy {
    /// Compiles `policy`. Starts a thread for its conditions, if it has any.
    pub fn new(policy: &Arc<Policy>) -> Self {
        let compile = || {
            policy
                .rules
                .iter()
                .enumerate()
                .map(|(place, rule)| Arc::new(CompiledRule::new(policy, place, rule)))
        };
        let rules = if policy.rules.iter().any(|rule| rule.condition.is_some()) {
            condition::on_parser_stack(|| compile().collect())
        } else {
            Some(compile().collect())
        };
        let rules = rules.unwrap_or_else(|| {
            let unknown = policy.rules.iter().enumerate();
            unknown
                .map(|(place, rule)| Arc::new(CompiledRule::unknown(policy, place, rule)))
                .collect()
        });
        Self { source: Arc::clone(policy), rules }
    }

    /// What it was compiled from.
    pub fn source(&self) -> &Arc<Policy> {
        &self.source
    }
}

/// All active policies of a tenant, ready to be evaluated.
#[derive(Debug, Default)]
pub struct PolicySet {
    rules: Vec<Arc<CompiledRule>>,
    patterns: Arc<Patterns>,
}

impl PolicySet {
    /// Puts `policies` together. Inactive ones do not count.
    pub fn new<'a>(policies: impl IntoIterator<Item = &'a CompiledPolicy>) -> Self {
        let mut rules: Vec<Arc<CompiledRule>> = policies
            .into_iter()
            .filter(|policy| policy.source.is_active)
            .flat_map(|policy| policy.rules.iter().map(Arc::clone))
            .collect();
        rules.sort_by_key(|rule| (u16::MAX - rule.priority, rule.effect.rank(), rule.at));
        let mut patterns = Patterns::new();
        for rule in &rules {
            if let When::If(condition) = &rule.when {
                patterns.extend(condition.patterns().clone());
            }
        }
        Self { rules, patterns: Arc::new(patterns) }
    }

    /// What the policies say of `question`; `default` is for what no rule matches.
    pub fn decide(&self, question: &Question<'_>, default: DefaultEffect) -> Verdict {
        let mut throttles = Vec::new();
        for matched in self.matches(question) {
            match end(&matched) {
                // Counting more than so many would take too long; not counting is no choice.
                None if throttles.len() == limits::THROTTLES_PER_VERDICT_MAX => {
                    return Verdict { throttles, end: End::Deny(Some(matched.at)) };
                }
                None => throttles.push(matched.at),
                Some(end) => return Verdict { throttles, end },
            }
        }
        Verdict { throttles, end: default_end(default) }
    }

    /// The same with every rule that matches, also below the one that decides.
    pub fn explain(&self, question: &Question<'_>, default: DefaultEffect) -> Explanation {
        Explanation {
            verdict: self.decide(question, default),
            matched: self.matches(question).collect(),
        }
    }

    fn matches<'a>(&'a self, question: &'a Question<'a>) -> impl Iterator<Item = Matched> + 'a {
        let mut facts = None;
        self.rules.iter().filter_map(move |rule| {
            if !rule.fields_match(question) {
                return None;
            }
            let error = match &rule.when {
                When::Always => None,
                When::Unknown => Some("the condition is not understood".to_owned()),
                When::If(condition) => {
                    let facts = facts.get_or_insert_with(|| Facts::new(question, &self.patterns));
                    match condition.holds(facts) {
                        Ok(true) => None,
                        Ok(false) => return None,
                        Err(why) => Some(why),
                    }
                }
            };
            if error.is_some() && matches!(rule.effect, Effect::Allow(_)) {
                return None;
            }
            Some(Matched { at: rule.at, priority: rule.priority, effect: rule.effect, error })
        })
    }
}

fn end(matched: &Matched) -> Option<End> {
    match matched.effect {
        Effect::Allow(_) => Some(End::Allow(Some(matched.at))),
        Effect::Deny(()) => Some(End::Deny(Some(matched.at))),
        Effect::RequireApproval(_) => Some(End::RequireApproval(matched.at)),
        Effect::Throttle(_) => None,
    }
}

fn default_end(default: DefaultEffect) -> End {
    match default {
        DefaultEffect::Allow => End::Allow(None),
        DefaultEffect::Deny => End::Deny(None),
    }
}

fn globs(list: Option<&Vec<String>>) -> Option<Vec<Glob>> {
    list.map(|list| list.iter().map(|pattern| Glob::new(pattern)).collect())
}

/// Whether a list that was left out, or one of its patterns, matches.
fn any<P>(list: Option<&Vec<P>>, matches: impl Fn(&P) -> bool) -> bool {
    list.is_none_or(|list| list.iter().any(matches))
}

impl CompiledRule {
    fn new(policy: &Policy, place: usize, rule: &Rule) -> Self {
        let when = match &rule.condition {
            None => When::Always,
            Some(text) => Condition::compile_known(text).map_or(When::Unknown, When::If),
        };
        Self { when, ..Self::unknown(policy, place, rule) }
    }

    /// The rule with a condition that cannot be told.
    fn unknown(policy: &Policy, place: usize, rule: &Rule) -> Self {
        let agent_pattern = |text: &String| {
            text.parse().map_or_else(|_| AgentPattern::Glob(Glob::new(text)), AgentPattern::Id)
        };
        Self {
            at: RuleRef { policy: policy.id, rule: u16::try_from(place).unwrap_or(u16::MAX) },
            priority: policy.priority,
            effect: rule.effect,
            scopes: globs(rule.scopes.as_ref()),
            agents: rule.agents.as_ref().map(|list| list.iter().map(agent_pattern).collect()),
            owners: globs(rule.owners.as_ref()),
            target_services: globs(rule.target_services.as_ref()),
            model_providers: globs(rule.model_providers.as_ref()),
            model_names: globs(rule.model_names.as_ref()),
            frameworks: globs(rule.frameworks.as_ref()),
            signed: rule.signed,
            when: When::Unknown,
        }
    }

    fn fields_match(&self, question: &Question<'_>) -> bool {
        let agent = question.agent;
        let text =
            |list: &Option<Vec<Glob>>, value: &str| any(list.as_ref(), |glob| glob.matches(value));
        self.signed.is_none_or(|signed| signed == question.signed)
            && text(&self.owners, &agent.owner)
            && text(&self.model_providers, agent.model_provider.as_deref().unwrap_or_default())
            && text(&self.model_names, agent.model_name.as_deref().unwrap_or_default())
            && text(&self.frameworks, agent.framework.as_deref().unwrap_or_default())
            && any(self.agents.as_ref(), |pattern| pattern.matches(agent))
            && match self.effect {
                Effect::Allow(allow) => {
                    allow.max_ttl_s.is_none_or(|most| question.ttl_s <= most)
                        && self.covers(question)
                }
                Effect::Deny(()) | Effect::Throttle(_) | Effect::RequireApproval(_) => {
                    self.overlaps(question)
                }
            }
    }

    fn covers(&self, question: &Question<'_>) -> bool {
        question
            .scope
            .iter()
            .all(|scope| any(self.scopes.as_ref(), |glob| glob.covers_scope(scope)))
            && any(self.target_services.as_ref(), |glob| match question.target_service {
                ANY_TARGET => glob.is_everything() || glob.is_exactly(ANY_TARGET),
                target => glob.matches(target),
            })
    }

    /// A token for any target is one for every listed target too.
    fn overlaps(&self, question: &Question<'_>) -> bool {
        let scopes = self.scopes.as_ref();
        any(scopes, |glob| question.scope.iter().any(|scope| glob.overlaps_scope(scope)))
            && any(self.target_services.as_ref(), |glob| {
                question.target_service == ANY_TARGET || glob.matches(question.target_service)
            })
    }
}

impl AgentPattern {
    fn matches(&self, agent: &Agent) -> bool {
        match self {
            Self::Id(id) => *id == agent.id,
            Self::Glob(glob) => glob.matches(&agent.name) || glob.matches(&agent.id.to_string()),
        }
    }
}

impl Explanation {
    /// The policy that decided; `None` when it was the default.
    pub fn policy(&self) -> Option<PolicyId> {
        match self.verdict.end {
            End::Allow(rule) | End::Deny(rule) => rule.map(|rule| rule.policy),
            End::RequireApproval(rule) => Some(rule.policy),
        }
    }
}

#[cfg(test)]
mod tests;
