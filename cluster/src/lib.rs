//! A replicated state machine, durable on each node and generic over the machine.
//!
//! openraft orders the commands, sled keeps the log and the journal. Neither shows through: no
//! type of theirs is public, and nothing here knows what a command means.

pub mod lease;
pub mod limits;
mod machine;

pub use machine::{Applied, Machine, Record, Stamp, Undecodable};
