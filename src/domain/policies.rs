//! Writing policies: create, change, activate, delete.
//!
//! A tenant's policies have an epoch that moves with every change of them and of the
//! organisation's default, and never by counting; a verdict says which epoch it was made from. What
//! rules mean was checked before; here their number and size are fenced. Must not know globs or
//! conditions.

use std::sync::Arc;

use super::{
    CheckedRules, CreatePolicy, Decision, Effect, Event, Fact, Hash, Kind, Level, Millis, Outcome,
    Policy, PolicyId, Refusal, Rule, RuleRef, State, Tenant, UpdatePolicy, caller::Caller,
    change::set, text, text::invalid,
};
use crate::{codec, limits};

const KIND: Kind = Kind::Policy(());

pub(super) fn create(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    new: &CreatePolicy,
) -> Result<Decision, Refusal> {
    let tenant = caller.tenant()?;
    let policy = Policy {
        id: new.id,
        tenant,
        name: new.name.clone(),
        description: new.description.clone(),
        priority: new.priority,
        rules: new.rules.rules.clone(),
        steps: new.rules.steps,
        is_active: new.is_active,
        created_at: at,
        updated_at: at,
    };
    check(&policy)?;
    if let Some(known) = state.policies.get(&new.id) {
        return made_before(known, &policy);
    }
    let number = state.policies_by_tenant.get(&tenant).map_or(0, imbl::OrdSet::len);
    if number >= limits::POLICIES_PER_TENANT_MAX {
        return Err(Refusal::too_many(
            "policies in this environment",
            limits::POLICIES_PER_TENANT_MAX as u64,
        ));
    }
    check_size(state, &policy)?;
    check_steps(state, &policy)?;
    let policy = Arc::new(policy);
    Ok(Decision::one(tenant, Fact::PolicyCreated(Arc::clone(&policy)), Outcome::Policy(policy)))
}

/// The answer to a command that is proposed again. Once the policy has been changed, only its
/// tenant can tell.
fn made_before(known: &Arc<Policy>, new: &Policy) -> Result<Decision, Refusal> {
    let as_of_then =
        Policy { created_at: known.created_at, updated_at: known.updated_at, ..new.clone() };
    let changed_since = known.updated_at != known.created_at;
    if known.tenant == new.tenant && (changed_since || **known == as_of_then) {
        return Ok(Decision::unchanged(Outcome::Policy(Arc::clone(known))));
    }
    Err(Refusal::IdTaken(KIND))
}

fn check(policy: &Policy) -> Result<(), Refusal> {
    text::name("name", &policy.name)?;
    text::description("description", policy.description.as_deref())?;
    if policy.priority > limits::PRIORITY_MAX {
        return Err(invalid("priority", format!("must be 0 to {}", limits::PRIORITY_MAX)));
    }
    if policy.rules.is_empty() || policy.rules.len() > limits::RULES_MAX {
        return Err(invalid("rules", format!("must be 1 to {}", limits::RULES_MAX)));
    }
    match policy.rules.iter().position(|rule| !is_bounded(rule)) {
        Some(place) => Err(invalid(&format!("rules[{place}]"), "is larger than a rule may be")),
        None => Ok(()),
    }
}

fn is_bounded(rule: &Rule) -> bool {
    let lists = [
        &rule.scopes,
        &rule.agents,
        &rule.owners,
        &rule.target_services,
        &rule.model_providers,
        &rule.model_names,
        &rule.frameworks,
    ];
    let lists_fit = lists.into_iter().flatten().all(|list| {
        list.len() <= limits::PATTERNS_MAX
            && list.iter().all(|pattern| pattern.len() <= limits::PATTERN_MAX_BYTES)
    });
    let condition = rule.condition.as_ref().map_or(0, String::len);
    lists_fit && condition <= limits::CONDITION_MAX_BYTES
}

/// The whole policy stays within its stored form's bound.
fn check_size(state: &State, policy: &Policy) -> Result<(), Refusal> {
    if state.level < Level::BOUNDED {
        return Ok(());
    }
    match codec::encoded_len(policy) {
        0..=limits::POLICY_MAX_BYTES => Ok(()),
        bytes => Err(invalid(
            "rules",
            format!(
                "would make the policy {bytes} bytes large in its stored form, its name and \
                 description included; at most {} fit",
                limits::POLICY_MAX_BYTES
            ),
        )),
    }
}

