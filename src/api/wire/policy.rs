//! Policies on the wire.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{description, name, schema, time};
use crate::{
    api::{
        fields::{self, Checked, Fields, FromFields},
        rules,
    },
    domain::{self, CheckedRules, Effect, PolicyId, UpdatePolicy},
    limits, mint,
    policy::RuleDraft,
};

/// One rule of a policy. A list that is left out matches everything; in its entries, `*` stands for
/// any run of characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What the rule does to a request that it matches.
    #[schema(value_type = schema::Effect)]
    pub effect: String,
    /// Scopes. `allow` has to cover every requested one; the others match when one overlaps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ScopePatterns>)]
    pub scopes: Option<Vec<String>>,
    /// Agents, by id or by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Patterns>)]
    pub agents: Option<Vec<String>>,
    /// Owners of agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Patterns>)]
    pub owners: Option<Vec<String>>,
    /// Target services. A request for "any" overlaps every one, and is covered only by "any" or
    /// "*".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Patterns>)]
    pub target_services: Option<Vec<String>>,
    /// Model providers of agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Patterns>)]
    pub model_providers: Option<Vec<String>>,
    /// Model names of agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Patterns>)]
    pub model_names: Option<Vec<String>>,
    /// Frameworks of agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Patterns>)]
    pub frameworks: Option<Vec<String>>,
    /// Of `allow`: a longer ttl is not covered. Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::TtlSeconds>)]
    pub max_ttl: Option<u64>,
    /// Whether the request has to be signed by the agent, or must not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
    /// A CEL expression over `agent`, `request` and `now` that comes to a bool.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Condition>)]
    pub condition: Option<String>,
    /// Of `throttle`: how many tokens a window lets through.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ThrottleLimit>)]
    pub limit: Option<u64>,
    /// Of `throttle`: how long a window is, from its first counted request on. Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::WindowSeconds>)]
    pub window_seconds: Option<u64>,
    /// Of `throttle`: whose tokens are counted together; `agent` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Per>)]
    pub per: Option<String>,
    /// Of `require_approval`: how long the approval waits; an hour if left out. Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::ApprovalTtlSeconds>)]
    pub approval_ttl: Option<u64>,
}

fn patterns(value: Value) -> Checked<Vec<String>> {
    rules::array(1..=limits::PATTERNS_MAX, rules::string)(value)
}

fn seconds(most: u64) -> impl Fn(Value) -> Checked<u64> {
    rules::integer(1..=most, "seconds")
}

impl FromFields for Rule {
    fn read(fields: &mut Fields) -> Option<Self> {
        let effect = fields.required("effect", rules::string);
        Some(Self {
            scopes: fields.optional("scopes", patterns),
            agents: fields.optional("agents", patterns),
            owners: fields.optional("owners", patterns),
            target_services: fields.optional("target_services", patterns),
            model_providers: fields.optional("model_providers", patterns),
            model_names: fields.optional("model_names", patterns),
            frameworks: fields.optional("frameworks", patterns),
            max_ttl: fields.optional("max_ttl", seconds(limits::TTL_MAX_S)),
            signed: fields.optional("signed", rules::boolean),
            condition: fields.optional("condition", rules::string),
            limit: fields.optional("limit", rules::integer(1..=limits::THROTTLE_LIMIT_MAX, "")),
            window_seconds: fields
                .optional("window_seconds", seconds(limits::THROTTLE_WINDOW_MAX_S)),
            per: fields.optional("per", rules::string),
            approval_ttl: fields.optional("approval_ttl", seconds(limits::APPROVAL_TTL_MAX_S)),
            effect: effect?,
        })
    }
}

impl From<Rule> for RuleDraft {
    fn from(rule: Rule) -> Self {
        Self {
            effect: rule.effect,
            scopes: rule.scopes,
            agents: rule.agents,
            owners: rule.owners,
            target_services: rule.target_services,
            model_providers: rule.model_providers,
            model_names: rule.model_names,
            frameworks: rule.frameworks,
            max_ttl: rule.max_ttl,
            signed: rule.signed,
            condition: rule.condition,
            limit: rule.limit,
            window_seconds: rule.window_seconds,
            per: rule.per,
            approval_ttl: rule.approval_ttl,
        }
    }
}

