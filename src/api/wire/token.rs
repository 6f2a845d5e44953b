//! Tokens on the wire.

use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{schema, time, time_s};
use crate::{
    actors,
    api::{
        fields::{Checked, Fields, FromFields},
        pagination::Page,
        query::{FromQuery, Parameters},
        rules,
    },
    domain::{
        AgentId, ApprovalId, SignedRequest, Tenant, TokenDetails, TokenId, TokenRef, TokenRevoked,
    },
    limits,
    token::{self, scope},
};

/// What an agent's id looks like, for error messages.
const AN_AGENT_ID: &str = "an agent's id, agent_ and 26 characters";
/// What a token's id looks like, for error messages.
const A_TOKEN_ID: &str = "a token's id, tok_ and 26 characters";
/// What an approval's id looks like, for error messages.
const AN_APPROVAL_ID: &str = "an approval's id, apr_ and 26 characters";
/// The target of a token that names none.
pub(super) const ANY_TARGET: &str = "any";

/// A token request.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueToken {
    /// ID of the agent requesting the token.
    #[schema(value_type = schema::AgentId)]
    pub agent_id: AgentId,
    /// What the token is to allow. A scope is names with dots between them; a last `*` covers
    /// every depth.
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
    /// The approval to collect, of this very request.
    #[schema(value_type = Option<schema::ApprovalId>)]
    pub approval_id: Option<ApprovalId>,
}

impl FromFields for IssueToken {
    fn read(fields: &mut Fields) -> Option<Self> {
        let agent_id = fields.required("agent_id", rules::parsed(AN_AGENT_ID));
        let scope = fields.required("scope", scopes(1));
        let ttl = fields.optional("ttl", rules::integer(1..=limits::TTL_MAX_S, "seconds"));
        let target_service = fields.optional("target_service", target_service);
        let intent = fields.optional("intent", rules::text(0..=limits::INTENT_MAX_CHARS));
        let approval_id = fields.optional("approval_id", rules::parsed(AN_APPROVAL_ID));
        Some(Self { agent_id: agent_id?, scope: scope?, ttl, target_service, intent, approval_id })
    }
}

impl IssueToken {
    /// What the actor is asked for.
    pub fn into_new_token(self, tenant: Tenant, signed: Option<SignedRequest>) -> actors::NewToken {
        actors::NewToken {
            tenant,
            agent: self.agent_id,
            scope: self.scope,
            ttl_s: self.ttl.unwrap_or(limits::TTL_DEFAULT_S),
            target_service: self.target_service.unwrap_or_else(|| ANY_TARGET.to_owned()),
            intent: self.intent,
            signed,
            approval: self.approval_id,
        }
    }
}

/// The rule of scopes: at least so many, none twice.
pub(super) fn scopes(least: usize) -> impl Fn(Value) -> Checked<Vec<String>> {
    rules::set(least..=limits::SCOPES_MAX, |value| {
        let text = rules::string(value)?;
        if text.len() > limits::SCOPE_MAX_BYTES {
            let (most, got) = (limits::SCOPE_MAX_BYTES, text.len());
            return Err(format!("must be at most {most} bytes; got {got}").into());
        }
        if !scope::is_valid(&text) {
            return Err("must be names of letters, digits, _, - and : with a dot between each \
                        two; the last may be *"
                .into());
        }
        Ok(text)
    })
}

/// The rule of targets.
pub(super) fn target_service(value: Value) -> Checked<String> {
    rules::text(1..=limits::TARGET_SERVICE_MAX_CHARS)(value)
}

/// A live token; never the token itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    /// Its id, the `jti` of its claims.
    #[schema(value_type = schema::TokenId)]
    pub token_id: String,
    /// The agent that it was issued to.
    #[schema(value_type = schema::AgentId)]
    pub agent_id: String,
    /// What it allows.
    #[schema(examples(json!(["secrets.read", "db.write"])))]
    pub scope: Vec<String>,
    /// Where it may be used; `any` is everywhere.
    pub target_service: String,
    /// What it is for, in its asker's words.
    #[schema(required)]
    pub intent: Option<String>,
    /// When it was issued.
    #[schema(value_type = schema::Timestamp)]
    pub issued_at: String,
    /// From when on it is dead.
    #[schema(value_type = schema::Timestamp)]
    pub expires_at: String,
}

impl From<&TokenDetails> for Token {
    fn from(details: &TokenDetails) -> Self {
        Self {
            token_id: details.id.to_string(),
            agent_id: details.agent.to_string(),
            scope: details.scope.to_vec(),
            target_service: details.target_service.to_string(),
            intent: details.intent.clone(),
            issued_at: time_s(details.issued_at),
            expires_at: time_s(details.expires_at),
        }
    }
}

/// A token that was just issued.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuedToken {
    /// The token: `rai_live_` or `rai_test_` and a compact JWS. Shown this once.
    #[schema(examples("rai_live_eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6InNpZ18…"))]
    pub token: String,
    /// What it is.
    #[serde(flatten)]
    pub details: Token,
}

impl From<actors::IssuedToken> for IssuedToken {
    fn from(issued: actors::IssuedToken) -> Self {
        Self { details: issued.details.as_ref().into(), token: issued.token.to_string() }
    }
}

/// Which token to revoke.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(untagged)]
pub enum RevokeToken {
    /// By the token itself.
    Token(ByToken),
    /// By its id.
    Id(ById),
}

/// The token itself.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ByToken {
    /// The token to revoke.
    #[schema(examples("rai_live_…"))]
    pub token: String,
}

