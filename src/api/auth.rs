//! Authority: who calls, and whether they may.
//!
//! Authority is a type. A handler that takes a [`Caller`] of some permission runs only for a live
//! API key that holds it, and one that takes an [`Operator`] only for a live operator key; a
//! handler that takes neither has nobody to act for. A key is looked up in this node's view under
//! the same lease as a token is verified: clock first, then the lease, then the view. Knows
//! nothing of what a handler does.

use std::{marker::PhantomData, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, header, request::Parts},
};

use super::{
    App,
    error::api_key_suspended,
    freshness::{self, unavailable},
    idempotency::Named,
    notes::Notes,
    problem::{Code, Problem},
    rate::{self, KeyOf},
    request::RequestId,
};
use sha2::{Digest, Sha256};

use crate::{
    actors::Call,
    clock,
    domain::{Actor, ApiKey, Environment, Hash, OperatorKey, OrgId, Permission, Tenant},
    limits,
    secrets::{self, KeyKind},
    token,
    verify::View,
};

/// A permission as a type, or two of them as a pair.
pub trait Requires: Send + Sync + 'static {
    /// The permissions that an API key must hold, all of them.
    const PERMISSIONS: &'static [Permission];
}

/// One permission as a type.
pub trait Names: Send + Sync + 'static {
    /// The permission.
    const PERMISSION: Permission;
}

impl<P: Names> Requires for P {
    const PERMISSIONS: &'static [Permission] = &[P::PERMISSION];
}

impl<A: Names, B: Names> Requires for (A, B) {
    const PERMISSIONS: &'static [Permission] = &[A::PERMISSION, B::PERMISSION];
}

macro_rules! permissions {
    ($($name:ident),+ $(,)?) => {
        /// The permissions as types, for [`Caller`].
        pub mod perm {
            $(
                #[doc = concat!("See [`crate::domain::Permission::", stringify!($name), "`].")]
                #[derive(Debug, Clone, Copy)]
                pub enum $name {}

                impl super::Names for $name {
                    const PERMISSION: super::Permission = super::Permission::$name;
                }
            )+
        }
    };
}

permissions! {
    AgentsRead, AgentsWrite, TokensIssue, TokensRead, TokensRevoke, ApiKeysRead, ApiKeysWrite,
    AuditRead, PoliciesRead, PoliciesWrite, ApprovalsRead, ApprovalsWrite,
    DomainsRead, DomainsWrite,
    BillingRead, BillingWrite,
    WebhooksRead, WebhooksWrite,
}

/// An API key that is alive and holds permission `P`, or both of a pair.
#[derive(Debug)]
pub struct Caller<P> {
    /// The key.
    pub key: Arc<ApiKey>,
    /// The request's id.
    pub request_id: String,
    named: Option<Named>,
    permission: PhantomData<P>,
}

impl<P> Caller<P> {
    /// What the caller sees and changes.
    pub fn tenant(&self) -> Tenant {
        self.key.tenant
    }

    /// The caller's organisation.
    pub fn org(&self) -> OrgId {
        self.key.tenant.org
    }

    /// A call of an actor on the caller's authority.
    pub fn call(&self) -> Call {
        Call::new(Actor::ApiKey(self.key.id), self.org(), self.request_id.clone())
    }

    /// The same, carried out once however often the request is sent with its `Idempotency-Key`.
    pub fn call_once(&self) -> Call {
        Call { once: self.named.as_ref().map(Named::once), ..self.call() }
    }
}

/// An operator key that exists.
#[derive(Debug)]
pub struct Operator {
    /// The key.
    pub key: Arc<OperatorKey>,
    /// The request's id.
    pub request_id: String,
    named: Option<Named>,
}

impl Operator {
    /// A call of an actor on the operator's authority.
    pub fn call(&self) -> Call {
        Call::new(Actor::Operator(self.key.id), OrgId::SYSTEM, self.request_id.clone())
    }

