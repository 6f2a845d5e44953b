//! Policies: rules that decide which token requests are granted, and what a decision is.
//!
//! Rules are evaluated outside the core, which never compiles a condition. What reaches it is a
//! [`Verdict`]: the throttles that the request passes under, in order, and then what ends it. The
//! core counts the throttles, exactly, and carries out the end. A verdict names rules by their
//! place; it is fenced by the epoch of the policies that it was made from, so a place means the same
//! rule where it was made and where it is applied. Must not know globs or conditions.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Hash, Millis, PolicyId, Seconds, Tenant};
use crate::codec::{self, stored_enum, stored_tags};

stored_tags! {
    /// Whose requests a throttle counts together.
    pub enum Per {
        /// Each agent's on their own.
        1 => Agent = "agent",
        /// Those of all agents with the same owner.
        2 => Owner = "owner",
        /// All.
        3 => Organization = "organization",
    }
}

/// See [`Effect::Allow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// A longer life is not covered. Seconds.
    pub max_ttl_s: Option<Seconds>,
}

/// See [`Effect::Throttle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// How many tokens a window lets through.
    pub limit: u64,
    /// How long a window is, from its first counted request on. Seconds.
    pub window_s: Seconds,
    /// Whose requests are counted together.
    pub per: Per,
}

/// See [`Effect::RequireApproval`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequireApproval {
    /// How long the approval waits for an answer, and then to be collected. Seconds.
    pub approval_ttl_s: Seconds,
}

stored_enum! {
    /// What a rule does to a request that it matches.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Effect {
        /// Grants it.
        1 => Allow(Allow),
        /// Refuses it.
        2 => Deny(()),
        /// Refuses it when too many were granted lately; else leaves it to what stands below.
        3 => Throttle(Throttle),
        /// Grants it once somebody has agreed.
        4 => RequireApproval(RequireApproval),
    }
}

impl Effect {
    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Deny(()) => "deny",
            Self::Throttle(_) => "throttle",
            Self::RequireApproval(_) => "require_approval",
        }
    }

    /// Which of two matching rules of the same priority decides: the one of the smaller rank.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Deny(()) => 0,
            Self::RequireApproval(_) => 1,
            Self::Throttle(_) => 2,
            Self::Allow(_) => 3,
        }
    }
}

/// One rule. A list or condition left out matches everything; a list holds patterns in which `*`
/// stands for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it does.
    pub effect: Effect,
    /// Scopes asked for.
    pub scopes: Option<Vec<String>>,
    /// Agents, by id or by name.
    pub agents: Option<Vec<String>>,
    /// Owners of agents.
    pub owners: Option<Vec<String>>,
    /// Where the token is to be used.
    pub target_services: Option<Vec<String>>,
    /// Model providers of agents.
    pub model_providers: Option<Vec<String>>,
    /// Model names of agents.
    pub model_names: Option<Vec<String>>,
    /// Frameworks of agents.
    pub frameworks: Option<Vec<String>>,
    /// Whether the agent signed the request.
    pub signed: Option<bool>,
    /// A CEL expression.
    pub condition: Option<String>,
}

/// Rules that passed the check of the policy room, which knows what they mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedRules {
    /// The rules.
    pub rules: Vec<Rule>,
    /// The most that evaluating them can cost, in steps.
    pub steps: u64,
}

impl CheckedRules {
    /// How long their stored form is.
    pub fn stored_bytes(&self) -> usize {
        codec::encoded_len(self)
    }
}

impl Rule {
    /// What tells this rule apart from every other: a throttle counts and an approval stands for
    /// as long as its rule stays the same, wherever it is moved to.
    pub fn digest(&self) -> Hash {
        Sha256::digest(codec::encode(self)).into()
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name, for people.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The higher decides.
    pub priority: u16,
    /// What it says.
    pub rules: Vec<Rule>,
    /// The most that evaluating its rules can cost, in steps.
    pub steps: u64,
    /// Whether it is applied.
    pub is_active: bool,
    /// When it was created.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
}

/// A rule, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleRef {
    /// The policy.
    pub policy: PolicyId,
    /// The rule's place in it, from 0.
    pub rule: u16,
}

stored_enum! {
    /// What ends the evaluation of a request.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum End {
        /// Granted, by a rule or by default.
        1 => Allow(Option<RuleRef>),
        /// Refused, by a rule or by default.
        2 => Deny(Option<RuleRef>),
        /// Somebody has to agree.
        3 => RequireApproval(RuleRef),
    }
}

/// What the policies say of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The throttles that stand above the end, the first to be asked first.
    pub throttles: Vec<RuleRef>,
    /// What ends it once they let it through.
    pub end: End,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Environment, OrgId};

    fn sample() -> Policy {
        Policy {
            id: PolicyId::from_ulid(1),
            tenant: Tenant { org: OrgId::from_ulid(2), environment: Environment::Test },
            name: "n".into(),
            description: None,
            priority: 100,
            rules: vec![Rule {
                effect: Effect::Throttle(Throttle { limit: 9, window_s: 60, per: Per::Owner }),
                scopes: Some(vec!["db.*".into()]),
                agents: None,
                owners: None,
                target_services: None,
                model_providers: None,
                model_names: None,
                frameworks: None,
                signed: Some(true),
                condition: None,
            }],
            steps: 17,
            is_active: true,
            created_at: 3,
            updated_at: 4,
        }
    }

    /// The bytes are the stored form: a change here breaks every log and snapshot there is.
    #[test]
    fn the_stored_form_of_a_policy_is_pinned() {
        let bytes = codec::encode(&sample());
        assert_eq!(
            hex::encode(&bytes),
            concat!(
                "01",
                "00000000000000000000000000000001",
                "00000000000000000000000000000002",
                "02",
                "016e00",
                "64",
                "01",
                "03",
                "093c02",
                "01010464622e2a",
                "000000000000",
                "0101",
                "00",
                "11",
                "01",
                "0304"
            )
        );
        assert_eq!(codec::decode(&bytes), Ok(sample()));
    }

    #[test]
    fn the_stored_form_of_a_verdict_is_pinned() {
        let rule = RuleRef { policy: PolicyId::from_ulid(1), rule: 7 };
        for (verdict, bytes) in [
            (Verdict { throttles: vec![], end: End::Allow(None) }, "01000100".to_owned()),
            (
                Verdict { throttles: vec![rule], end: End::Deny(Some(rule)) },
                format!("0101{0}070201{0}07", "00000000000000000000000000000001"),
            ),
            (
                Verdict { throttles: vec![], end: End::RequireApproval(rule) },
                format!("010003{0}07", "00000000000000000000000000000001"),
            ),
        ] {
            assert_eq!(hex::encode(codec::encode(&verdict)), bytes);
            assert_eq!(codec::decode(&hex::decode(bytes).unwrap_or_default()), Ok(verdict));
        }
    }
}
