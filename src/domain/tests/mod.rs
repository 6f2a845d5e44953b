//! The core's rules, each as a test: decide tables by noun, and the stored bytes.

mod agent;
mod api_key;
mod caller;
pub(crate) mod dns_domain;
mod event;
mod expiry;
pub(crate) mod golden;
pub(crate) mod golden_policy;
mod operator_key;
mod organization;
mod policy;
mod signing_key;
mod token;
pub(crate) mod world;

mod billing;
pub(crate) mod golden_plans;
mod idempotency;
