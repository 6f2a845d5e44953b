//! Checking a policy that somebody writes: from loose fields to rules, or to everything that is
//! wrong with them, each fault with the name of its field, such as `rules[2].condition`.
//!
//! What passes here can be compiled and evaluated within bounds. Must not know JSON.

use super::{Condition, condition};
use crate::{
    domain::{Allow, CheckedRules, Effect, Per, RequireApproval, Rule, Throttle},
    limits,
};

/// A rule as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleDraft {
    /// `allow`, `deny`, `throttle` or `require_approval`.
    pub effect: String,
    /// Patterns.
    pub scopes: Option<Vec<String>>,
    /// Patterns.
    pub agents: Option<Vec<String>>,
    /// Patterns.
    pub owners: Option<Vec<String>>,
    /// Patterns.
    pub target_services: Option<Vec<String>>,
    /// Patterns.
    pub model_providers: Option<Vec<String>>,
    /// Patterns.
    pub model_names: Option<Vec<String>>,
    /// Patterns.
    pub frameworks: Option<Vec<String>>,
    /// Of `allow`. Seconds.
    pub max_ttl: Option<u64>,
    /// Whether the request has to be signed, or must not be.
    pub signed: Option<bool>,
    /// A CEL expression.
    pub condition: Option<String>,
    /// Of `throttle`.
    pub limit: Option<u64>,
    /// Of `throttle`. Seconds.
    pub window_seconds: Option<u64>,
    /// Of `throttle`: `agent`, `owner` or `organization`.
    pub per: Option<String>,
    /// Of `require_approval`. Seconds.
    pub approval_ttl: Option<u64>,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// The field, for example `rules[2].condition`.
    pub field: String,
    /// What is wrong with it and what to do.
    pub message: String,
}

/// Checks the rules of a policy.
pub fn check(drafts: &[RuleDraft]) -> Result<CheckedRules, Vec<FieldFault>> {
    if drafts.is_empty() || drafts.len() > limits::RULES_MAX {
        return Err(vec![FieldFault {
            field: "rules".to_owned(),
            message: format!("has {} rules; a policy has 1 to {}", drafts.len(), limits::RULES_MAX),
        }]);
    }
    let conditions = compile_all(drafts);
    let mut faults = Faults { all: Vec::new(), rule: 0 };
    let mut rules = Vec::with_capacity(drafts.len());
    let mut steps: u64 = 0;
    for (place, (draft, condition)) in drafts.iter().zip(conditions).enumerate() {
        faults.rule = place;
        match condition {
            Some(Ok(cost)) => steps = steps.saturating_add(cost),
            Some(Err(message)) => faults.add("condition", message),
            None => {}
        }
        check_patterns(draft, &mut faults);
        steps = steps.saturating_add(limits::RULE_STEPS).saturating_add(pattern_steps(draft));
        if let Some(effect) = effect(draft, &mut faults) {
            rules.push(rule(draft, effect));
        }
    }
    if steps > limits::POLICY_STEPS_PER_TENANT_MAX && faults.all.is_empty() {
        let message = format!(
            "can take {steps} steps together, more than {}; use fewer conditions and patterns",
            limits::POLICY_STEPS_PER_TENANT_MAX
        );
        return Err(vec![FieldFault { field: "rules".to_owned(), message }]);
    }
    if !faults.all.is_empty() {
        return Err(faults.all);
    }
    let checked = CheckedRules { rules, steps };
    let bytes = checked.stored_bytes();
    if bytes > limits::POLICY_MAX_BYTES {
        let message = format!(
            "take {bytes} bytes in their stored form, more than the {} of a policy; use fewer or \
             shorter patterns and conditions, or several policies",
            limits::POLICY_MAX_BYTES
        );
        return Err(vec![FieldFault { field: "rules".to_owned(), message }]);
    }
    Ok(checked)
}

struct Faults {
    all: Vec<FieldFault>,
    rule: usize,
}

