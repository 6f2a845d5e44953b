//! Outcomes: what a command that was not refused came to. Answers the proposer, also across nodes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Answered;
use super::{
    Agent, AgentId, ApiKey, Approval, DnsDomain, Millis, OperatorKey, Organization, Policy,
    Refusal, RuleRef, Seconds, SigningKey, TokenDetails, TokenId,
};
use super::{Delivery, Webhook};
use super::{Restoration, SuspensionsLifted};
use crate::codec::stored_enum;

stored_enum! {
    /// What a command came to.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Outcome {
        /// The organisation as it is now.
        1 => Organization(Arc<Organization>),
        /// The API key as it is now.
        2 => ApiKey(Arc<ApiKey>),
        /// The operator key as it is now.
        3 => OperatorKey(Arc<OperatorKey>),
        /// The agent as it is now.
        4 => Agent(Arc<Agent>),
        /// An agent's tokens died, with or without the agent.
        5 => AgentTokensRevoked(AgentTokensRevoked),
        /// The token that was issued.
        6 => TokenIssued(Arc<TokenDetails>),
        /// The token that is dead.
        7 => TokenRevoked(TokenRevoked),
        /// The signing key as it is now.
        8 => SigningKey(Arc<SigningKey>),
        /// It is gone.
        9 => Deleted(()),
        /// Bookkeeping is done.
        10 => Done(()),
        /// The policy as it is now.
        11 => Policy(Arc<Policy>),
        /// The approval as it is now.
        12 => Approval(Arc<Approval>),
        /// Policies refuse the token; the rule that does, unless it is the default.
        13 => TokenDenied(Option<RuleRef>),
        /// Too many tokens were issued under this rule lately.
        14 => TokenThrottled(Throttled),
        /// Somebody has to agree first.
        15 => ApprovalPending(Arc<Approval>),
        /// Refused, and yet something happened: the request's nonce is used up.
        16 => Refused(Refusal),
        /// The webhook endpoint as it is now.
        30 => Webhook(Arc<Webhook>),
        /// The delivery as it is now.
        31 => Delivery(Arc<Delivery>),
        /// The domain as it is now.
        35 => Domain(Arc<DnsDomain>),
        /// The request was carried out before; what it was answered.
        40 => Replayed(Answered),
        /// The state is that of a new cluster.
        50 => Restored(Arc<Restoration>),
        /// What was suspended and is no more.
        51 => SuspensionsLifted(SuspensionsLifted),
    }
}

impl Outcome {
    /// Whether the request was granted, so that its answer is worth remembering.
    pub fn is_success(&self) -> bool {
        !matches!(
            self,
            Self::TokenDenied(_) | Self::TokenThrottled(_) | Self::Refused(_) | Self::Replayed(_)
        )
    }
}

/// See [`Outcome::AgentTokensRevoked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentTokensRevoked {
    /// Whose.
    pub agent: AgentId,
    /// When. For an agent that was revoked before, when that was.
    pub at: Millis,
    /// How many live tokens died.
    pub tokens_invalidated: u64,
}

/// See [`Outcome::TokenRevoked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRevoked {
    /// Which.
    pub id: TokenId,
    /// When it was revoked.
    pub at: Millis,
}

/// See [`Outcome::TokenThrottled`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttled {
    /// The throttle.
    pub rule: RuleRef,
    /// When its window ends.
    pub until: Millis,
    /// What to wait. At least a second.
    pub retry_after_s: Seconds,
}

/// What a proposed command is answered with.
pub type Reply = Result<Outcome, Refusal>;
