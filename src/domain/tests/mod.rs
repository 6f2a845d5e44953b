//! The core's rules, each as a test: decide tables by noun, and the stored bytes.

mod agent;
mod api_key;
mod api_key_line;
mod caller;
mod delivery;
pub(crate) mod dns_domain;
mod event;
mod expiry;
pub(crate) mod golden;
pub(crate) mod golden_policy;
pub(crate) mod golden_webhook;
mod operator_key;
mod organization;
mod output;
mod policy;
mod quota;
mod signing_key;
mod token;
mod webhook;
pub(crate) mod world;

mod billing;
pub(crate) mod golden_plans;
mod idempotency;
pub(crate) mod restoration;
