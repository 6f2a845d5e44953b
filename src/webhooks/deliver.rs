//! Delivering: one signed POST, bounded in time and in what is read of the answer.
//!
//! No redirect is followed and no proxy of the environment is used: both would lead around the
//! guard. Must not know what a failure means for later.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Client, header, redirect};
use tokio::time::Instant;
use tracing::warn;

use super::{
    SigningSecret,
    guard::{Forbidden, Guard, Unresolved, check_url},
    sign::signature,
};
use crate::{domain::DeliveryFault, limits};

/// Connections that wait for more to one endpoint.
const IDLE_CONNECTIONS_PER_HOST: usize = 4;
const IDLE_FOR: Duration = Duration::from_secs(30);

/// One message, to be signed and posted.
#[derive(Debug, Clone, Copy)]
pub struct Parcel<'a> {
    /// Where to.
    pub url: &'a str,
    /// The `webhook-id`: the same at every attempt.
    pub id: &'a str,
    /// The `webhook-timestamp`: when this attempt begins, seconds since the Unix epoch.
    pub timestamp_s: u64,
    /// What signs: one secret, or two during a rotation.
    pub secrets: &'a [SigningSecret],
    /// The JSON text.
    pub body: &'a [u8],
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Why it counts as a failure, if it does.
    pub fault: Option<DeliveryFault>,
    /// How long it took.
    pub latency_ms: u32,
    /// The beginning of the answer's body.
    pub body: String,
}

/// Posts messages. Clones share their connections.
#[derive(Clone)]
pub struct Deliverer {
    client: Client,
    allow_private: bool,
}

impl Deliverer {
    /// Posts to where `guard` lets it.
    ///
    /// # Errors
    ///
    /// If TLS cannot be set up at all.
    pub fn new(guard: Guard) -> Result<Self, reqwest::Error> {
        Self::within(guard, Duration::from_secs(limits::WEBHOOK_TIMEOUT_S))
    }

    fn within(guard: Guard, timeout: Duration) -> Result<Self, reqwest::Error> {
        let allow_private = guard.allows_private();
        let guard = Arc::new(guard);
        let builder = || {
            Client::builder()
                .user_agent(concat!("AuthRAI/", env!("CARGO_PKG_VERSION"), " (webhooks)"))
                .redirect(redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .retry(reqwest::retry::never())
                .timeout(timeout)
                .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
                .pool_idle_timeout(IDLE_FOR)
                .dns_resolver(Arc::clone(&guard))
        };
        let client = builder().build().or_else(|error| {
            warn!(
                %error,
                "this machine has no certificates of authorities, so webhooks to https addresses \
                 will fail: install the package ca-certificates and start the node again"
            );
            builder().tls_certs_only([]).build()
        })?;
        Ok(Self { client, allow_private })
    }

    /// Whether it posts to private addresses, and without TLS.
    pub fn allows_private(&self) -> bool {
        self.allow_private
    }

    /// Posts once.
    pub async fn post(&self, parcel: Parcel<'_>) -> Answer {
        let began = Instant::now();
        let (status, fault, body) = match self.exchange(parcel).await {
            Ok((status, body)) => {
                let fault = (!(200..300).contains(&status)).then_some(DeliveryFault::Status);
                (Some(status), fault, body)
            }
            Err(fault) => (None, Some(fault), String::new()),
        };
        let latency_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
        Answer { status, fault, latency_ms, body }
    }

    async fn exchange(&self, parcel: Parcel<'_>) -> Result<(u16, String), DeliveryFault> {
        // A literal address is never resolved, so it is judged here, by today's configuration.
        let url =
            check_url(parcel.url, self.allow_private).map_err(|_| DeliveryFault::Forbidden)?;
        let sent = self
            .client
            .post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", parcel.id)
            .header("webhook-timestamp", parcel.timestamp_s)
            .header(
                "webhook-signature",
                signature(parcel.secrets, parcel.id, parcel.timestamp_s, parcel.body),
            )
            .body(parcel.body.to_vec())
            .send();
        let mut response = sent.await.map_err(|error| fault_of(&error))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while body.len() < limits::WEBHOOK_BODY_KEPT_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(fault_of(&error)),
            }
        }
        Ok((status, excerpt(&body)))
    }
}

/// The beginning of a body as text, in at most so many bytes as are kept.
fn excerpt(body: &[u8]) -> String {
    let kept = &body[..body.len().min(limits::WEBHOOK_BODY_KEPT_BYTES)];
    let mut text = String::from_utf8_lossy(kept).into_owned();
    text.truncate(text.floor_char_boundary(limits::WEBHOOK_BODY_KEPT_BYTES));
    text
}

fn fault_of(error: &reqwest::Error) -> DeliveryFault {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<Forbidden>() {
            return DeliveryFault::Forbidden;
        }
        if inner.is::<Unresolved>() {
            return DeliveryFault::Unresolved;
        }
        cause = inner.source();
    }
    if error.is_timeout() { DeliveryFault::Timeout } else { DeliveryFault::Unreachable }
}

#[cfg(test)]
mod tests;
