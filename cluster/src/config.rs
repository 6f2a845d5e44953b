//! Where a node lives and how it behaves: what a caller may choose, and what follows from it.
//!
//! Must not know what is done with the settings.

use std::path::PathBuf;
use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::lease;
use crate::peer::PeerConfig;
use crate::stamping::WallClock;
use crate::store::identity::ClusterId;

/// Where a node lives and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory that holds everything.
    pub data_dir: PathBuf,
    /// This node; never given to another one.
    pub node_id: u64,
    /// The cluster that the directory must belong to, if the caller knows. A cluster founded here
    /// gets this id, or else a random one.
    pub cluster_id: Option<ClusterId>,
    /// A snapshot is written after this many log entries.
    pub snapshot_every_entries: u64,
    /// A snapshot is written after this many bytes of commands.
    pub snapshot_every_bytes: u64,
    /// Log entries kept behind a snapshot, for members that lag a little.
    pub log_keep_entries: u64,
    /// Cache of the store.
    pub cache_bytes: u64,
    /// How fast the background check reads the journal.
    pub scrub_bytes_per_second: u64,
    /// How long the background check rests between two passes.
    pub scrub_pause: Duration,
    /// How this node speaks to peers; a node without this is a cluster of one.
    pub peers: Option<PeerConfig>,
    /// Whether this node wants a vote once it has caught up; else it only follows, and answers.
    pub voter: bool,
    /// Where stamps come from.
    pub wall_clock: WallClock,
    /// How long leases last; the same on every node of a cluster.
    pub lease: lease::Params,
}

impl Config {
    /// Node 1 in `data_dir`, with what suits most.
    pub fn new(data_dir: impl Into<PathBuf>) -> Config {
        Config {
            data_dir: data_dir.into(),
            node_id: 1,
            cluster_id: None,
            snapshot_every_entries: 100_000,
            snapshot_every_bytes: 256 * 1024 * 1024,
            log_keep_entries: 10_000,
            cache_bytes: 512 * 1024 * 1024,
            scrub_bytes_per_second: 4 * 1024 * 1024,
            scrub_pause: Duration::from_secs(6 * 60 * 60),
            peers: None,
            voter: true,
            wall_clock: WallClock::default(),
            lease: lease::Params::default(),
        }
    }

    /// The consensus engine's settings.
    pub(crate) fn raft(&self) -> openraft::Config {
        openraft::Config {
            cluster_name: "authrai".into(),
            // A follower waits 0.6 s and then 0.3 to 0.6 s more before it stands for election: a new
            // leader is there before the leases of the old one end.
            heartbeat_interval: 100,
            election_timeout_min: 300,
            election_timeout_max: 600,
            // The default, 200 ms, is no time to write a whole state.
            install_snapshot_timeout: 60_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every_entries.max(1)),
            max_in_snapshot_log_to_keep: self.log_keep_entries,
            purge_batch_size: 1,
            replication_lag_threshold: self.log_keep_entries.max(5_000),
            enable_pre_vote: Some(true),
            // A leader that restarts must be elected again: it has forgotten what it granted.
            enable_leader_restore: Some(false),
            // A member that lost its store comes back with a shorter log, and does not vote until it has
            // caught up: see `recovering`. A leader must survive it.
            allow_log_reversion: Some(true),
            ..openraft::Config::default()
        }
    }
}
