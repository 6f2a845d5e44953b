//! Organisations on the wire.

use serde::Serialize;
use utoipa::ToSchema;

use super::{billing::plan_name, name, schema, time};
use crate::{
    api::{
        fields::{Fields, FromFields},
        rules,
    },
    domain::{self, Action, DefaultEffect, OrgId, UpdateOrganization},
    mint,
};

const DEFAULT_EFFECTS: &[(&str, DefaultEffect)] =
    &[("allow", DefaultEffect::Allow), ("deny", DefaultEffect::Deny)];

/// A new organisation.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOrganization {
    /// Its name, for people.
    #[schema(value_type = schema::Name)]
    pub name: String,
    /// What happens to a token request that no policy matches; `allow` if left out.
    #[schema(value_type = Option<schema::DefaultEffect>)]
    pub default_effect: Option<DefaultEffect>,
    /// Its plan, one on offer; the one that the configuration names if left out.
    #[schema(value_type = Option<schema::PlanName>)]
    pub plan: Option<String>,
}

impl FromFields for CreateOrganization {
    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", name);
        let default_effect = fields.optional("default_effect", rules::one_of(DEFAULT_EFFECTS));
        let plan = fields.optional("plan", plan_name);
        Some(Self { name: name?, default_effect, plan })
    }
}

impl CreateOrganization {
    /// What the core is asked for. On `default_plan` unless a plan is named.
    pub fn into_action(self, default_plan: &str) -> Action {
        Action::CreateOrganization(domain::CreateOrganization {
            id: OrgId::from_ulid(mint::ulid()),
            name: self.name,
            default_effect: self.default_effect.unwrap_or(DefaultEffect::Allow),
            plan: self.plan.unwrap_or_else(|| default_plan.to_owned()),
        })
    }
}

/// Changes to an organisation, as a JSON merge patch (RFC 7396): what is left out stays.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchOrganization {
    /// Its name, for people.
    #[schema(value_type = schema::Name, required = false)]
    pub name: Option<String>,
    /// What happens to a token request that no policy matches.
    #[schema(value_type = schema::DefaultEffect, required = false)]
    pub default_effect: Option<DefaultEffect>,
    /// Its plan: any on offer, also one that it cannot choose by itself. Changed in a request of
    /// its own.
    #[schema(value_type = schema::PlanName, required = false)]
    pub plan: Option<String>,
}

impl FromFields for PatchOrganization {
    fn read(fields: &mut Fields) -> Option<Self> {
        let patch = Self {
            name: fields.changeable("name", name),
            default_effect: fields.changeable("default_effect", rules::one_of(DEFAULT_EFFECTS)),
            plan: fields.changeable("plan", plan_name),
        };
        if patch.plan.is_some() && (patch.name.is_some() || patch.default_effect.is_some()) {
            fields.fault("plan", "is changed in a request of its own: leave the other fields out");
        }
        Some(patch)
    }
}

impl PatchOrganization {
    /// What the core is asked for.
    pub fn into_action(self, id: OrgId) -> Action {
        match self.plan {
            Some(plan) => Action::ChangePlan(domain::ChangePlan { org: id, plan }),
            None => Action::UpdateOrganization(UpdateOrganization {
                id,
                name: self.name,
                default_effect: self.default_effect,
            }),
        }
    }
}

/// An organisation.
#[derive(Debug, Serialize, ToSchema)]
pub struct Organization {
    /// Its id.
    #[schema(value_type = schema::OrganizationId)]
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// What happens to a token request that no policy matches.
    #[schema(value_type = schema::DefaultEffect)]
    pub default_effect: &'static str,
    /// Its plan.
    #[schema(value_type = schema::PlanName)]
    pub plan: String,
    /// When it was created.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(value_type = schema::Timestamp)]
    pub updated_at: String,
}

impl From<&domain::Organization> for Organization {
    fn from(organization: &domain::Organization) -> Self {
        Self {
            id: organization.id.to_string(),
            name: organization.name.clone(),
            default_effect: organization.default_effect.as_str(),
            plan: organization.plan.clone(),
            created_at: time(organization.created_at),
            updated_at: time(organization.updated_at),
        }
    }
}
