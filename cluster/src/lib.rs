//! A replicated state machine, durable on each node and generic over the machine.
//!
//! A [`Node`] opens a data directory and runs a [`Machine`] on it. Its [`Handle`] proposes
//! commands: each is stamped, appended to a replicated log, synced, committed, applied, and
//! answered only when its effects can be read; [`Handle::propose_everywhere`] waits until no node
//! can answer from before it. History that the machine writes goes to the [`Journal`]. Even one node
//! takes this whole way; several reach each other over mutual TLS ([`PeerConfig`]), and whichever
//! is asked, the leader does it.
//!
//! openraft orders the commands; sled keeps the log and the newest records of the journal, whose
//! complete blocks are files. Neither shows through: no type of theirs is public, and nothing here
//! knows what a command means.

mod admission;
mod answer;
pub mod backup;
mod cluster_time;
mod codec;
mod config;
mod damage;
mod electorate;
mod error;
mod fatal;
mod filling;
mod forward;
mod front;
mod handle;
mod joining;
pub mod lease;
mod leasing;
mod level;
pub mod limits;
mod machine;
mod members;
mod mending;
mod meters;
mod node;
mod open;
mod operator;
mod peer;
mod questions;
mod readiness;
mod recovering;
mod roster;
mod runtime;
mod stamping;
mod status;
mod store;
mod types;
mod wall_clock;

#[cfg(test)]
extern crate self as authrai_cluster;
#[cfg(test)]
#[path = "../tests/cluster/certs.rs"]
mod certs;
#[cfg(test)]
#[path = "../tests/sim/mod.rs"]
mod sim;
#[cfg(test)]
#[path = "../tests/toy/mod.rs"]
mod toy;

pub use config::Config;
pub use damage::{Damage, Remedy};
pub use error::{Fatal, JournalError, MemberError, ProposeError, StartError, Unavailable, What};
pub use handle::{Committed, Handle};
pub use machine::{Applied, Machine, Record, Stamp, Undecodable, Unproposable};
pub use meters::{LEASE_REFUSALS_METRIC, REVOKE_WAIT_SECONDS_METRIC};
pub use node::{Node, Seed};
pub use peer::PeerConfig;
pub use peer::tls::{certificate_name, parse_hex as parse_cluster_id};
pub use peer::wire_members::Refusal as MemberRefusal;
pub use questions::{Answerer, Answering, AskError};
pub use readiness::Unready;
pub use stamping::{ClockFault, WallClock};
pub use status::{MemberStatus, Role, Status};
pub use store::identity::ClusterId;
pub use store::journal::Journal;
pub use store::scrub::ScrubReport;
