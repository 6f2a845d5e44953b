//! Organisations: the tenants. One holds API keys, agents, tokens and an audit chain for each of
//! its environments. Knows nothing of how its keys are made or shown.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    CreateOrganization, Decision, Fact, Kind, Millis, OrgId, Outcome, Refusal, State, Tenant,
    UpdateOrganization, billing, change::set, text,
};
use crate::{codec::stored_tags, limits};

stored_tags! {
    /// What a token request comes to when no policy matches it.
    pub enum DefaultEffect {
        /// Issue.
        1 => Allow = "allow",
        /// Refuse.
        2 => Deny = "deny",
    }
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its id.
    pub id: OrgId,
    /// Its name, for people.
    pub name: String,
    /// What happens to a token request that no policy matches.
    pub default_effect: DefaultEffect,
    /// The name of its plan.
    pub plan: String,
    /// When it was created.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
}

pub(super) fn create(
    state: &State,
    at: Millis,
    new: &CreateOrganization,
) -> Result<Decision, Refusal> {
    text::name("name", &new.name)?;
    if let Some(org) = state.organizations.get(&new.id) {
        let changed_since = org.updated_at != org.created_at;
        let same = org.name == new.name
            && org.default_effect == new.default_effect
            && org.plan == new.plan;
        return if changed_since || same {
            Ok(Decision::unchanged(Outcome::Organization(Arc::clone(org))))
        } else {
            Err(Refusal::IdTaken(Kind::Organization(())))
        };
    }
    if new.id == OrgId::SYSTEM {
        return Err(Refusal::IdTaken(Kind::Organization(())));
    }
    if state.organizations.len() >= limits::ORGANIZATIONS_MAX {
        return Err(Refusal::too_many("organizations", limits::ORGANIZATIONS_MAX as u64));
    }
    let plan = state.offered_plan(&new.plan).ok_or_else(|| billing::unknown(state))?;
    let org = Arc::new(Organization {
        id: new.id,
        name: new.name.clone(),
        default_effect: new.default_effect,
        plan: plan.name.clone(),
        created_at: at,
        updated_at: at,
    });
    Ok(Decision::one(
        Tenant::SYSTEM,
        Fact::OrganizationCreated(Arc::clone(&org)),
        Outcome::Organization(org),
    ))
}

pub(super) fn update(
    state: &State,
    at: Millis,
    change: &UpdateOrganization,
) -> Result<Decision, Refusal> {
    let old =
        state.organizations.get(&change.id).ok_or(Refusal::NotFound(Kind::Organization(())))?;
    let mut new = Organization::clone(old);
    let mut changed = Vec::new();
    if let Some(name) = &change.name {
        text::name("name", name)?;
        set(&mut new.name, name, "name", &mut changed);
    }
    if let Some(effect) = &change.default_effect {
        set(&mut new.default_effect, effect, "default_effect", &mut changed);
    }
    if changed.is_empty() {
        return Ok(Decision::unchanged(Outcome::Organization(Arc::clone(old))));
    }
    new.updated_at = at;
    let org = Arc::new(new);
    Ok(Decision::one(
        Tenant::SYSTEM,
        Fact::OrganizationUpdated(Arc::clone(&org), changed),
        Outcome::Organization(org),
    ))
}

impl State {
    pub(crate) fn put_organization(&mut self, org: Arc<Organization>) {
        *self.organizations_on_plan.entry(org.plan.clone()).or_default() += 1;
        let Some(old) = self.organizations.insert(org.id, org) else { return };
        let on_plan = self.organizations_on_plan.get(&old.plan).copied().unwrap_or(0);
        match on_plan.saturating_sub(1) {
            0 => self.organizations_on_plan.remove(&old.plan),
            left => self.organizations_on_plan.insert(old.plan.clone(), left),
        };
    }

    /// A page of organisations, newest first, and how many there are.
    pub fn organizations_page(&self, offset: usize, limit: usize) -> (Vec<Arc<Organization>>, u64) {
        let page = self.organizations.values().rev().skip(offset).take(limit).cloned().collect();
        (page, self.organizations.len() as u64)
    }
}
