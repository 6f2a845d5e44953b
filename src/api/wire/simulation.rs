//! Simulated decisions on the wire.

use serde::Serialize;
use utoipa::ToSchema;

use super::{schema, token};
use crate::{
    actors::{Explained, TokenRequest},
    api::{
        fields::{Fields, FromFields},
        rules,
    },
    domain::{AgentId, End, Millis, RuleRef, Tenant},
    limits,
};

/// A token request that is not made.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulate {
    /// ID of the agent that would request the token.
    #[schema(value_type = schema::AgentId)]
    pub agent_id: AgentId,
    /// What the token would allow.
    #[schema(value_type = schema::Scopes)]
    pub scope: Vec<String>,
    /// Time-to-live in seconds; 300 if left out.
    #[schema(value_type = Option<schema::TtlSeconds>)]
    pub ttl: Option<u64>,
    /// Target service identifier; "any", which fits every target, if left out.
    #[schema(value_type = Option<schema::TargetService>)]
    pub target_service: Option<String>,
    /// Human-readable description of the task.
    #[schema(value_type = Option<schema::Intent>)]
    pub intent: Option<String>,
    /// Whether the agent would have signed the request; false if left out.
    pub signed: Option<bool>,
}

impl FromFields for Simulate {
    fn read(fields: &mut Fields) -> Option<Self> {
        let signed = fields.optional("signed", rules::boolean);
        let token::IssueToken { agent_id, scope, ttl, target_service, intent, approval_id } =
            token::IssueToken::read(fields)?;
        if approval_id.is_some() {
            fields.fault("approval_id", "has no part in a simulation: leave it out");
        }
        Some(Self { agent_id, scope, ttl, target_service, intent, signed })
    }
}

impl Simulate {
    /// What the actor is asked.
    pub fn into_request(self, tenant: Tenant) -> TokenRequest {
        TokenRequest {
            tenant,
            agent: self.agent_id,
            scope: self.scope,
            ttl_s: self.ttl.unwrap_or(limits::TTL_DEFAULT_S),
            target_service: self.target_service.unwrap_or_else(|| token::ANY_TARGET.to_owned()),
            intent: self.intent,
            signed: self.signed.unwrap_or(false),
        }
    }
}

/// A rule that matched.
#[derive(Debug, Serialize, ToSchema)]
pub struct MatchedRule {
    /// The policy that it stands in.
    #[schema(value_type = schema::PolicyId)]
    pub policy_id: String,
    /// That policy's name.
    pub policy_name: String,
    /// That policy's priority.
    #[schema(value_type = schema::Priority)]
    pub priority: u16,
    /// The rule's place in the policy, from 0.
    #[schema(maximum = 99)]
    pub rule: u16,
    /// What it does.
    #[schema(value_type = schema::Effect)]
    pub effect: &'static str,
    /// Why its condition could not be told, when it matched for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<String>,
}

/// What a token request would come to now. Nothing was counted, and nothing was changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Simulation {
    /// `throttle` when a throttle that matched has let through as many as it may.
    #[schema(value_type = schema::Effect)]
    pub decision: &'static str,
    /// The policy that decides; null when none matches and the organisation's default does.
    #[schema(value_type = Option<schema::PolicyId>, required)]
    pub policy_id: Option<String>,
    /// The rule of that policy that decides, from 0.
    #[schema(required, maximum = 99)]
    pub rule: Option<u16>,
    /// Every rule that matched, in the order in which they are asked.
    pub matched: Vec<MatchedRule>,
}

impl Simulation {
    /// The decision that `explained` comes to at `at`.
    pub fn new(explained: &Explained, at: Millis) -> Self {
        let state = &explained.view.state;
        let verdict = &explained.explanation.verdict;
        let (decision, rule) = match state.throttled(at, &explained.agent, verdict) {
            Some(by) => ("throttle", Some(by.rule)),
            None => decision(verdict.end),
        };
        let matched = explained.explanation.matched.iter().map(|matched| MatchedRule {
            policy_id: matched.at.policy.to_string(),
            policy_name: state
                .policies
                .get(&matched.at.policy)
                .map(|policy| policy.name.clone())
                .unwrap_or_default(),
            priority: matched.priority,
            rule: matched.at.rule,
            effect: matched.effect.as_str(),
            error: matched.error.clone(),
        });
        Self {
            decision,
            policy_id: rule.map(|rule| rule.policy.to_string()),
            rule: rule.map(|rule| rule.rule),
            matched: matched.collect(),
        }
    }
}

fn decision(end: End) -> (&'static str, Option<RuleRef>) {
    match end {
        End::Allow(rule) => ("allow", rule),
        End::Deny(rule) => ("deny", rule),
        End::RequireApproval(rule) => ("require_approval", Some(rule)),
    }
}