impl Faults {
    fn add(&mut self, field: &str, message: impl Into<String>) {
        let field = format!("rules[{}].{field}", self.rule);
        self.all.push(FieldFault { field, message: message.into() });
    }
}

/// What each condition costs at most, or what is wrong with it.
fn compile_all(drafts: &[RuleDraft]) -> Vec<Option<Result<u64, String>>> {
    let cost = |text: &String| {
        Condition::compile(text).map(|known| known.steps()).map_err(|fault| fault.to_string())
    };
    let all = || drafts.iter().map(|draft| draft.condition.as_ref().map(cost)).collect();
    condition::on_parser_stack(all).unwrap_or_else(|| {
        // The parser gave up on one of them; which one is not known.
        let fault = || Err("could not be understood; write it more simply".to_owned());
        drafts.iter().map(|draft| draft.condition.as_ref().map(|_| fault())).collect()
    })
}

type PatternList<'a> = (&'static str, Option<&'a Vec<String>>);

fn lists(draft: &RuleDraft) -> [PatternList<'_>; 7] {
    [
        ("scopes", draft.scopes.as_ref()),
        ("agents", draft.agents.as_ref()),
        ("owners", draft.owners.as_ref()),
        ("target_services", draft.target_services.as_ref()),
        ("model_providers", draft.model_providers.as_ref()),
        ("model_names", draft.model_names.as_ref()),
        ("frameworks", draft.frameworks.as_ref()),
    ]
}

fn pattern_steps(draft: &RuleDraft) -> u64 {
    let patterns: usize = lists(draft).iter().filter_map(|(_, list)| *list).map(Vec::len).sum();
    (patterns as u64).saturating_mul(limits::PATTERN_STEPS)
}

fn check_patterns(draft: &RuleDraft, faults: &mut Faults) {
    for (name, list) in lists(draft) {
        let Some(list) = list else { continue };
        if list.is_empty() {
            faults.add(name, "is empty and would match nothing; leave it out to match everything");
        }
        if list.len() > limits::PATTERNS_MAX {
            faults.add(
                name,
                format!("has {} patterns; a list has at most {}", list.len(), limits::PATTERNS_MAX),
            );
        }
        for (place, pattern) in list.iter().enumerate() {
            let wrong = if name == "scopes" { scope_fault(pattern) } else { text_fault(pattern) };
            if let Some(message) = wrong {
                faults.add(&format!("{name}[{place}]"), message);
            }
        }
    }
}

fn text_fault(pattern: &str) -> Option<String> {
    if pattern.len() > limits::PATTERN_MAX_BYTES {
        return Some(format!("is longer than {} bytes", limits::PATTERN_MAX_BYTES));
    }
    pattern.chars().any(char::is_control).then(|| "holds a control character".to_owned())
}

fn scope_fault(pattern: &str) -> Option<String> {
    let known = |c: char| c.is_ascii_alphanumeric() || "_-:.*".contains(c);
    if pattern.is_empty() {
        return Some("is empty; no scope is".to_owned());
    }
    if let Some(strange) = pattern.chars().find(|c| !known(*c)) {
        return Some(format!(
            "holds {strange:?}; a scope has letters, digits, `_`, `-`, `:` and dots, and `*` stands \
             for any run of them"
        ));
    }
    if pattern.len() > limits::SCOPE_MAX_BYTES {
        return Some(format!("is longer than {} bytes", limits::SCOPE_MAX_BYTES));
    }
    None
}

