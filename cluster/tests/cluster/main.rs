//! A cluster of real nodes in one process, over real TLS, through wires that can be cut.
//!
//! What the lease model shows of the protocol is shown here of the nodes that speak it: writes
//! through any node, a leader that fails, members that come and go, peers that are refused, and
//! above all that no node answers from a view before a revoke that was answered.

mod backups;
mod certs;
mod clocks;
mod damaged;
mod harness;
mod learners;
mod life;
mod members;
mod parted;
mod refused;
mod revokes;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;
#[path = "../toy/mod.rs"]
mod toy;
mod upgrade;
mod wires;
