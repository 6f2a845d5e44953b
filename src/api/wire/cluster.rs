//! The cluster, its signing keys and its operator keys on the wire.

use authrai_cluster::{MemberStatus, Role, Status, lease::Reason};
use serde::Serialize;
use utoipa::ToSchema;

use super::{name, public_key, schema, suspension::Restored, time, time_s};
use crate::{
    api::{
        fields::{Fields, FromFields},
        rules,
    },
    domain::{self, Action, OperatorKeyId},
    limits, mint,
    secrets::{KeyKind, Secret},
};

/// The cluster as this node sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cluster {
    /// Drawn when the cluster was founded, in hex.
    #[schema(examples("5f1d7a4c9be03d62"))]
    pub cluster_id: String,
    /// The node that leads, if this one knows.
    #[schema(required)]
    pub leader: Option<u64>,
    /// The term of that leadership.
    pub term: u64,
    /// Which of the machine's rules hold; raised when every node has been upgraded.
    #[schema(examples(1))]
    pub level: u32,
    /// This node.
    pub node: ClusterNode,
    /// Every member, by its id.
    pub members: Vec<ClusterMember>,
    /// The ids of nodes that were removed. They never come back.
    #[schema(examples(json!([3])))]
    pub removed: Vec<u64>,
    /// How it came out of a backup, and what waits for an operator since; null if it did not.
    #[schema(required)]
    pub restored: Option<Restored>,
}

/// A member, and what it says of itself. What is null it did not say within a second.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClusterMember {
    /// Its id.
    pub id: u64,
    /// Where the other nodes reach it; empty in a cluster of one.
    #[schema(examples("10.0.0.1:7600"))]
    pub address: String,
    /// Whether it has a vote. One without only follows, and answers.
    pub voter: bool,
    /// What it is at the moment.
    #[schema(value_type = Option<schema::NodeRole>, required)]
    pub role: Option<&'static str>,
    /// Its term.
    #[schema(required)]
    pub term: Option<u64>,
    /// The last entry of its log.
    #[schema(required)]
    pub last_log_index: Option<u64>,
    /// The last entry that it has applied.
    #[schema(required)]
    pub applied_index: Option<u64>,
    /// How many entries of the longest log it has not applied yet.
    #[schema(required)]
    pub lag: Option<u64>,
    /// What is left of its lease, in milliseconds; 0 while it may not answer.
    #[schema(required)]
    pub lease_left_ms: Option<u64>,
    /// Why its last request for a lease was refused; null if it was granted. `diverged`: its state
    /// is not the leader's, so it answers nothing until it is replaced.
    #[schema(value_type = Option<schema::LeaseRefusal>, required)]
    pub lease_refused: Option<&'static str>,
    /// The newest level that its program knows.
    #[schema(required, examples(1))]
    pub newest_level: Option<u32>,
    /// Why it is not ready, as its `/readyz` says it; `unreachable` if it does not answer, and null
    /// if it is ready.
    #[schema(value_type = Option<schema::NotReady>, required)]
    pub not_ready: Option<&'static str>,
}

impl ClusterMember {
    fn all(members: Vec<MemberStatus>) -> Vec<Self> {
        let longest = members.iter().filter_map(|member| member.last_log_index).max().unwrap_or(0);
        let shown = members.into_iter().map(|member| Self {
            id: member.id,
            address: member.address,
            voter: member.voter,
            role: member.role.map(role),
            term: member.term,
            last_log_index: member.last_log_index,
            applied_index: member.applied_index,
            lag: member.applied_index.map(|applied| longest.saturating_sub(applied)),
            lease_left_ms: member.lease_left_ms,
            lease_refused: member.lease_refused.map(Reason::name),
            newest_level: member.newest_level,
            not_ready: member.not_ready,
        });
        shown.collect()
    }
}

/// Which node is to lead.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferLeader {
    /// Its id.
    #[schema(value_type = schema::NodeId)]
    pub node_id: u64,
}

impl FromFields for TransferLeader {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            node_id: fields.required("node_id", rules::integer(1..=limits::NODE_ID_MAX, ""))?,
        })
    }
}

/// The level that holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClusterLevel {
    /// Which of the machine's rules hold.
    #[schema(examples(1))]
    pub level: u32,
}

/// A clock that counts again.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConfirmedClock {
    /// What it says.
    #[schema(value_type = schema::Timestamp)]
    pub now: String,
}

impl ConfirmedClock {
    /// Confirmed at `now_ms`.
    pub fn at(now_ms: u64) -> Self {
        Self { now: time(now_ms) }
    }
}

