//! Setting up: the first keys of a cluster that has none, made before anybody could ask for them.
//!
//! Nothing here can be repeated from outside: the core takes these commands from a node that is
//! being set up only while there is nothing to take over. Must not know HTTP or how keys are shown.

use std::{sync::Arc, time::Duration};

use crate::{
    actors::{Call, CommandError, Proposals},
    domain::{
        Action, Actor, ApiKeyId, ChangePlan, CreateApiKey, CreateOperatorKey, CreateOrganization,
        DefaultEffect, Environment, OperatorKeyId, OrgId, Organization, Outcome, Permissions, Plan,
    },
    mint,
    secrets::{self, KeyKind, Secret},
    verify::Views,
};

/// How long a fresh node may take until it takes writes.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The keys that a development node was just given. What was made at an earlier start cannot be
/// shown again.
#[derive(Debug)]
pub struct DevKeys {
    /// A live key with every permission.
    pub api_key: Option<Secret>,
    /// A key for tenants and the cluster.
    pub operator_key: Option<Secret>,
}

/// Makes the first operator key, unless there is one.
pub async fn first_operator_key(
    proposals: &Proposals,
    views: &Views,
) -> Result<Option<Secret>, CommandError> {
    if !views.load().state.operator_keys.is_empty() {
        return Ok(None);
    }
    let secret = Secret::mint(KeyKind::Operator);
    let action = Action::CreateOperatorKey(CreateOperatorKey {
        id: OperatorKeyId::from_ulid(mint::ulid()),
        name: "first operator".into(),
        secret_hash: secret.hash(),
        last_four: secret.last_four().into(),
    });
    propose(proposals, action).await?;
    Ok(Some(secret))
}

/// Puts the configured plans into force, unless they are.
pub async fn plans(
    proposals: &Proposals,
    views: &Views,
    plans: &[Plan],
    operator_plans: &[String],
) -> Result<(), CommandError> {
    if !views.load().state.offers(plans) {
        propose(proposals, Action::SetPlans(plans.to_vec())).await?;
    }
    if views.load().state.lacks_operator_plans(operator_plans) {
        propose(proposals, Action::SetOperatorPlans(operator_plans.to_vec())).await?;
    }
    Ok(())
}

/// What a development node is to have.
#[derive(Debug)]
pub struct DevWishes<'a> {
    /// An API key that must work afterwards.
    pub api_key: Option<Secret>,
    /// The plans on offer.
    pub plans: &'a [Plan],
    /// The names of those that only an operator gives an organisation.
    pub operator_plans: &'a [String],
    /// The plan that the organisation must be on afterwards.
    pub plan: Option<&'a str>,
    /// The plan of an organisation that is made, if it does not matter.
    pub default_plan: &'a str,
}

/// Gives a development node an organisation, an API key and an operator key where they are
/// missing.
pub async fn development(
    proposals: &Proposals,
    views: &Views,
    wishes: DevWishes<'_>,
) -> Result<DevKeys, CommandError> {
    let DevWishes { api_key: fixed, plans: offered, operator_plans, plan, default_plan } = wishes;
    plans(proposals, views, offered, operator_plans).await?;
    let operator_key = first_operator_key(proposals, views).await?;
    let existing = views.load().state.organizations.values().next().cloned();
    let fresh = existing.is_none();
    let organization = match existing {
        Some(organization) => organization,
        None => create_organization(proposals, plan.unwrap_or(default_plan)).await?,
    };
    if let Some(plan) = plan.filter(|plan| organization.plan != *plan) {
        let change = ChangePlan { org: organization.id, plan: plan.to_owned() };
        propose(proposals, Action::ChangePlan(change)).await?;
    }
    let api_key = match fixed {
        Some(secret) => {
            if !views.load().state.api_keys_by_hash.contains_key(&secret.hash()) {
                create_api_key(proposals, &organization, &secret, "fixed").await?;
            }
            Some(secret)
        }
        None if fresh => {
            let secret = Secret::mint(KeyKind::ApiLive);
            create_api_key(proposals, &organization, &secret, "development").await?;
            Some(secret)
        }
        None => None,
    };
    Ok(DevKeys { api_key, operator_key })
}

async fn create_organization(
    proposals: &Proposals,
    plan: &str,
) -> Result<Arc<Organization>, CommandError> {
    let action = Action::CreateOrganization(CreateOrganization {
        id: OrgId::from_ulid(mint::ulid()),
        name: "development".into(),
        default_effect: DefaultEffect::Allow,
        plan: plan.into(),
    });
    match propose(proposals, action).await? {
        Outcome::Organization(organization) => Ok(organization),
        other => {
            Err(CommandError::Failed(format!("an organisation was to be made, not {other:?}")))
        }
    }
}

async fn create_api_key(
    proposals: &Proposals,
    organization: &Organization,
    secret: &Secret,
    name: &str,
) -> Result<(), CommandError> {
    let action = Action::CreateApiKey(CreateApiKey {
        id: ApiKeyId::from_ulid(mint::ulid()),
        org: organization.id,
        environment: match secrets::parse(secret.expose()) {
            Ok((KeyKind::ApiTest, _)) => Environment::Test,
            _ => Environment::Live,
        },
        name: name.into(),
        permissions: Permissions::all(),
        secret_hash: secret.hash(),
        last_four: secret.last_four().into(),
        expires_at: None,
    });
    propose(proposals, action).await.map(|_| ())
}

/// A fresh node may need a moment until it leads itself.
async fn propose(proposals: &Proposals, action: Action) -> Result<Outcome, CommandError> {
    let call = Call::new(Actor::Setup(()), OrgId::SYSTEM, format!("setup-{:032x}", mint::ulid()));
    let proposal = proposals.propose(call, action);
    match tokio::time::timeout(READY_WITHIN, proposal).await {
        Ok(done) => done.map(|done| done.value),
        Err(_) => Err(CommandError::NoQuorum),
    }
}
