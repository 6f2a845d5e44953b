//! Who calls a route that takes no key: a network, or the organisation of a key that is presented
//! all the same. It decides of whose share a call is, and what `AuthRAI-Min-Index` may reveal.
//!
//! Knows nothing of what the route does.

use std::net::IpAddr;

use axum::{extract::FromRequestParts, http::request::Parts};

use super::{
    App,
    auth::organization_of,
    freshness::{Asker, MIN_INDEX, catch_up_for_min_index, wait_for_min_index},
    problem::Problem,
    rate::network_of,
};

/// Whoever calls. By the time that there is one, this node has caught up with the index that the
/// request names.
#[derive(Debug, Clone, Copy)]
pub struct Anyone(pub Asker);

impl FromRequestParts<App> for Anyone {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let network: IpAddr = network_of(&parts.extensions);
        if !parts.headers.contains_key(&MIN_INDEX) {
            return Ok(Self(Asker::Anonymous(network)));
        }
        match organization_of(app, &parts.headers) {
            Some(org) => {
                wait_for_min_index(app, org, &parts.headers).await?;
                Ok(Self(Asker::Organization(org)))
            }
            None => {
                catch_up_for_min_index(app, network, &parts.headers).await?;
                Ok(Self(Asker::Anonymous(network)))
            }
        }
    }
}
