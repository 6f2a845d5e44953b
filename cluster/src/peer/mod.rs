//! How nodes reach each other: HTTP/2 over mutual TLS, one request a message.
//!
//! A certificate names its holder, `node-<id>.<cluster id>.authrai.internal`, and is believed when
//! the cluster's CA signed it. Both sides show one. Whatever a message claims about its sender must
//! agree with the certificate. Who is not of this cluster, was removed from it, or speaks for a
//! data directory that the members do not know gets nothing: the handshake fails or the stream
//! is reset, and no word says why. Every message has a deadline and a bounded size.
//!
//! [`tls`] is who a peer is; [`wire`] is what is said; [`link`] is a way to one peer; [`network`]
//! is the consensus engine's use of it; [`server`] is the other end, and [`rights`] the table of who
//! may make which request. Must not know what the machine
//! does.

mod exchange;
pub(crate) mod link;
pub(crate) mod network;
pub(crate) mod rights;
pub(crate) mod server;
mod snapshot;
pub(crate) mod tls;
pub(crate) mod wire;
pub(crate) mod wire_journal;
pub(crate) mod wire_members;
pub(crate) mod wire_questions;
pub(crate) mod wire_raft;

#[cfg(test)]
mod attack_tests;

pub use exchange::PeerConfig;
