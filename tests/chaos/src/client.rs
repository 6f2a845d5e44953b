//! The API as the harness calls it, and what each answer means for a history. Must not know what
//! is asked when.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::history::{Outcome, Said, Shown};

/// How long a read may take: a stopped node never answers.
const READ_MAX: Duration = Duration::from_secs(3);
/// How long a write may take.
const WRITE_MAX: Duration = Duration::from_secs(8);

/// What came of a write: its outcome, and what was answered when it is done.
pub struct Written {
    pub outcome: Outcome,
    pub body: Value,
    /// An answer that the contract does not know.
    pub nonsense: Option<String>,
    /// The problem's code, of a refusal.
    pub code: String,
}

/// Calls of one cluster.
#[derive(Clone)]
pub struct Api {
    client: Client,
    pub operator_key: String,
    pub api_key: String,
}

impl Api {
    pub fn new(operator_key: String) -> reqwest::Result<Self> {
        let client = Client::builder().pool_max_idle_per_host(64).no_proxy().build()?;
        Ok(Self { client, operator_key, api_key: String::new() })
    }

    /// A write with `key`.
    pub async fn write(
        &self,
        key: &str,
        method: Method,
        node: SocketAddr,
        path: &str,
        body: Option<&Value>,
    ) -> Written {
        let mut request = self.client.request(method, format!("http://{node}/v1{path}"));
        request = request.bearer_auth(key).timeout(WRITE_MAX);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = match request.send().await {
            // Not even a connection: it was not sent.
            Err(error) if error.is_connect() => return Written::of(Outcome::Refused),
            Err(_) => return Written::of(Outcome::Unknown),
            Ok(answer) => answer,
        };
        let status = answer.status();
        let Ok(text) = answer.text().await else {
            return Written::of(Outcome::Unknown);
        };
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        let outcome = match (status, code.as_str()) {
            (StatusCode::OK | StatusCode::CREATED, _) => Outcome::Done,
            (StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown") => Outcome::Unknown,
            // The conflict is of an agent that another client revoked meanwhile.
            (StatusCode::SERVICE_UNAVAILABLE, _) | (StatusCode::CONFLICT, "agent_revoked") => {
                Outcome::Refused
            }
            _ => {
                let nonsense = Some(format!("{path}: {status} {text}"));
                return Written { outcome: Outcome::Unknown, body, nonsense, code };
            }
        };
        Written { outcome, body, nonsense: None, code }
    }

    /// A read; `None` without an answer.
    pub async fn read(
        &self,
        key: &str,
        node: SocketAddr,
        path: &str,
    ) -> Option<(StatusCode, Value)> {
        let request = self.client.get(format!("http://{node}{path}")).bearer_auth(key);
        let answer = request.timeout(READ_MAX).send().await.ok()?;
        let status = answer.status();
        Some((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// A read that may take long and must work.
    pub async fn stream(
        &self,
        key: &str,
        node: SocketAddr,
        path: &str,
    ) -> reqwest::Result<Response> {
        let request = self.client.get(format!("http://{node}{path}")).bearer_auth(key);
        request.send().await?.error_for_status()
    }

    /// What a node says of each of these tokens. The second is an answer outside the contract.
    pub async fn verify(&self, node: SocketAddr, tokens: &[&str]) -> (Vec<Said>, Option<String>) {
        let every = |said| vec![said; tokens.len()];
        let single = tokens.len() == 1;
        let (path, body) = match single {
            true => ("/v1/tokens/verify", json!({"token": tokens[0]})),
            false => ("/v1/tokens/verify/batch", json!({"tokens": tokens})),
        };
        let request = self.client.post(format!("http://{node}{path}")).json(&body);
        let Ok(answer) = request.timeout(READ_MAX).send().await else {
            return (every(Said::Nothing), None);
        };
        match answer.status() {
            StatusCode::SERVICE_UNAVAILABLE => return (every(Said::Refused), None),
            StatusCode::OK => {}
            status => return (every(Said::Nothing), Some(format!("{path}: {status}"))),
        }
        let Ok(text) = answer.text().await else { return (every(Said::Nothing), None) };
        let results: Vec<Value> = match serde_json::from_str::<Value>(&text) {
            Ok(mut answer) if !single => match answer["results"].take() {
                Value::Array(results) => results,
                _ => Vec::new(),
            },
            Ok(answer) => vec![answer],
            Err(_) => Vec::new(),
        };
        if results.len() != tokens.len() {
            return (every(Said::Wrong), Some(format!("{path}: {text}")));
        }
        let said: Vec<_> = results.iter().map(said).collect();
        let wrong = said.iter().position(|said| *said == Said::Wrong);
        (said, wrong.map(|at| format!("{path}: {}", results[at])))
    }

    /// Whether a node takes this API key.
    pub async fn takes_key(&self, node: SocketAddr, key: &str) -> (Said, Option<String>) {
        let Some((status, body)) = self.read(key, node, "/v1/agents?limit=1").await else {
            return (Said::Nothing, None);
        };
        match status {
            StatusCode::OK => (Said::Valid, None),
            StatusCode::UNAUTHORIZED => (Said::Dead, None),
            StatusCode::SERVICE_UNAVAILABLE => (Said::Refused, None),
            status => (Said::Wrong, Some(format!("an API key: {status} {body}"))),
        }
    }

    /// How a node shows an agent; `None` when it would not say.
    pub async fn shown(&self, node: SocketAddr, agent: &str) -> Option<Shown> {
        let (status, body) = self.read(&self.api_key, node, &format!("/v1/agents/{agent}")).await?;
        match (status, body["status"].as_str()) {
            (StatusCode::OK, Some("revoked")) => Some(Shown::Revoked),
            (StatusCode::OK, _) => Some(Shown::Active),
            (StatusCode::NOT_FOUND, _) => Some(Shown::Missing),
            _ => None,
        }
    }

    /// Whether a node says that it may verify and take writes.
    pub async fn ready(&self, node: SocketAddr) -> bool {
        let answer = self.client.get(format!("http://{node}/readyz")).timeout(READ_MAX);
        answer.send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// Who leads, as this node sees it.
    pub async fn leader(&self, node: SocketAddr) -> Option<u64> {
        let (status, body) = self.read(&self.operator_key, node, "/v1/cluster").await?;
        status.is_success().then(|| body["leader"].as_u64()).flatten()
    }
}

impl Written {
    fn of(outcome: Outcome) -> Self {
        Self { outcome, body: Value::Null, nonsense: None, code: String::new() }
    }

    /// Text of the answer.
    pub fn text(&self, field: &str) -> Option<String> {
        self.body[field].as_str().map(str::to_owned)
    }
}

fn said(result: &Value) -> Said {
    match (result["valid"].as_bool(), result["reason"].as_str()) {
        (Some(true), _) => Said::Valid,
        (Some(false), Some("revoked" | "agent_revoked")) => Said::Dead,
        _ => Said::Wrong,
    }
}
