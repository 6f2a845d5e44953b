//! Verification on the wire: questions and verdicts.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    ENVIRONMENTS, schema, time_s,
    token::{scopes, target_service},
};
use crate::{
    api::{
        fields::{self, Checked, Fields, FromFields},
        rules,
    },
    domain::Environment,
    limits,
    verify::{Question, Reason, Valid, Verdict},
};

/// A token to verify, and what it must be good for.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyToken {
    /// The token to verify.
    #[schema(examples("rai_live_…"))]
    pub token: String,
    /// Scopes that the token must cover, every one.
    #[schema(value_type = Option<schema::RequiredScopes>)]
    pub required_scope: Option<Vec<String>>,
    /// The service at which the token is used. A token for another one is `wrong_target`.
    #[schema(value_type = Option<schema::TargetService>)]
    pub target_service: Option<String>,
    /// The environment that the token must belong to.
    #[schema(value_type = Option<schema::Environment>)]
    pub environment: Option<Environment>,
}

impl FromFields for VerifyToken {
    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", rules::string);
        let required_scope = fields.optional("required_scope", scopes(0));
        let target_service = fields.optional("target_service", target_service);
        let environment = fields.optional("environment", rules::one_of(ENVIRONMENTS));
        Some(Self { token: token?, required_scope, target_service, environment })
    }
}

impl VerifyToken {
    /// What is asked of the token alone.
    fn of_token(token: String) -> Self {
        Self { token, required_scope: None, target_service: None, environment: None }
    }

    /// The question as the verify room takes it.
    pub fn question(&self) -> Question<'_> {
        Question {
            token: &self.token,
            required_scope: self.required_scope.as_deref().unwrap_or_default(),
            target_service: self.target_service.as_deref(),
            environment: self.environment,
        }
    }
}

/// One token of a batch: alone, or with what it must be good for.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the description of what VerifyBatch reads by rule")]
pub enum BatchItem {
    /// The token alone.
    Token(String),
    /// The token with what it must be good for.
    Question(VerifyToken),
}

/// Up to 100 tokens to verify.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBatch {
    /// The tokens, each alone or with what it must be good for.
    #[schema(value_type = Vec<BatchItem>, min_items = 1, max_items = 100)]
    pub tokens: Vec<VerifyToken>,
    /// Scopes that every one of the tokens must cover, besides its own.
    #[schema(value_type = Option<schema::RequiredScopes>)]
    pub required_scope: Option<Vec<String>>,
}

impl FromFields for VerifyBatch {
    fn read(fields: &mut Fields) -> Option<Self> {
        let items = rules::array(1..=limits::VERIFY_BATCH_MAX, batch_item);
        let tokens = fields.required("tokens", items);
        let required_scope = fields.optional("required_scope", scopes(0));
        Some(Self { tokens: tokens?, required_scope })
    }
}

fn batch_item(value: Value) -> Checked<VerifyToken> {
    match value {
        Value::String(token) => Ok(VerifyToken::of_token(token)),
        value @ Value::Object(_) => fields::object(value),
        other => {
            let kind = rules::a_kind(&other);
            Err(format!("must be a token, or an object with one; got {kind}").into())
        }
    }
}

impl VerifyBatch {
    /// The questions, in order: what is required of all is required of each.
    pub fn into_questions(self) -> Vec<VerifyToken> {
        let common = self.required_scope.unwrap_or_default();
        let mut questions = self.tokens;
        for question in &mut questions {
            question.required_scope.get_or_insert_default().extend_from_slice(&common);
        }
        questions
    }
}

/// What a token was found to be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "made for one answer and written at once")]
pub enum VerdictBody {
    /// Good for what was asked.
    Valid(ValidToken),
    /// Not good.
    Invalid(InvalidToken),
}

/// A token that is good for what was asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValidToken {
    /// Always true.
    #[schema(value_type = schema::True)]
    pub valid: bool,
    /// The token's id.
    #[schema(value_type = schema::TokenId)]
    pub token_id: String,
    /// The agent that it was issued to.
    #[schema(value_type = schema::AgentId)]
    pub agent_id: String,
    /// The agent's organisation.
    #[schema(value_type = schema::OrganizationId)]
    pub organization_id: String,
    /// The team or service that owns the agent.
    pub owner: String,
    /// What the token allows.
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
    /// Domains that the organisation has proved to be its own.
    #[schema(examples(json!(["acme.example"])))]
    pub verified_domains: Vec<String>,
}

/// A token that is not good for what was asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvalidToken {
    /// Always false.
    #[schema(value_type = schema::False)]
    pub valid: bool,
    /// The first reason that applies.
    #[schema(value_type = schema::Reason)]
    pub reason: &'static str,
}

impl From<Verdict> for VerdictBody {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Valid(valid) => Self::Valid(valid.into()),
            Verdict::Invalid(reason) => Self::Invalid(reason.into()),
            // Only a settled verdict is shown; what is still unseen then was never issued.
            Verdict::Unseen => Self::Invalid(Reason::NotIssued.into()),
        }
    }
}

impl From<Reason> for InvalidToken {
    fn from(reason: Reason) -> Self {
        Self { valid: false, reason: reason.as_str() }
    }
}

impl From<Valid> for ValidToken {
    fn from(valid: Valid) -> Self {
        Self {
            valid: true,
            token_id: valid.token_id.to_string(),
            agent_id: valid.agent.id.to_string(),
            organization_id: valid.agent.tenant.org.to_string(),
            owner: valid.agent.owner.clone(),
            scope: valid.scopes().map(str::to_owned).collect(),
            target_service: valid.target_service,
            intent: valid.intent,
            issued_at: time_s(valid.issued_at),
            expires_at: time_s(valid.expires_at),
            verified_domains: valid
                .verified_domains
                .iter()
                .flat_map(|names| names.iter())
                .map(|name| name.as_ref().to_owned())
                .collect(),
        }
    }
}

/// Verdicts on a batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchVerdicts {
    /// One verdict a token, in the order of the request.
    pub results: Vec<VerdictBody>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_batch_requires_is_required_of_each_of_its_tokens() {
        let batch: VerifyBatch = fields::read(json!({
            "tokens": ["a", {"token": "b", "required_scope": ["x"], "environment": "test"}],
            "required_scope": ["y"],
        }))
        .unwrap();
        let [first, second] = batch.into_questions().try_into().unwrap();
        assert_eq!((first.token.as_str(), first.required_scope), ("a", Some(vec!["y".into()])));
        assert_eq!(second.required_scope, Some(vec!["x".into(), "y".into()]));
        assert_eq!(second.environment, Some(Environment::Test));
    }

    #[test]
    fn a_batch_has_1_to_100_items_each_of_them_a_token_or_a_question() {
        for (tokens, field, said) in [
            (json!([]), "tokens", "must have between 1 and 100 items; got 0"),
            (json!(vec!["x"; 101]), "tokens", "must have between 1 and 100 items; got 101"),
            (json!(["x", 1]), "tokens[1]", "must be a token, or an object with one; got a number"),
            (json!([{"tokn": "x"}]), "tokens[0].token", "is required"),
        ] {
            let errors = fields::read::<VerifyBatch>(json!({"tokens": tokens})).unwrap_err();
            assert_eq!((errors[0].field.as_str(), errors[0].message.as_str()), (field, said));
        }
    }

    #[test]
    fn a_verdict_that_is_not_good_says_why_and_nothing_else() {
        let body = VerdictBody::from(Verdict::Invalid(Reason::WrongTarget));
        let body = serde_json::to_value(body).unwrap();
        assert_eq!(body, json!({"valid": false, "reason": "wrong_target"}));
    }
}