/// All active policies together stay within what a decision may cost.
fn check_steps(state: &State, new: &Policy) -> Result<(), Refusal> {
    if !new.is_active {
        return Ok(());
    }
    if state.level >= Level::BOUNDED {
        return check_sum(state, new);
    }
    let others = state
        .policies_of(new.tenant)
        .filter(|policy| policy.is_active && policy.id != new.id)
        .fold(0u64, |sum, policy| sum.saturating_add(policy.steps));
    if others.saturating_add(new.steps) > limits::POLICY_STEPS_PER_TENANT_MAX {
        return Err(Refusal::PoliciesTooExpensive(limits::POLICY_STEPS_PER_TENANT_MAX));
    }
    Ok(())
}

/// The same by the sum that the state keeps.
fn check_sum(state: &State, new: &Policy) -> Result<(), Refusal> {
    let of_all = state.policy_steps.get(&new.tenant).copied().unwrap_or(0);
    let known = state.policies.get(&new.id).map_or(0, |old| active_steps(old));
    let others = of_all.saturating_sub(known);
    match others.saturating_add(active_steps(new)) {
        0..=limits::POLICY_STEPS_PER_TENANT_MAX => Ok(()),
        _ => Err(Refusal::PoliciesTooExpensive(limits::POLICY_STEPS_PER_TENANT_MAX)),
    }
}

/// What a policy adds to its tenant's sum: nothing while it is inactive, else at least what its
/// rules cost by their number.
fn active_steps(policy: &Policy) -> u64 {
    let least = limits::RULE_STEPS.saturating_mul(policy.rules.len() as u64);
    if policy.is_active { policy.steps.max(least) } else { 0 }
}

/// The digest of each rule that is asked for one: computed when the policy is written, so that no
/// token request waits for it.
fn rule_digests(policy: &Policy) -> Arc<[Hash]> {
    let digest = |rule: &Rule| match rule.effect {
        Effect::Throttle(_) | Effect::RequireApproval(_) => rule.digest(),
        Effect::Allow(_) | Effect::Deny(()) => Hash::default(),
    };
    policy.rules.iter().map(digest).collect()
}

/// The policy, if the caller's tenant has it.
fn find<'a>(
    state: &'a State,
    caller: Caller<'_>,
    id: PolicyId,
) -> Result<&'a Arc<Policy>, Refusal> {
    state.policy(caller.tenant()?, id).ok_or(Refusal::NotFound(KIND))
}

pub(super) fn update(
    state: &State,
    at: Millis,
    caller: Caller<'_>,
    change: &UpdatePolicy,
) -> Result<Decision, Refusal> {
    let old = find(state, caller, change.id)?;
    let mut policy = Policy::clone(old);
    let changed = change_fields(&mut policy, change);
    let is_active = change.is_active.unwrap_or(policy.is_active);
    let switched = is_active != policy.is_active;
    let mut facts = Vec::new();
    if !changed.is_empty() {
        check_size(state, &policy)?;
        policy.updated_at = at;
        facts.push(Fact::PolicyUpdated(Arc::new(policy.clone()), changed));
    }
    if switched {
        policy.is_active = is_active;
        policy.updated_at = at;
        let now = Arc::new(policy.clone());
        facts.push(match is_active {
            true => Fact::PolicyActivated(now),
            false => Fact::PolicyDeactivated(now),
        });
    }
    check(&policy)?;
    check_steps(state, &policy)?;
    let chain = policy.tenant;
    Ok(Decision {
        events: facts.into_iter().map(|fact| Event { chain, fact }).collect(),
        outcome: Outcome::Policy(Arc::new(policy)),
    })
}

fn change_fields(policy: &mut Policy, change: &UpdatePolicy) -> Vec<&'static str> {
    let mut changed = Vec::new();
    if let Some(value) = &change.name {
        set(&mut policy.name, value, "name", &mut changed);
    }
    if let Some(value) = &change.description {
        set(&mut policy.description, value, "description", &mut changed);
    }
    if let Some(value) = &change.priority {
        set(&mut policy.priority, value, "priority", &mut changed);
    }
    if let Some(CheckedRules { rules, steps }) = &change.rules {
        set(&mut policy.rules, rules, "rules", &mut changed);
        policy.steps = *steps;
    }
    changed
}

