//! Wire types: what the API reads and writes, one file a noun.
//!
//! They are not domain types: conversions stand here, field by field, so that neither side changes
//! the other unnoticed. What is read is validated with the rules of [`super::rules`]; what is
//! written has no secret but where a secret is handed out.

pub mod agent;
pub mod api_key;
pub mod approval;
pub mod audit;
pub mod billing;
pub mod cluster;
pub mod domain;
pub mod organization;
pub mod policy;
mod public_key;
pub mod simulation;
pub mod suspension;
pub mod token;
pub mod verdict;
pub mod webhook;

use serde::Serialize;
use utoipa::ToSchema;

use super::{rules, schema};
use crate::{
    domain::{Environment, Millis, Seconds},
    limits, rfc3339,
};

/// What a deletion is answered with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// What was deleted.
    pub id: String,
    /// Always true.
    #[schema(examples(true))]
    pub deleted: bool,
}

/// A time as the API writes it, to the second.
fn time(at: Millis) -> String {
    rfc3339::seconds(at / 1000)
}

/// The same, of a token's claims.
fn time_s(at: Seconds) -> String {
    rfc3339::seconds(at)
}

/// The rule of names and owners.
fn name(value: serde_json::Value) -> super::fields::Checked<String> {
    rules::text(1..=limits::NAME_MAX_CHARS)(value)
}

/// The rule of descriptions, models and frameworks.
fn description(value: serde_json::Value) -> super::fields::Checked<String> {
    rules::text(0..=limits::DESCRIPTION_MAX_CHARS)(value)
}

const ENVIRONMENTS: &[(&str, Environment)] =
    &[("live", Environment::Live), ("test", Environment::Test)];
