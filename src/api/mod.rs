//! The HTTP API: one file a noun, each with its routes.
//!
//! A handler checks authority by the type of its caller, turns a DTO into a command, and the
//! outcome into a DTO. Wire types are not domain types (`wire`), and a refusal becomes a status
//! in one place (`error.rs`). The description of the API is generated from the same code
//! (`openapi.rs`). Nothing below imports this.

mod agents;
mod anyone;
mod api_keys;
mod approvals;
mod audit;
mod auth;
mod backup;
mod billing;
mod body;
mod cluster;
mod domains;
mod error;
mod fields;
mod freshness;
mod health;
mod idempotency;
mod json;
mod metrics;
mod notes;
mod openapi;
mod organizations;
mod pagination;
mod policies;
mod problem;
mod query;
mod rate;
mod relay;
mod reply;
mod request;
mod rules;
mod schema;
mod signed;
mod tokens;
mod verify;
mod webhooks;
mod wire;

use std::sync::Arc;

use authrai_cluster::Handle;
use axum::{Router, middleware};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    actors::{Agents, Domains, KeyUse, Keys, Policies, Proposals, Webhooks},
    audit::AuditLog,
    machine::AuthMachine,
    verify::Views,
};

pub use freshness::ReadRounds;
pub use metrics::metrics_router;
pub use openapi::{Access, Route, route_table};
pub use rate::{AddressRates, KeyRates};
pub use relay::{Relayed, Relaying};

/// What the API works with. Clones share it.
#[derive(Clone)]
pub struct App {
    /// This node of the cluster.
    pub handle: Handle<AuthMachine>,
    /// Whether this node has a vote, or is to get one; one without passes writes on.
    pub voter: bool,
    /// The newest view of the state.
    pub views: Views,
    /// Writes that no actor owns.
    pub proposals: Proposals,
    /// Agents and tokens.
    pub agents: Agents,
    /// What policies say of token requests.
    pub policies: Policies,
    /// This node's signing keys.
    pub keys: Keys,
    /// Notes when API keys are used.
    pub key_use: KeyUse,
    /// Checks of domains.
    pub domains: Domains,
    /// The audit log of this node.
    pub audit: AuditLog,
    /// Webhook endpoints.
    pub webhooks: Webhooks,
    /// Who signs tokens: their `iss`.
    pub issuer: Arc<str>,
    /// Rounds to the leader that requests share.
    pub rounds: Arc<ReadRounds>,
    /// Requests that are passed on, on a node without a vote.
    pub relaying: Relaying,
    /// Cancelled when the node begins to stop: endless answers end then.
    pub stopping: CancellationToken,
    /// The rates of API keys on this node.
    pub key_rates: Arc<KeyRates>,
    /// The rates of addresses that verify on this node, if they are limited.
    pub address_rates: Option<Arc<AddressRates>>,
    /// Places for backups that this node makes at a time.
    pub backups: Arc<Semaphore>,
    /// The plan of a new organisation that names none.
    pub default_plan: Arc<str>,
}

/// The whole API, ready to be served.
pub fn router(app: App) -> Router {
    metrics::install();
    let (routes, description) = routes(app.address_rates.as_ref()).split_for_parts();
    let router = routes
        .merge(openapi::router(&description))
        .fallback(request::fallback)
        .layer(middleware::from_fn(request::around));
    let router = match app.voter {
        true => router,
        false => router.layer(middleware::from_fn_with_state(app.clone(), relay::pass_on)),
    };
    router.with_state(app)
}

/// Every route that the description lists. The layer that counts addresses is there only if they
/// are limited, so that otherwise a verification passes nothing on its account.
fn routes(address_rates: Option<&Arc<AddressRates>>) -> OpenApiRouter<App> {
    let verify = match address_rates {
        Some(rates) => verify::router()
            .layer(middleware::from_fn_with_state(Arc::clone(rates), rate::limit_address)),
        None => verify::router(),
    };
    let nouns = OpenApiRouter::new()
        .merge(agents::router())
        .merge(tokens::router())
        .merge(verify)
        .merge(policies::router())
        .merge(approvals::router())
        .merge(audit::router())
        .merge(api_keys::router())
        .merge(domains::router())
        .merge(organizations::router())
        .merge(cluster::router())
        .merge(backup::router())
        .merge(webhooks::router())
        .merge(billing::router());
    openapi::described().nest("/v1", nouns).merge(health::router())
}
