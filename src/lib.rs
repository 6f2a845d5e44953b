//! AuthRAI: identity and short-lived tokens for AI agents, self-hosted and clustered.
//!
//! `docs/architecture.md` draws the house. In short: [`domain`] decides, the cluster crate
//! replicates, [`verify`] answers from memory, [`audit`] remembers, [`actors`] work, [`api`] speaks
//! HTTP, [`cli`] starts it all.

pub mod actors;
pub mod api;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod config;
pub mod dns;
pub mod domain;
pub mod fair;
pub mod handover;
pub mod limits;
pub mod machine;
pub mod mint;
pub mod policy;
pub mod rfc3339;
pub mod secrets;
pub mod server;
pub mod setup;
pub mod signature;
pub mod token;
pub mod verify;
pub mod webhooks;
