//! Who acts, checked in the core: a command carries the id of the key that asked, and a key that
//! is dead by the time the command is applied decides nothing (the API checked an older state).
//! The one place where an action is mapped to the right that it takes. Must not know what an
//! action does.

use super::{
    Action, Actor, ApiKey, Command, Environment, Level, Millis, OrgId, Permission, Refusal, State,
    Tenant,
};

/// An actor that was found alive and entitled.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caller<'a> {
    /// A tenant's key.
    ApiKey(&'a ApiKey),
    /// An operator.
    Operator,
    /// A node.
    Node(u64),
    /// Whoever sets the cluster up.
    Setup,
}

impl<'a> Caller<'a> {
    /// The tenant whose things the caller may name; only an API key has one.
    pub(super) fn tenant(self) -> Result<Tenant, Refusal> {
        self.api_key().map(|key| key.tenant).ok_or_else(|| forbidden("this takes an API key"))
    }

    /// The caller's API key, if it is one.
    pub(super) fn api_key(self) -> Option<&'a ApiKey> {
        match self {
            Self::ApiKey(key) => Some(key),
            Self::Operator | Self::Node(_) | Self::Setup => None,
        }
    }

    /// Whether the caller may name things of `org`.
    pub(super) fn sees(self, org: OrgId) -> bool {
        self.api_key().is_none_or(|key| key.tenant.org == org)
    }
}

/// Who may take an action.
struct Rule {
    permission: Option<Permission>,
    /// A second permission, with the level from which it is asked for.
    besides: Option<(Permission, Level)>,
    operator: bool,
    node: bool,
    setup: bool,
}

impl Rule {
    const NOBODY: Self =
        Self { permission: None, besides: None, operator: false, node: false, setup: false };

    const fn tenant(permission: Permission) -> Self {
        Self { permission: Some(permission), ..Self::NOBODY }
    }

    const fn of(action: &Action) -> Self {
        use Permission::{
            AgentsWrite, ApiKeysWrite, ApprovalsWrite, AuditRead, BillingWrite, DomainsWrite,
            PoliciesWrite, TokensIssue, TokensRevoke, WebhooksWrite,
        };
        match action {
            Action::CreateOrganization(_) | Action::CreateOperatorKey(_) => {
                Self { operator: true, setup: true, ..Self::NOBODY }
            }
            Action::UpdateOrganization(_)
            | Action::RevokeSigningKey(_)
            | Action::DeleteOperatorKey(_)
            | Action::LiftSuspension(_) => Self { operator: true, ..Self::NOBODY },
            Action::CreateApiKey(_) => {
                Self { operator: true, setup: true, ..Self::tenant(ApiKeysWrite) }
            }
            Action::UpdateApiKey(_) | Action::RotateApiKey(_) | Action::DeleteApiKey(_) => {
                Self { operator: true, ..Self::tenant(ApiKeysWrite) }
            }
            Action::CreateAgent(_)
            | Action::UpdateAgent(_)
            | Action::RotateAgentKey(_)
            | Action::RevokeAgentTokens(_)
            | Action::RevokeAgent(_) => Self::tenant(AgentsWrite),
            Action::IssueToken(_) | Action::DeclineToken(_) => Self::tenant(TokensIssue),
            Action::RevokeToken(_) => Self::tenant(TokensRevoke),
            Action::CreatePolicy(_) | Action::UpdatePolicy(_) | Action::DeletePolicy(_) => {
                Self::tenant(PoliciesWrite)
            }
            Action::Approve(_) | Action::Disapprove(_) => Self::tenant(ApprovalsWrite),
            Action::RetireSigningKey(_) => Self { operator: true, node: true, ..Self::NOBODY },
            Action::RegisterSigningKey(_) | Action::TouchApiKeys(_) | Action::Tick(()) => {
                Self { node: true, ..Self::NOBODY }
            }
            // What an endpoint is sent is the audit log.
            Action::CreateWebhook(_) | Action::UpdateWebhook(_) => {
                Self { besides: Some((AuditRead, Level::BOUNDED)), ..Self::tenant(WebhooksWrite) }
            }
            Action::DeleteWebhook(_)
            | Action::RotateWebhookSecret(_)
            | Action::RetryDelivery(_) => Self::tenant(WebhooksWrite),
            Action::RecordDeliveries(_) => Self { node: true, ..Self::NOBODY },
            Action::CreateDomain(_) | Action::DeleteDomain(_) => Self::tenant(DomainsWrite),
            Action::RecordDomainCheck(_) => Self { node: true, ..Self::tenant(DomainsWrite) },
            Action::SetPlans(_) | Action::SetOperatorPlans(_) => {
                Self { node: true, setup: true, ..Self::NOBODY }
            }
            Action::Restore(_) => Self { setup: true, ..Self::NOBODY },
            Action::ChangePlan(_) => {
                Self { operator: true, setup: true, ..Self::tenant(BillingWrite) }
            }
        }
    }
}

fn forbidden(why: &str) -> Refusal {
    Refusal::Forbidden(why.to_owned())
}

/// Finds out who acts, and whether they may take this action at `at`.
///
/// # Errors
///
/// [`Refusal::CallerUnknown`] when the key is unknown or dead, [`Refusal::CallerSuspended`] when an
/// operator has to look at it first, [`Refusal::Forbidden`] when it is good and lacks the right.
pub(super) fn admit<'a>(
    state: &'a State,
    at: Millis,
    command: &Command,
) -> Result<Caller<'a>, Refusal> {
    let rule = Rule::of(&command.action);
    match command.actor {
        Actor::ApiKey(id) => {
            let key = state
                .api_keys
                .get(&id)
                .filter(|key| state.is_api_key_alive(key, at))
                .ok_or(Refusal::CallerUnknown(()))?;
            if state.is_api_key_suspended(id) {
                return Err(Refusal::CallerSuspended(()));
            }
            let needed = rule.permission.ok_or_else(|| forbidden("an API key cannot do this"))?;
            let besides = rule.besides.filter(|(_, from)| state.level >= *from);
            let all = [Some(needed), besides.map(|(permission, _)| permission)];
            match all.into_iter().flatten().find(|needed| !key.permissions.contains(*needed)) {
                Some(missing) => Err(Refusal::Forbidden(format!(
                    "this takes the permission {}",
                    missing.as_str()
                ))),
                None if needed.takes_a_live_key() && is_bound_test_key(state, key) => {
                    Err(forbidden("this belongs to the whole organization: it takes a live key"))
                }
                None => Ok(Caller::ApiKey(key)),
            }
        }
        Actor::Operator(id) => {
            if !state.operator_keys.contains_key(&id) {
                return Err(Refusal::CallerUnknown(()));
            }
            allowed(rule.operator, Caller::Operator, "an operator key cannot do this")
        }
        Actor::Node(id) => allowed(rule.node, Caller::Node(id), "a node cannot do this"),
        Actor::Setup(()) => allowed(rule.setup, Caller::Setup, "setup cannot do this"),
    }
}

/// Whether the key is of the test environment, from the level at which that matters.
fn is_bound_test_key(state: &State, key: &ApiKey) -> bool {
    state.level >= Level::BOUNDED && key.tenant.environment == Environment::Test
}

fn allowed<'a>(may: bool, caller: Caller<'a>, why: &str) -> Result<Caller<'a>, Refusal> {
    if may { Ok(caller) } else { Err(forbidden(why)) }
}