/// A node that leads, or was removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangedMember {
    /// Its id.
    #[schema(value_type = schema::NodeId)]
    pub node_id: u64,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClusterNode {
    /// Its id.
    pub id: u64,
    /// What it is at the moment.
    #[schema(value_type = schema::NodeRole)]
    pub role: &'static str,
    /// Whether it may answer reads and verify tokens.
    pub may_serve: bool,
    /// What is left of its lease, in milliseconds; 0 while it may not answer.
    pub lease_left_ms: u64,
    /// The last entry of its log.
    pub last_log_index: u64,
    /// The last entry that it has applied.
    pub applied_index: u64,
    /// The last entry that its newest snapshot holds.
    #[schema(required)]
    pub snapshot_index: Option<u64>,
    /// Size of that snapshot, in bytes.
    pub snapshot_bytes: u64,
    /// Size of its log and journal, in bytes.
    pub store_bytes: u64,
}

impl Cluster {
    /// What a node's status says, and the members'.
    pub fn new(
        status: &Status,
        may_serve: bool,
        members: Vec<MemberStatus>,
        state: &domain::State,
    ) -> Self {
        Self {
            cluster_id: status.cluster_id_hex(),
            leader: status.leader,
            term: status.term,
            level: status.level,
            node: ClusterNode {
                id: status.node_id,
                role: role(status.role),
                may_serve,
                lease_left_ms: status.lease_left_ms,
                last_log_index: status.last_log_index,
                applied_index: status.applied_index,
                snapshot_index: status.snapshot_index,
                snapshot_bytes: status.snapshot_bytes,
                store_bytes: status.store_bytes,
            },
            members: ClusterMember::all(members),
            removed: status.removed.clone(),
            restored: Restored::of(state),
        }
    }
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Learner => "learner",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Stopped => "stopped",
    }
}

/// The public half of a key with which a node signs tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct SigningKey {
    /// Its id, the `kid` of the tokens that it signed.
    #[schema(value_type = schema::SigningKeyId)]
    pub kid: String,
    /// The node that holds the private half.
    pub node_id: u64,
    /// The public half.
    #[schema(value_type = schema::PublicKey)]
    pub public_key: String,
    /// `active` signs; `retired` only verifies; of a `revoked` one every token is dead.
    #[schema(value_type = schema::SigningKeyStatus)]
    pub status: &'static str,
    /// When it was registered.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: String,
    /// From when on it no longer signs.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub retired_at: Option<String>,
    /// When it was revoked.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub revoked_at: Option<String>,
    /// When the last token that it signed expires; null when it signed none.
    #[schema(value_type = Option<schema::Timestamp>, required)]
    pub last_token_expires_at: Option<String>,
}

impl From<&domain::SigningKey> for SigningKey {
    fn from(key: &domain::SigningKey) -> Self {
        let status = match (key.revoked_at, key.retired_at) {
            (Some(_), _) => "revoked",
            (None, Some(_)) => "retired",
            (None, None) => "active",
        };
        Self {
            kid: key.id.to_string(),
            node_id: key.node,
            public_key: public_key::text(&key.public_key),
            status,
            created_at: time(key.created_at),
            retired_at: key.retired_at.map(time),
            revoked_at: key.revoked_at.map(time),
            last_token_expires_at: (key.last_expiry > 0).then(|| time_s(key.last_expiry)),
        }
    }
}

/// A new operator key.
#[derive(Debug, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateOperatorKey {
    /// Its name, for people.
    #[schema(value_type = schema::Name)]
    pub name: String,
}

impl FromFields for CreateOperatorKey {
    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self { name: fields.required("name", name)? })
    }
}

impl CreateOperatorKey {
    /// What the core is asked for, and the secret that opens the new key.
    pub fn into_action(self) -> (Action, Secret) {
        let secret = Secret::mint(KeyKind::Operator);
        let action = Action::CreateOperatorKey(domain::CreateOperatorKey {
            id: OperatorKeyId::from_ulid(mint::ulid()),
            name: self.name,
            secret_hash: secret.hash(),
            last_four: secret.last_four().to_owned(),
        });
        (action, secret)
    }
}

/// An operator key.
#[derive(Debug, Serialize, ToSchema)]
pub struct OperatorKey {
    /// Its id.
    #[schema(value_type = schema::OperatorKeyId)]
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// The key itself where it was just made, shown this once; masked everywhere else.
    #[schema(examples("rai_op_…x7Qz"))]
    pub key: String,
    /// When it was created.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: String,
}

impl OperatorKey {
    /// The key as it is shown whenever it is listed.
    pub fn masked(key: &domain::OperatorKey) -> Self {
        Self::shown(key, format!("{}…{}", KeyKind::Operator.prefix(), key.last_four))
    }

    /// The key as it is shown once.
    pub fn with_secret(key: &domain::OperatorKey, secret: &str) -> Self {
        Self::shown(key, secret.to_owned())
    }

    fn shown(key: &domain::OperatorKey, text: String) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            key: text,
            created_at: time(key.created_at),
        }
    }
}