/// What the rule does; fields that belong to another effect are faults.
fn effect(draft: &RuleDraft, faults: &mut Faults) -> Option<Effect> {
    let before = faults.all.len();
    let effect = match draft.effect.as_str() {
        "allow" => Some(Effect::Allow(Allow { max_ttl_s: draft.max_ttl })),
        "deny" => Some(Effect::Deny(())),
        "throttle" => throttle(draft, faults).map(Effect::Throttle),
        "require_approval" => Some(Effect::RequireApproval(RequireApproval {
            approval_ttl_s: draft.approval_ttl.unwrap_or(limits::APPROVAL_TTL_DEFAULT_S),
        })),
        other => {
            faults.add(
                "effect",
                format!("is {other:?}; it is allow, deny, throttle or require_approval"),
            );
            return None;
        }
    };
    within(faults, "max_ttl", draft.max_ttl, limits::TTL_MAX_S);
    within(faults, "approval_ttl", draft.approval_ttl, limits::APPROVAL_TTL_MAX_S);
    for (field, given, owner) in [
        ("max_ttl", draft.max_ttl.is_some(), "allow"),
        ("limit", draft.limit.is_some(), "throttle"),
        ("window_seconds", draft.window_seconds.is_some(), "throttle"),
        ("per", draft.per.is_some(), "throttle"),
        ("approval_ttl", draft.approval_ttl.is_some(), "require_approval"),
    ] {
        if given && draft.effect != owner {
            faults.add(field, format!("belongs to {owner}; this rule is {}", draft.effect));
        }
    }
    effect.filter(|_| faults.all.len() == before)
}

fn throttle(draft: &RuleDraft, faults: &mut Faults) -> Option<Throttle> {
    for (field, value) in [("limit", draft.limit), ("window_seconds", draft.window_seconds)] {
        if value.is_none() {
            faults.add(
                field,
                "is missing; a throttle lets `limit` requests through in each `window_seconds`",
            );
        }
    }
    within(faults, "limit", draft.limit, limits::THROTTLE_LIMIT_MAX);
    within(faults, "window_seconds", draft.window_seconds, limits::THROTTLE_WINDOW_MAX_S);
    let per = match draft.per.as_deref() {
        None | Some("agent") => Per::Agent,
        Some("owner") => Per::Owner,
        Some("organization") => Per::Organization,
        Some(other) => {
            faults.add("per", format!("is {other:?}; it is agent, owner or organization"));
            return None;
        }
    };
    Some(Throttle { limit: draft.limit?, window_s: draft.window_seconds?, per })
}

fn within(faults: &mut Faults, field: &str, value: Option<u64>, most: u64) {
    if value.is_some_and(|value| value == 0 || value > most) {
        faults.add(field, format!("has to be 1 to {most}"));
    }
}