/// The token's id.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ById {
    /// The id of the token to revoke.
    #[schema(value_type = schema::TokenId)]
    pub token_id: TokenId,
}

impl FromFields for RevokeToken {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.optional("token", rules::string);
        let token_id = fields.optional("token_id", rules::parsed(A_TOKEN_ID));
        match (token, token_id) {
            (Some(token), None) => return Some(Self::Token(ByToken { token })),
            (None, Some(token_id)) => return Some(Self::Id(ById { token_id })),
            (Some(_), Some(_)) => {
                fields.fault("token_id", "cannot stand beside token: send one of the two");
            }
            (None, None) if fields.is_faultless() => {
                fields.fault("token", "is required, or token_id in its place");
            }
            (None, None) => {}
        }
        None
    }
}

impl RevokeToken {
    /// What the core knows the token by.
    pub fn reference(&self) -> TokenRef {
        match self {
            Self::Token(ByToken { token }) => TokenRef::Hash(token::hash(token)),
            Self::Id(ById { token_id }) => TokenRef::Id(*token_id),
        }
    }
}

/// A token that is dead.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevokedToken {
    /// Its id.
    #[schema(value_type = schema::TokenId)]
    pub token_id: String,
    /// Always true.
    #[schema(examples(true))]
    pub revoked: bool,
    /// When it was revoked.
    #[schema(value_type = schema::Timestamp)]
    pub revoked_at: String,
}

impl From<TokenRevoked> for RevokedToken {
    fn from(revoked: TokenRevoked) -> Self {
        Self { token_id: revoked.id.to_string(), revoked: true, revoked_at: time(revoked.at) }
    }
}

/// Which tokens are listed.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TokenFilter {
    /// Only tokens of this agent.
    #[param(value_type = Option<schema::AgentId>, nullable = false)]
    pub agent_id: Option<AgentId>,
}

/// A page of tokens, and which.
#[derive(Debug)]
pub struct TokensQuery {
    /// The page.
    pub page: Page,
    /// Which.
    pub filter: TokenFilter,
}

impl FromQuery for TokensQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let agent_id = parameters.parsed("agent_id", AN_AGENT_ID);
        Self { page: Page::read(parameters), filter: TokenFilter { agent_id } }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::fields;

    fn faults<T: FromFields + std::fmt::Debug>(body: Value) -> Vec<String> {
        let errors = fields::read::<T>(body).unwrap_err();
        errors.into_iter().map(|error| format!("{} {}", error.field, error.message)).collect()
    }

    #[test]
    fn a_token_request_is_refused_field_by_field() {
        let agent = AgentId::from_ulid(1).to_string();
        let request = |field: &str, value: Value| {
            let mut body = json!({"agent_id": agent, "scope": ["a"]});
            body[field] = value;
            body
        };
        let long = "x".repeat(limits::SCOPE_MAX_BYTES + 1);
        for (field, value, said) in [
            (
                "agent_id",
                json!("agent_1"),
                "agent_id must be an agent's id, agent_ and 26 characters",
            ),
            ("agent_id", json!(null), "agent_id is required; got null"),
            ("scope", json!("a"), "scope must be an array; got a string"),
            ("scope", json!([]), "scope must have between 1 and 64 items; got 0"),
            ("scope", json!(["a", "b", "a"]), "scope[2] repeats an earlier item"),
            ("scope", json!([long]), "scope[0] must be at most 128 bytes; got 129"),
            (
                "scope",
                json!(["a", "a..b"]),
                "scope[1] must be names of letters, digits, _, - and : with a dot between each \
                 two; the last may be *",
            ),
            ("ttl", json!(86_401), "ttl must be between 1 and 86400 seconds; got 86401"),
            ("ttl", json!("300"), "ttl must be a whole number; got a string"),
            ("target_service", json!(""), "target_service must not be empty or blank"),
            ("intent", json!("x".repeat(501)), "intent must be at most 500 characters; got 501"),
            ("approval", json!(1), "approval is not a field of this request"),
            (
                "approval_id",
                json!("apr_1"),
                "approval_id must be an approval's id, apr_ and 26 characters",
            ),
        ] {
            assert_eq!(faults::<IssueToken>(request(field, value)), [said]);
        }
    }

    #[test]
    fn what_a_token_request_leaves_out_has_its_default() {
        let agent = AgentId::from_ulid(1);
        let body = json!({"agent_id": agent.to_string(), "scope": ["db.*", "*"], "ttl": null});
        let request: IssueToken = fields::read(body).unwrap();
        let new = request.into_new_token(Tenant::SYSTEM, None);
        assert_eq!((new.ttl_s, new.target_service.as_str(), new.intent), (300, "any", None));
    }

    #[test]
    fn a_token_to_revoke_is_named_in_exactly_one_way() {
        let id = TokenId::from_ulid(1);
        let by_id: RevokeToken = fields::read(json!({"token_id": id.to_string()})).unwrap();
        assert_eq!(by_id.reference(), TokenRef::Id(id));
        let by_token: RevokeToken = fields::read(json!({"token": "rai_live_x"})).unwrap();
        assert_eq!(by_token.reference(), TokenRef::Hash(token::hash("rai_live_x")));
        for (body, said) in [
            (json!({}), "token is required, or token_id in its place"),
            (
                json!({"token": "x", "token_id": id.to_string()}),
                "token_id cannot stand beside token: send one of the two",
            ),
            (json!({"token_id": "x"}), "token_id must be a token's id, tok_ and 26 characters"),
            (json!({"token": 1}), "token must be a string; got a number"),
        ] {
            assert_eq!(faults::<RevokeToken>(body), [said]);
        }
    }
}
