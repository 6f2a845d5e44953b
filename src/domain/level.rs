//! The level of the rules by which commands are decided.
//!
//! While a cluster is upgraded node by node, two builds decide the same entries and must come to
//! the same result. So every change of what `decide`, `evolve` or the rendering of an event does
//! to a command that an older build knows too has a level, and holds only from the log entry that
//! raises the cluster to it. Must not know when that entry is proposed.

use super::Action;

/// A level. Ordered: a rule of level 2 holds at every level from 2 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(pub u32);

impl Level {
    /// The level at which every cluster begins.
    pub const FIRST: Self = Self(1);
    /// Every output of a command has a largest size, tenants have quotas of bytes, and the
    /// membership of the cluster is part of the audit log.
    pub const BOUNDED: Self = Self(2);
    /// The newest level that this build knows.
    pub const NEWEST: Self = Self::BOUNDED;
}

/// The newest, which is what a state that comes from nowhere is decided by.
impl Default for Level {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl Action {
    /// The least level of a cluster at which the command can be proposed: the members of an older
    /// build could not decode it.
    pub const fn level(&self) -> Level {
        match self {
            Self::CreateOrganization(_)
            | Self::UpdateOrganization(_)
            | Self::CreateApiKey(_)
            | Self::UpdateApiKey(_)
            | Self::RotateApiKey(_)
            | Self::DeleteApiKey(_)
            | Self::TouchApiKeys(_)
            | Self::CreateAgent(_)
            | Self::UpdateAgent(_)
            | Self::RotateAgentKey(_)
            | Self::RevokeAgentTokens(_)
            | Self::RevokeAgent(_)
            | Self::IssueToken(_)
            | Self::RevokeToken(_)
            | Self::DeclineToken(_)
            | Self::RegisterSigningKey(_)
            | Self::RetireSigningKey(_)
            | Self::RevokeSigningKey(_)
            | Self::CreateOperatorKey(_)
            | Self::DeleteOperatorKey(_)
            | Self::CreatePolicy(_)
            | Self::UpdatePolicy(_)
            | Self::DeletePolicy(_)
            | Self::Approve(_)
            | Self::Disapprove(_)
            | Self::Tick(_)
            | Self::CreateWebhook(_)
            | Self::UpdateWebhook(_)
            | Self::DeleteWebhook(_)
            | Self::RotateWebhookSecret(_)
            | Self::RecordDeliveries(_)
            | Self::RetryDelivery(_)
            | Self::CreateDomain(_)
            | Self::DeleteDomain(_)
            | Self::RecordDomainCheck(_)
            | Self::SetPlans(_)
            | Self::ChangePlan(_)
            | Self::Restore(_)
            | Self::LiftSuspension(_) => Level::FIRST,
            Self::SetOperatorPlans(_) => Level::BOUNDED,
        }
    }
}
