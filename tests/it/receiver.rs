//! A receiver of webhooks as somebody would run one: it answers what it is told to, and checks each
//! signature by the words of Standard Webhooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::harness::{Caller, text, until};

/// A message that arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub id: String,
    pub timestamp: String,
    pub signatures: Vec<String>,
    pub raw: Vec<u8>,
}

impl Arrived {
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.raw).expect("a JSON body")
    }

    pub fn kind(&self) -> String {
        text(&self.body(), "type")
    }

    /// Whether one of the signatures is that of `secret`.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = secret.strip_prefix("whsec_").expect("a webhook secret");
        let key = STANDARD.decode(key).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        mac.update(format!("{}.{}.", self.id, self.timestamp).as_bytes());
        mac.update(&self.raw);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.signatures.contains(&expected)
    }
}

/// How it answers.
#[derive(Debug, Clone)]
pub struct Manner {
    pub status: u16,
    pub delay: Duration,
    pub body: String,
}

impl Manner {
    pub fn status(status: u16) -> Self {
        Self { status, delay: Duration::ZERO, body: String::new() }
    }
}

#[derive(Clone)]
struct Shared {
    arrived: Arc<Mutex<Vec<Arrived>>>,
    manner: Arc<Mutex<Manner>>,
}

pub struct Receiver {
    pub address: SocketAddr,
    shared: Shared,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    /// On a free port of loopback, answering 204.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address")).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared =
            Shared { arrived: Arc::default(), manner: Arc::new(Mutex::new(Manner::status(204))) };
        let router = Router::new().fallback(take).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("served");
        });
        Self { address, shared, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub fn answer_with(&self, manner: Manner) {
        *self.shared.manner.lock().expect("unpoisoned") = manner;
    }

    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.arrived.lock().expect("unpoisoned").clone()
    }

    /// How often each id arrived.
    pub fn ids(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for arrived in self.shared.arrived.lock().expect("unpoisoned").iter() {
            *ids.entry(arrived.id.clone()).or_default() += 1;
        }
        ids
    }

    /// Waits until so many messages have arrived, those that came again counted once.
    pub async fn until_arrived(&self, number: usize) -> Vec<Arrived> {
        until(&format!("{number} messages"), || async {
            let ids: BTreeSet<_> = self.arrived().into_iter().map(|one| one.id).collect();
            (ids.len() >= number).then_some(())
        })
        .await;
        self.arrived()
    }
}

async fn take(
    State(shared): State<Shared>,
    headers: HeaderMap,
    raw: Bytes,
) -> (StatusCode, String) {
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    assert_eq!(header("content-type"), "application/json");
    let manner = shared.manner.lock().expect("unpoisoned").clone();
    shared.arrived.lock().expect("unpoisoned").push(Arrived {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signatures: header("webhook-signature").split(' ').map(str::to_owned).collect(),
        raw: raw.to_vec(),
    });
    tokio::time::sleep(manner.delay).await;
    (StatusCode::from_u16(manner.status).expect("a status"), manner.body)
}

/// Registers an endpoint and gives (id, secret).
pub async fn register(api: &Caller, url: &str, events: &[&str]) -> (String, String) {
    let body = json!({"url": url, "events": events});
    let made = api.post("/v1/webhooks", &body).await.expect(201);
    (text(&made, "id"), text(&made, "secret"))
}

/// The deliveries of an endpoint, the latest first.
pub async fn deliveries(api: &Caller, webhook: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/webhooks/{webhook}/deliveries?limit=100")).await.expect(200);
    page["data"].as_array().cloned().expect("a list")
}
