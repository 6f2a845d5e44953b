//! What handlers have in common: ids in paths, and the form of a write's answer.
//!
//! Knows nothing of any one noun.

use std::{fmt, str::FromStr};

use axum::{
    Json,
    extract::{FromRequestParts, Path},
    http::{HeaderName, HeaderValue, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    error::not_found,
    idempotency::IDEMPOTENT_REPLAYED,
    problem::{Code, Problem},
    wire::Deleted,
};
use crate::{
    actors::Done,
    domain::{
        AgentId, ApiKeyId, ApprovalId, DeliveryId, DomainId, Kind, OperatorKeyId, OrgId, PolicyId,
        SigningKeyId, TokenId, WebhookId,
    },
};

/// The place of a write in the log.
pub static LOG_INDEX: HeaderName = HeaderName::from_static("authrai-log-index");

/// An id of some noun.
pub trait PathId: FromStr + Send {
    /// What it names.
    const KIND: Kind;
}

macro_rules! path_ids {
    ($($id:ident => $kind:ident),+ $(,)?) => {
        $( impl PathId for $id { const KIND: Kind = Kind::$kind(()); } )+
    };
}

path_ids! {
    AgentId => Agent,
    ApiKeyId => ApiKey,
    ApprovalId => Approval,
    OperatorKeyId => OperatorKey,
    OrgId => Organization,
    PolicyId => Policy,
    SigningKeyId => SigningKey,
    TokenId => Token,
    WebhookId => Webhook,
    DeliveryId => Delivery,
    DomainId => Domain,
}

/// The id in a path. One that is not spelled as an id names nothing: a 404.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| not_found(T::KIND))?;
        text.parse().map(Self).map_err(|_| not_found(T::KIND))
    }
}

/// The ids in a path that names a thing of a thing. One that is not spelled as an id names nothing:
/// a 404.
#[derive(Debug)]
pub struct Ids<T, U>(pub T, pub U);

impl<S: Send + Sync, T: PathId, U: PathId> FromRequestParts<S> for Ids<T, U> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((outer, inner)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| not_found(T::KIND))?;
        let outer = outer.parse().map_err(|_| not_found(T::KIND))?;
        Ok(Self(outer, inner.parse().map_err(|_| not_found(U::KIND))?))
    }
}

/// The answer to a write that was carried out.
#[derive(Debug)]
pub struct Written<T> {
    status: StatusCode,
    done: Done<T>,
}

impl<T> Written<T> {
    /// Something was made: 201.
    pub fn created(done: Done<T>) -> Self {
        Self { status: StatusCode::CREATED, done }
    }

    /// Something was begun: 202.
    pub fn accepted(done: Done<T>) -> Self {
        Self { status: StatusCode::ACCEPTED, done }
    }

    /// Something was changed: 200.
    pub fn ok(done: Done<T>) -> Self {
        Self { status: StatusCode::OK, done }
    }
}

impl Written<Deleted> {
    /// What had this id is gone.
    pub fn deleted<T>(done: Done<T>, id: impl fmt::Display) -> Self {
        Self::ok(done.map(|_| Deleted { id: id.to_string(), deleted: true }))
    }
}

impl<T: Serialize> IntoResponse for Written<T> {
    fn into_response(self) -> Response {
        let index = HeaderValue::from(self.done.index);
        let replayed = self.done.replayed;
        let mut response =
            (self.status, [(LOG_INDEX.clone(), index)], Json(self.done.value)).into_response();
        if replayed {
            let yes = HeaderValue::from_static("true");
            response.headers_mut().insert(IDEMPOTENT_REPLAYED.clone(), yes);
        }
        response
    }
}

/// Takes the expected kind of outcome, and makes of it what is answered.
pub fn expect<T, U>(done: Done<T>, pick: impl FnOnce(T) -> Option<U>) -> Result<Done<U>, Problem> {
    let Done { index, replayed, .. } = done;
    let value = pick(done.value).ok_or_else(|| {
        tracing::error!(index, "the core answered with another kind of outcome");
        Problem::new(
            Code::INTERNAL_ERROR,
            "This is an error in AuthRAI, not in your request. The change was made. Please report \
             it with the request_id.",
        )
    })?;
    Ok(Done { index, value, replayed })
}

/// What a handler answers with.
pub type Answer<T> = Result<T, Problem>;
