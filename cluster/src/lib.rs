//! A replicated state machine, durable on each node and generic over the machine.
//!
//! A [`Node`] opens a data directory and runs a [`Machine`] on it. Its [`Handle`] proposes
//! commands: each is stamped, appended to a replicated log, synced, committed, applied, and
//! answered only when its effects can be read. History that the machine writes goes to the
//! [`Journal`]. Even one node takes this whole way.
//!
//! openraft orders the commands; sled keeps the log and the newest records of the journal, whose
//! complete blocks are files. Neither shows through: no type of theirs is public, and nothing here
//! knows what a command means.

mod admission;
mod codec;
mod config;
mod error;
mod fatal;
mod handle;
pub mod lease;
pub mod limits;
mod machine;
mod network;
mod node;
mod open;
mod status;
mod store;
mod types;

#[cfg(test)]
extern crate self as authrai_cluster;
#[cfg(test)]
#[path = "../tests/toy/mod.rs"]
mod toy;

pub use config::Config;
pub use error::{Fatal, JournalError, ProposeError, StartError, Unavailable, What};
pub use handle::{Committed, Handle};
pub use machine::{Applied, Machine, Record, Stamp, Undecodable};
pub use node::Node;
pub use status::{Role, Status};
pub use store::identity::ClusterId;
pub use store::journal::Journal;
pub use store::scrub::ScrubReport;