fn rule(draft: &RuleDraft, effect: Effect) -> Rule {
    let draft = draft.clone();
    Rule {
        effect,
        scopes: draft.scopes,
        agents: draft.agents,
        owners: draft.owners,
        target_services: draft.target_services,
        model_providers: draft.model_providers,
        model_names: draft.model_names,
        frameworks: draft.frameworks,
        signed: draft.signed,
        condition: draft.condition,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(effect: &str) -> RuleDraft {
        RuleDraft { effect: effect.into(), ..RuleDraft::default() }
    }

    fn fields(drafts: &[RuleDraft]) -> Vec<String> {
        let faults = check(drafts).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn every_fault_names_its_field() {
        let throttle = RuleDraft { limit: Some(1), window_seconds: Some(60), ..draft("throttle") };
        let list = |n: usize| Some(vec!["x".to_owned(); n]);
        for (rule, expected) in [
            (draft("allow"), vec![]),
            (draft("deny"), vec![]),
            (draft("require_approval"), vec![]),
            (throttle.clone(), vec![]),
            (draft("permit"), vec!["effect"]),
            (draft("throttle"), vec!["limit", "window_seconds"]),
            (RuleDraft { limit: Some(0), ..throttle.clone() }, vec!["limit"]),
            (
                RuleDraft { window_seconds: Some(u64::MAX), ..throttle.clone() },
                vec!["window_seconds"],
            ),
            (RuleDraft { per: Some("team".into()), ..throttle.clone() }, vec!["per"]),
            (RuleDraft { per: Some("owner".into()), ..draft("deny") }, vec!["per"]),
            (RuleDraft { limit: Some(1), ..draft("allow") }, vec!["limit"]),
            (RuleDraft { max_ttl: Some(60), ..draft("allow") }, vec![]),
            (RuleDraft { max_ttl: Some(0), ..draft("allow") }, vec!["max_ttl"]),
            (RuleDraft { max_ttl: Some(86_401), ..draft("allow") }, vec!["max_ttl"]),
            (RuleDraft { max_ttl: Some(60), ..draft("deny") }, vec!["max_ttl"]),
            (RuleDraft { approval_ttl: Some(60), ..draft("require_approval") }, vec![]),
            (RuleDraft { approval_ttl: Some(60), ..draft("deny") }, vec!["approval_ttl"]),
            (RuleDraft { scopes: list(0), ..draft("deny") }, vec!["scopes"]),
            (RuleDraft { owners: list(65), ..draft("deny") }, vec!["owners"]),
            (
                RuleDraft { scopes: Some(vec!["db.*".into(), "a b".into()]), ..draft("deny") },
                vec!["scopes[1]"],
            ),
            (RuleDraft { agents: Some(vec!["a\u{0}".into()]), ..draft("deny") }, vec!["agents[0]"]),
            (
                RuleDraft { frameworks: Some(vec!["x".repeat(201)]), ..draft("deny") },
                vec!["frameworks[0]"],
            ),
            (
                RuleDraft { condition: Some("agent.nmae == 'x'".into()), ..draft("deny") },
                vec!["condition"],
            ),
        ] {
            let expected: Vec<String> =
                expected.iter().map(|field| format!("rules[1].{field}")).collect();
            assert_eq!(fields(&[draft("deny"), rule.clone()]), expected, "{rule:?}");
        }
    }

    #[test]
    fn a_policy_has_1_to_100_rules() {
        assert_eq!(fields(&[]), ["rules"]);
        assert_eq!(fields(&vec![draft("deny"); 100]), Vec::<String>::new());
        assert_eq!(fields(&vec![draft("deny"); 101]), ["rules"]);
    }

    #[test]
    fn a_rule_costs_a_step_and_a_policy_has_a_largest_stored_form() {
        let bare = check(&vec![draft("deny"); 100]).expect("bare rules");
        assert_eq!(bare.steps, 100 * limits::RULE_STEPS);
        let list = |number: usize| Some(vec!["x".repeat(limits::PATTERN_MAX_BYTES); number]);
        let rule = RuleDraft { owners: list(64), ..draft("deny") };
        let fit = limits::POLICY_MAX_BYTES / (64 * (limits::PATTERN_MAX_BYTES + 2));
        assert_eq!(fields(&vec![rule.clone(); fit]), Vec::<String>::new());
        assert_eq!(fields(&vec![rule.clone(); fit + 1]), ["rules"]);
        let faults = check(&vec![rule; fit + 1]).expect_err("too large");
        assert!(faults[0].message.contains("more than the 65536 of a policy"), "{faults:?}");
    }

    #[test]
    fn a_fault_in_a_condition_says_where() {
        let rule = RuleDraft { condition: Some("agent.nmae == 'x'".into()), ..draft("deny") };
        let faults = check(&[rule]).expect_err("no such field");
        assert!(faults[0].message.starts_with("line 1, column 6: `agent` has no field `nmae`"));
    }

    #[test]
    fn all_conditions_together_are_bounded() {
        let dear = "request.scope.all(s, s.contains('a') || s.contains('b') || s.contains('c') \
                    || s.contains('d') || s.contains('e') || s.contains('f') || s.contains('g') \
                    || s.contains('h') || s.contains('i') || s.contains('j') || s.contains('k') \
                    || s.contains('l') || s.contains('m') || s.contains('n') || s.contains('o') \
                    || s.contains('p') || s.contains('q') || s.contains('r') || s.contains('s'))";
        let rule = RuleDraft { condition: Some(dear.into()), ..draft("deny") };
        assert_eq!(fields(std::slice::from_ref(&rule)), Vec::<String>::new());
        assert_eq!(fields(&vec![rule; 100]), ["rules"]);
    }
}