    /// The same, carried out once however often the request is sent with its `Idempotency-Key`.
    pub fn call_once(&self) -> Call {
        Call { once: self.named.as_ref().map(Named::once), ..self.call() }
    }
}

impl<P: Requires> FromRequestParts<App> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let presented = Presented::read(&parts.headers)?;
        let key = match admit(app, &presented, &parts.extensions)? {
            Known::ApiKey(key) => key,
            Known::Operator(_) => {
                return Err(wrong_kind("an API key (rai_pk_…)", "an operator key"));
            }
        };
        if let Some(missing) =
            P::PERMISSIONS.iter().find(|needed| !key.permissions.contains(**needed))
        {
            return Err(lacks(*missing));
        }
        let takes_live = P::PERMISSIONS.iter().any(|permission| permission.takes_a_live_key());
        if takes_live && key.tenant.environment == Environment::Test {
            return Err(wrong_kind("a live API key (rai_pk_live_…)", "a test key"));
        }
        if freshness::wait_for_min_index(app, key.tenant.org, &parts.headers).await? {
            // It may have died while it waited.
            authenticate(app, &presented)?;
        }
        let named = Named::read(parts, &key.id.0, presented.text)?;
        app.key_use.note(key.id, clock::now_ms());
        let request_id = RequestId::of(&parts.extensions);
        Ok(Self { key, request_id, named, permission: PhantomData })
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let presented = Presented::read(&parts.headers)?;
        match admit(app, &presented, &parts.extensions)? {
            Known::Operator(key) => {
                if freshness::wait_for_min_index(app, OrgId::SYSTEM, &parts.headers).await? {
                    authenticate(app, &presented)?;
                }
                let named = Named::read(parts, &key.id.0, presented.text)?;
                Ok(Self { key, request_id: RequestId::of(&parts.extensions), named })
            }
            Known::ApiKey(_) => Err(wrong_kind("an operator key (rai_op_…)", "an API key")),
        }
    }
}

/// The organisation whose live key a request presents, if it presents one; the system's for an
/// operator key. For what is open to all and only shared by who asks.
pub(super) fn organization_of(app: &App, headers: &HeaderMap) -> Option<OrgId> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    let presented = Presented::read(headers).ok()?;
    match authenticate(app, &presented).ok()?.0 {
        Known::ApiKey(key) => Some(key.tenant.org),
        Known::Operator(_) => Some(OrgId::SYSTEM),
    }
}

/// The key that a request presents: spelled as a key is, not yet looked up.
struct Presented<'a> {
    kind: KeyKind,
    hash: Hash,
    text: &'a str,
}

impl<'a> Presented<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().ok_or_else(missing)?;
        if values.next().is_some() {
            return Err(invalid("There is more than one Authorization header. Send one."));
        }
        let (scheme, text) = value
            .to_str()
            .ok()
            .and_then(|value| value.trim().split_once(' '))
            .ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(missing());
        }
        let text = text.trim();
        if token::Prefix::split(text).is_some() {
            return Err(invalid(
                "That is an agent's token, not an API key. A token is what POST \
                 /v1/tokens/verify checks; to call this API, send an API key (rai_pk_…).",
            ));
        }
        // The checksum tells a truncated or mistyped key apart offline.
        let (kind, _) = secrets::parse(text)
            .map_err(|why| invalid(format!("That is not a key as it was given out: {why}.")))?;
        if matches!(kind, KeyKind::AgentLive | KeyKind::AgentTest) {
            return Err(invalid(
                "That is an agent's secret key, with which it signs token requests. To call this \
                 API, send an API key (rai_pk_…).",
            ));
        }
        Ok(Self { kind, hash: Sha256::digest(text).into(), text })
    }
}

/// Kinds of what has a rate.
const OF_API_KEY: u8 = 1;
const OF_OPERATOR_KEY: u8 = 2;
const OF_ORGANIZATION: u8 = 3;

