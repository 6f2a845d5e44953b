//! What a node tells about itself. Must not know how anything is done.

use std::collections::BTreeSet;

use openraft::ServerState;

use crate::damage::Damage;
use crate::lease::Reason;
use crate::store::identity::{ClusterId, hex};
use crate::store::scrub::ScrubReport;

/// What a node is in its cluster at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Receives the log without a vote.
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Stops, or has stopped.
    Stopped,
}

impl From<ServerState> for Role {
    fn from(state: ServerState) -> Role {
        match state {
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        }
    }
}

/// A node's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The cluster, drawn at random when it was founded.
    pub cluster_id: ClusterId,
    /// This node.
    pub node_id: u64,
    /// What it is at the moment.
    pub role: Role,
    /// The current term.
    pub term: u64,
    /// The current leader, if known.
    pub leader: Option<u64>,
    /// The last index of the log.
    pub last_log_index: u64,
    /// The last index that is no longer in the log, because a snapshot contains it.
    pub purged_index: Option<u64>,
    /// The last index that is applied and published.
    pub applied_index: u64,
    /// The last index that the newest snapshot contains.
    pub snapshot_index: Option<u64>,
    /// Size of the newest snapshot.
    pub snapshot_bytes: u64,
    /// Size of the store that holds log and journal.
    pub store_bytes: u64,
    /// What is left of this node's lease, milliseconds; 0 while it has none.
    pub lease_left_ms: u64,
    /// Why its last request for a lease was refused; none if it was granted.
    pub lease_refused: Option<Reason>,
    /// Which of the machine's rules hold.
    pub level: u32,
    /// The newest level of rules that this node's build knows.
    pub newest_level: u32,
    /// What the background check of the journal has found.
    pub scrub: ScrubReport,
    /// The nodes that were members and are no more.
    pub removed: Vec<u64>,
    /// Damage that it has found and that is not mended: it acknowledges no write.
    pub damage: Option<Damage>,
    /// Whether its store was damaged and the other members are filling it again; it does not vote.
    pub renewing: bool,
    /// Where it leads: members whose logs have lost entries that they had acknowledged to it. Each is
    /// being filled again, or runs on an older copy of its data directory.
    pub set_back: BTreeSet<u64>,
}

impl Status {
    /// The cluster id as people see it.
    pub fn cluster_id_hex(&self) -> String {
        hex(&self.cluster_id)
    }
}

/// A member of the cluster, and what it says of itself if it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its id.
    pub id: u64,
    /// `host:port` at which peers reach it; empty for a cluster of one.
    pub address: String,
    /// Whether it has a vote.
    pub voter: bool,
    /// What it is at the moment.
    pub role: Option<Role>,
    /// Its term.
    pub term: Option<u64>,
    /// The last index of its log.
    pub last_log_index: Option<u64>,
    /// The last index that it has applied and published.
    pub applied_index: Option<u64>,
    /// What is left of its lease, milliseconds; 0 while it has none.
    pub lease_left_ms: Option<u64>,
    /// Why its last request for a lease was refused; none if it was granted.
    pub lease_refused: Option<Reason>,
    /// The newest level of rules that its build knows.
    pub newest_level: Option<u32>,
    /// The name of the reason why it is not ready; `unreachable` if it does not answer.
    pub not_ready: Option<&'static str>,
}
