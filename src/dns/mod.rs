//! The DNS: how names of domains are spelled, what stands in the DNS under one, and which addresses
//! a host has.
//!
//! Every look is fresh: nothing is cached between two, and the system's servers are read anew. An
//! answer is told apart from having none: that a name or a record is not there is an answer; a
//! server that fails, or does not answer in time, says nothing. Must not know organisations, or
//! what is looked for.

mod addresses;
mod name;
mod resolver;
mod server;

pub use addresses::{Addresses, NoAddress};
pub use name::normalise;
pub use resolver::{Answer, NoAnswer, Resolver};
pub use server::DnsServer;