/// A key that exists and is alive.
#[derive(Debug)]
enum Known {
    ApiKey(Arc<ApiKey>),
    Operator(Arc<OperatorKey>),
}

/// First whose key it is, then whether it makes too many requests.
fn admit(app: &App, presented: &Presented<'_>, extensions: &Extensions) -> Result<Known, Problem> {
    let (known, counted, per_second) = authenticate(app, presented)?;
    let of_key = app.key_rates.take(&counted.key, per_second).map_err(rate::too_many_of_key);
    // A key that has to wait takes nothing from the others of its organisation.
    let taken = match (of_key, counted.organization) {
        (Ok(of_key), Some(organization)) => {
            let of_all = app.key_rates.take(&organization, per_second);
            of_all.map(|of_all| of_key.tighter(of_all)).map_err(rate::too_many_of_organization)
        }
        (of_key, _) => of_key,
    };
    let (Ok(standing) | Err((standing, _))) = &taken;
    Notes::of(extensions).note_standing(*standing);
    taken.map(|_| known).map_err(|(_, problem)| problem)
}

/// By what requests are counted: the key, and for an API key all of its organisation's.
struct Counted {
    key: KeyOf,
    organization: Option<KeyOf>,
}

/// The clock first, then the lease, then the view. Also gives by what the key's requests are counted,
/// and how many each may make in a second.
fn authenticate(app: &App, presented: &Presented<'_>) -> Result<(Known, Counted, u32), Problem> {
    let Some(moment) = app.handle.serves_at() else { return Err(unavailable(app)) };
    let view = app.views.load();
    let known = look_up(&view, moment.at_most_ms, presented).ok_or_else(|| {
        invalid(
            "No key like this is alive: it was never made here, or it was deleted, disabled, \
             rotated or ran out.",
        )
    })?;
    let (counted, per_second) = match &known {
        Known::ApiKey(key) if view.state.is_api_key_suspended(key.id) => {
            return Err(api_key_suspended());
        }
        Known::ApiKey(key) => {
            let plan = view.state.plan_of(key.tenant.org);
            let most = limits::REQUESTS_PER_SECOND_MAX;
            let of_key = (OF_API_KEY, key.id.0);
            let of_all = (OF_ORGANIZATION, key.tenant.org.0);
            let counted = Counted { key: of_key, organization: Some(of_all) };
            (counted, plan.map_or(most, |plan| plan.limits.requests_per_second))
        }
        Known::Operator(key) => {
            let counted = Counted { key: (OF_OPERATOR_KEY, key.id.0), organization: None };
            (counted, limits::OPERATOR_REQUESTS_PER_SECOND_MAX)
        }
    };
    Ok((known, counted, per_second))
}

fn look_up(view: &View, now_ms: u64, presented: &Presented<'_>) -> Option<Known> {
    let state = &view.state;
    if presented.kind == KeyKind::Operator {
        return state.operator_by_secret_hash(&presented.hash).cloned().map(Known::Operator);
    }
    let at = now_ms.max(state.clock);
    state.api_key_by_secret_hash(&presented.hash, at).cloned().map(Known::ApiKey)
}

fn missing() -> Problem {
    Problem::new(
        Code::MISSING_API_KEY,
        "Send the header Authorization: Bearer <key>, with an API key (rai_pk_…) or, on the \
         routes for operators, an operator key (rai_op_…).",
    )
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    let challenge = Some("Bearer realm=\"authrai\", error=\"invalid_token\"");
    Problem { challenge, ..Problem::new(Code::INVALID_API_KEY, detail) }
}

fn wrong_kind(wanted: &str, got: &str) -> Problem {
    Problem::new(Code::WRONG_KIND_OF_KEY, format!("This route takes {wanted}; this is {got}."))
}

fn lacks(permission: Permission) -> Problem {
    let permission = permission.as_str();
    Problem::new(
        Code::MISSING_PERMISSION,
        format!("This key does not hold the permission {permission}. Use one that does."),
    )
}