impl From<&domain::Rule> for Rule {
    fn from(rule: &domain::Rule) -> Self {
        let plain = Self {
            effect: rule.effect.as_str().to_owned(),
            scopes: rule.scopes.clone(),
            agents: rule.agents.clone(),
            owners: rule.owners.clone(),
            target_services: rule.target_services.clone(),
            model_providers: rule.model_providers.clone(),
            model_names: rule.model_names.clone(),
            frameworks: rule.frameworks.clone(),
            signed: rule.signed,
            condition: rule.condition.clone(),
            ..Self::default()
        };
        match rule.effect {
            Effect::Allow(allow) => Self { max_ttl: allow.max_ttl_s, ..plain },
            Effect::Deny(()) => plain,
            Effect::Throttle(throttle) => Self {
                limit: Some(throttle.limit),
                window_seconds: Some(throttle.window_s),
                per: Some(throttle.per.as_str().to_owned()),
                ..plain
            },
            Effect::RequireApproval(approval) => {
                Self { approval_ttl: Some(approval.approval_ttl_s), ..plain }
            }
        }
    }
}

fn rules_(value: Value) -> Checked<Vec<Rule>> {
    rules::array(1..=limits::RULES_MAX, fields::object::<Rule>)(value)
}

fn priority(value: Value) -> Checked<u16> {
    let whole = rules::integer(0..=limits::PRIORITY_MAX.into(), "")(value)?;
    u16::try_from(whole).map_err(|_| "is too large".into())
}

/// A new policy.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePolicy {
    /// Policy name.
    #[schema(value_type = schema::Name)]
    pub name: String,
    /// What it is for.
    #[schema(value_type = Option<schema::Description>)]
    pub description: Option<String>,
    /// Higher wins; 100 if left out.
    #[schema(value_type = Option<schema::Priority>)]
    pub priority: Option<u16>,
    /// What it says.
    #[schema(min_items = 1, max_items = 100)]
    pub rules: Vec<Rule>,
    /// Whether it is applied; true if left out.
    pub is_active: Option<bool>,
}

impl FromFields for CreatePolicy {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", name);
        let rules = fields.required("rules", rules_);
        Some(Self {
            description: fields.optional("description", description),
            priority: fields.optional("priority", priority),
            is_active: fields.optional("is_active", rules::boolean),
            name: name?,
            rules: rules?,
        })
    }
}

impl CreatePolicy {
    /// The rules, to be checked.
    pub fn drafts(&self) -> Vec<RuleDraft> {
        self.rules.iter().cloned().map(Into::into).collect()
    }

    /// What the core is asked for.
    pub fn into_action(self, rules: CheckedRules) -> domain::Action {
        domain::Action::CreatePolicy(domain::CreatePolicy {
            id: PolicyId::from_ulid(mint::ulid()),
            name: self.name,
            description: self.description,
            priority: self.priority.unwrap_or(limits::PRIORITY_DEFAULT),
            rules,
            is_active: self.is_active.unwrap_or(true),
        })
    }
}

/// Changes to a policy, as a JSON merge patch (RFC 7396): what is left out stays, null clears.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchPolicy {
    /// Policy name.
    #[schema(value_type = schema::Name, required = false)]
    pub name: Option<String>,
    /// What it is for.
    #[schema(value_type = Option<schema::Description>)]
    pub description: Option<Option<String>>,
    /// Higher wins.
    #[schema(value_type = schema::Priority, required = false)]
    pub priority: Option<u16>,
    /// All rules anew.
    #[schema(value_type = Vec<Rule>, required = false, min_items = 1, max_items = 100)]
    pub rules: Option<Vec<Rule>>,
    /// Whether it is applied.
    #[schema(value_type = bool, required = false)]
    pub is_active: Option<bool>,
}

