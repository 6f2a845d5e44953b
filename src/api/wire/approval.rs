//! Approvals on the wire.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{schema, time};
use crate::{
    api::{
        pagination::Page,
        query::{FromQuery, Parameters},
    },
    domain::{self, ApprovalStatus, Millis},
};

/// A token request that waits for somebody to agree: 202.
#[derive(Debug, Serialize, ToSchema)]
pub struct PendingApproval {
    /// Always `pending_approval`.
    #[schema(examples("pending_approval"))]
    pub status: &'static str,
    /// Send it with the same request, once it is approved.
    #[schema(value_type = schema::ApprovalId)]
    pub approval_id: String,
    /// Until when it can be approved and collected.
    #[schema(value_type = schema::Timestamp)]
    pub expires_at: String,
}

impl From<&domain::Approval> for PendingApproval {
    fn from(approval: &domain::Approval) -> Self {
        Self {
            status: "pending_approval",
            approval_id: approval.id.to_string(),
            expires_at: time(approval.expires_at),
        }
    }
}

/// The request that an approval is for, whole.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApprovalRequest {
    /// For whom the token is asked.
    #[schema(value_type = schema::AgentId)]
    pub agent_id: String,
    /// What it is to allow.
    pub scope: Vec<String>,
    /// How long it is to live. Seconds.
    #[schema(value_type = schema::TtlSeconds)]
    pub ttl: u64,
    /// Where it is to be used.
    pub target_service: String,
    /// What it is for.
    #[schema(required)]
    pub intent: Option<String>,
}

/// An approval.
#[derive(Debug, Serialize, ToSchema)]
pub struct Approval {
    /// Its id.
    #[schema(value_type = schema::ApprovalId)]
    pub id: String,
    /// How far it has come.
    #[schema(value_type = schema::ApprovalStatus)]
    pub status: &'static str,
    /// The request, whole.
    pub request: ApprovalRequest,
    /// The policy that asked.
    #[schema(value_type = schema::PolicyId)]
    pub policy_id: String,
    /// The rule of that policy that asked, from 0.
    #[schema(maximum = 99)]
    pub rule: u16,
    /// The API keys that asked; none of them can approve.
    #[schema(value_type = Vec<schema::ApiKeyId>)]
    pub asked_by: Vec<String>,
    /// The API key that answered.
    #[schema(value_type = Option<schema::ApiKeyId>, required)]
    pub answered_by: Option<String>,
    /// When it was answered.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub answered_at: Option<String>,
    /// The token that was issued.
    #[schema(value_type = Option<schema::TokenId>, required)]
    pub token_id: Option<String>,
    /// When it was asked for.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: String,
    /// Until when it can be approved and collected.
    #[schema(value_type = schema::Timestamp)]
    pub expires_at: String,
}

impl Approval {
    /// `approval` as it stands at `at`.
    pub fn new(approval: &domain::Approval, at: Millis) -> Self {
        Self {
            id: approval.id.to_string(),
            status: approval.status_at(at).as_str(),
            request: ApprovalRequest {
                agent_id: approval.agent.to_string(),
                scope: approval.scope.clone(),
                ttl: approval.ttl_s,
                target_service: approval.target_service.clone(),
                intent: approval.intent.clone(),
            },
            policy_id: approval.rule.policy.to_string(),
            rule: approval.rule.rule,
            asked_by: approval.asked_by.iter().map(ToString::to_string).collect(),
            answered_by: approval.answered_by.map(|key| key.to_string()),
            answered_at: approval.answered_at.map(time),
            token_id: approval.token.map(|token| token.to_string()),
            created_at: time(approval.created_at),
            expires_at: time(approval.expires_at),
        }
    }
}

const STATUSES: &[(&str, ApprovalStatus)] = &[
    ("pending", ApprovalStatus::Pending),
    ("approved", ApprovalStatus::Approved),
    ("denied", ApprovalStatus::Denied),
    ("expired", ApprovalStatus::Expired),
    ("consumed", ApprovalStatus::Consumed),
];

/// Which approvals are listed.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ApprovalFilter {
    /// Only approvals that have come so far.
    #[param(value_type = Option<schema::ApprovalStatus>, nullable = false)]
    pub status: Option<ApprovalStatus>,
}

/// A page of approvals, and which.
#[derive(Debug)]
pub struct ApprovalsQuery {
    /// The page.
    pub page: Page,
    /// Which.
    pub filter: ApprovalFilter,
}

impl FromQuery for ApprovalsQuery {
    fn read(parameters: &mut Parameters) -> Self {
        let status = parameters.one_of("status", STATUSES);
        Self { page: Page::read(parameters), filter: ApprovalFilter { status } }
    }
}