pub(super) fn delete(state: &State, caller: Caller<'_>, id: PolicyId) -> Result<Decision, Refusal> {
    let policy = find(state, caller, id)?;
    let fact = Fact::PolicyDeleted(match check_size(state, policy) {
        Ok(()) => Arc::clone(policy),
        // One of before the bound: it must go, so the event leaves out what is too large to tell.
        Err(_) => Arc::new(Policy { rules: Vec::new(), ..Policy::clone(policy) }),
    });
    Ok(Decision::one(policy.tenant, fact, Outcome::Deleted(())))
}

impl State {
    pub(crate) fn put_policy(&mut self, policy: Arc<Policy>) {
        let old = self.policies.get(&policy.id).cloned();
        if old.as_ref().is_none_or(|old| old.rules != policy.rules) {
            self.rule_digests.insert(policy.id, rule_digests(&policy));
        }
        self.item_bytes.replace(policy.tenant.org, old.as_deref(), Some(&*policy));
        if old.is_none() {
            self.adopt_windows(policy.tenant, policy.id);
        }
        let before = old.as_deref().map_or(0, active_steps);
        self.move_policy_steps(policy.tenant, before, active_steps(&policy));
        self.policies_by_tenant.entry(policy.tenant).or_default().insert(policy.id);
        self.policies.insert(policy.id, policy);
    }

    pub(super) fn drop_policy(&mut self, id: PolicyId) {
        let Some(policy) = self.policies.remove(&id) else { return };
        self.item_bytes.replace(policy.tenant.org, Some(&*policy), None);
        self.orphan_windows(policy.tenant, id);
        self.rule_digests.remove(&id);
        self.move_policy_steps(policy.tenant, active_steps(&policy), 0);
        if let Some(ids) = self.policies_by_tenant.get_mut(&policy.tenant) {
            ids.remove(&id);
            if ids.is_empty() {
                self.policies_by_tenant.remove(&policy.tenant);
            }
        }
    }

    /// One of the tenant's policies adds `now` to the sum of their steps instead of `before`.
    fn move_policy_steps(&mut self, tenant: Tenant, before: u64, now: u64) {
        let sum = self.policy_steps.get(&tenant).copied().unwrap_or(0);
        match sum.saturating_sub(before).saturating_add(now) {
            0 => self.policy_steps.remove(&tenant),
            sum => self.policy_steps.insert(tenant, sum),
        };
    }

    /// Every verdict on a request of `tenant` that was made before is stale.
    pub(super) fn move_policy_epoch(&mut self, tenant: Tenant) {
        let epoch = self.policy_epochs.entry(tenant).or_default();
        *epoch = epoch.saturating_add(1);
    }

    /// The policy, if `tenant` has it.
    pub fn policy(&self, tenant: Tenant, id: PolicyId) -> Option<&Arc<Policy>> {
        self.policies.get(&id).filter(|policy| policy.tenant == tenant)
    }

    /// The policies of `tenant`, the oldest first.
    pub fn policies_of(&self, tenant: Tenant) -> impl DoubleEndedIterator<Item = &Arc<Policy>> {
        let ids = self.policies_by_tenant.get(&tenant).into_iter().flatten();
        ids.filter_map(|id| self.policies.get(id))
    }

    /// A page of a tenant's policies, newest first, and how many there are.
    pub fn policies_page(
        &self,
        tenant: Tenant,
        offset: usize,
        limit: usize,
    ) -> (Vec<Arc<Policy>>, u64) {
        let page = self.policies_of(tenant).rev().skip(offset).take(limit).cloned().collect();
        let total = self.policies_by_tenant.get(&tenant).map_or(0, imbl::OrdSet::len);
        (page, total as u64)
    }

    /// The epoch of a tenant's policies.
    pub fn policy_epoch(&self, tenant: Tenant) -> u64 {
        self.policy_epochs.get(&tenant).copied().unwrap_or(0)
    }

    /// The rule at `place`, if `tenant` has it.
    pub(super) fn rule(&self, tenant: Tenant, place: RuleRef) -> Option<&Rule> {
        self.policy(tenant, place.policy)?.rules.get(usize::from(place.rule))
    }

    /// [`Rule::digest`] of the throttle, or of the rule that asks for an approval, at `place`.
    pub(super) fn rule_digest(&self, place: RuleRef) -> Option<Hash> {
        self.rule_digests.get(&place.policy)?.get(usize::from(place.rule)).copied()
    }
}