impl FromFields for PatchPolicy {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.changeable("name", name),
            description: fields.clearable("description", description),
            priority: fields.changeable("priority", priority),
            rules: fields.changeable("rules", rules_),
            is_active: fields.changeable("is_active", rules::boolean),
        })
    }
}

impl PatchPolicy {
    /// The new rules, to be checked.
    pub fn drafts(&self) -> Option<Vec<RuleDraft>> {
        Some(self.rules.as_ref()?.iter().cloned().map(Into::into).collect())
    }

    /// What the core is asked for.
    pub fn into_action(self, id: PolicyId, rules: Option<CheckedRules>) -> domain::Action {
        domain::Action::UpdatePolicy(UpdatePolicy {
            id,
            name: self.name,
            description: self.description,
            priority: self.priority,
            rules,
            is_active: self.is_active,
        })
    }
}

/// A policy.
#[derive(Debug, Serialize, ToSchema)]
pub struct Policy {
    /// Its id.
    #[schema(value_type = schema::PolicyId)]
    pub id: String,
    /// Policy name.
    pub name: String,
    /// What it is for.
    #[schema(required)]
    pub description: Option<String>,
    /// Higher wins.
    #[schema(value_type = schema::Priority)]
    pub priority: u16,
    /// What it says.
    pub rules: Vec<Rule>,
    /// Whether it is applied.
    pub is_active: bool,
    /// The environment that it lives in.
    #[schema(value_type = schema::Environment)]
    pub environment: &'static str,
    /// When it was created.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: String,
}

impl From<&domain::Policy> for Policy {
    fn from(policy: &domain::Policy) -> Self {
        Self {
            id: policy.id.to_string(),
            name: policy.name.clone(),
            description: policy.description.clone(),
            priority: policy.priority,
            rules: policy.rules.iter().map(Into::into).collect(),
            is_active: policy.is_active,
            environment: policy.tenant.environment.as_str(),
            created_at: time(policy.created_at),
            updated_at: time(policy.updated_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_is_refused_field_by_field() {
        for (body, said) in [
            (json!({"rules": [{"effect": "deny"}]}), "name is required"),
            (json!({"name": "p"}), "rules is required"),
            (json!({"name": "p", "rules": []}), "rules must have between 1 and 100 items; got 0"),
            (
                json!({"name": "p", "rules": [{"effect": "deny"}, {}]}),
                "rules[1].effect is required",
            ),
            (
                json!({"name": "p", "rules": [{"effect": "deny", "scope": ["a"]}]}),
                "rules[0].scope is not a field of this request",
            ),
            (
                json!({"name": "p", "rules": [{"effect": "deny", "scopes": [1]}]}),
                "rules[0].scopes[0] must be a string; got a number",
            ),
            (
                json!({"name": "p", "rules": [{"effect": "allow", "max_ttl": 0}]}),
                "rules[0].max_ttl must be between 1 and 86400 seconds; got 0",
            ),
            (
                json!({"name": "p", "rules": [{"effect": "deny"}], "priority": 10_001}),
                "priority must be between 0 and 10000; got 10001",
            ),
        ] {
            let errors = fields::read::<CreatePolicy>(body).unwrap_err();
            let errors: Vec<_> =
                errors.iter().map(|error| format!("{} {}", error.field, error.message)).collect();
            assert_eq!(errors, [said]);
        }
    }

    #[test]
    fn a_rule_is_written_as_it_was_read() {
        for rule in [
            json!({"effect": "allow", "scopes": ["db.*"], "max_ttl": 60}),
            json!({"effect": "deny", "owners": ["sales"], "condition": "request.ttl > 60"}),
            json!({"effect": "throttle", "limit": 5, "window_seconds": 60, "per": "owner"}),
            json!({"effect": "require_approval", "signed": false, "approval_ttl": 60}),
        ] {
            let body = json!({"name": "p", "rules": [rule]});
            let new: CreatePolicy = fields::read(body).expect("well-formed");
            let checked = crate::policy::check(&new.drafts()).expect("sound");
            let written = Rule::from(&checked.rules[0]);
            assert_eq!(serde_json::to_value(written).expect("writes"), rule);
        }
    }
}
