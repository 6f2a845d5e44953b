//! Actors: the work that a node does, as against the truth that the cluster holds.
//!
//! One supervisor owns the others and restarts what dies. Callers hold typed handles ([`Agents`],
//! [`Keys`], [`Proposals`]) and never see an actor. ractor's mailboxes are unbounded, so a call is
//! admitted before it enters one; whoever was not answered was not served. What an actor knows can
//! be rebuilt from the state and the disk, so killing one loses nothing that was acknowledged.
//! Must not know HTTP.

mod agents;
mod call;
mod domains;
mod key_store;
mod keys;
mod policies;
mod proposals;
mod slot;
mod supervisor;
mod upkeep;
mod webhooks;

pub use agents::{Agents, CreatedAgent, IssuedToken, NewAgent, NewToken, TokenAnswer};
pub use call::{Call, CommandError, Done, Once};
pub use domains::{DomainCheckError, Domains};
pub use key_store::{KeyStore, KeyStoreError};
pub use keys::Keys;
pub use policies::{CheckError, Explained, Policies, TokenRequest};
pub use proposals::Proposals;
pub use supervisor::{Settings, Supervisor};
pub use upkeep::KeyUse;
pub use webhooks::{
    ATTEMPT_SECONDS_METRIC, ATTEMPTS_METRIC, NewWebhook, OPEN_RETRIES_METRIC, WebhookWithSecret,
    Webhooks,
};
