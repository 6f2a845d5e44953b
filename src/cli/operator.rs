//! `authrai cluster status`, `remove`, `transfer-leader` and `raise-level`: what an operator asks a
//! running node for, over its API.
//!
//! Must not know more of the answers than it prints.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::{Client, Method, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::config::{Profile, local_url};

use super::{Exit, Failure, Overrides, print};

/// Longer than a node works on a change.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Where the operator key is looked for; a flag would show in the machine's list of processes.
const KEY: &str = "AUTHRAI_OPERATOR_KEY";

/// Which node is asked. The operator key is taken from `AUTHRAI_OPERATOR_KEY`.
#[derive(Debug, Args)]
pub struct Target {
    /// The node's URL [default: the address that the configuration says]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The TOML file that the node runs with
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
}

/// `authrai cluster status`
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    target: Target,
    /// Print the API's answer as it is
    #[arg(long)]
    json: bool,
}

/// `authrai cluster remove` and `transfer-leader`
#[derive(Debug, Args)]
pub struct Member {
    /// The node's number
    node: u64,
    #[command(flatten)]
    target: Target,
}

/// Prints what the members say of themselves.
///
/// # Errors
/// If the node does not answer, or not with that.
pub async fn status(status: Status) -> Result<(), Failure> {
    let answer = ask(status.target, Method::GET, "/v1/cluster", None).await?;
    if status.json {
        return print(&format!("{answer:#}\n"));
    }
    let mut out = format!(
        "cluster {}, term {}, leader {}, level {}\n\n{:>5}  {:<10} {:<6} {:>10} {:>8} {:>9}  {}\n",
        text(&answer["cluster_id"]),
        text(&answer["term"]),
        text(&answer["leader"]),
        text(&answer["level"]),
        "node",
        "role",
        "vote",
        "applied",
        "lag",
        "lease ms",
        "address",
    );
    for member in answer["members"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "{:>5}  {:<10} {:<6} {:>10} {:>8} {:>9}  {}\n",
            text(&member["id"]),
            text(&member["role"]),
            if member["voter"] == true { "yes" } else { "no" },
            text(&member["applied_index"]),
            text(&member["lag"]),
            text(&member["lease_left_ms"]),
            text(&member["address"]),
        ));
        if let Some(why) = member["lease_refused"].as_str() {
            out.push_str(&format!("{:>5}  no lease: {why}\n", ""));
        }
    }
    let restored = &answer["restored"];
    if !restored.is_null() {
        out.push_str(&format!(
            "\nrestored {} from a backup of {}; suspended: {} API keys, {} agents\n",
            text(&restored["restored_at"]),
            text(&restored["backup_made_at"]),
            text(&restored["suspended_api_keys"]),
            text(&restored["suspended_agents"]),
        ));
    }
    print(&out)
}

/// Takes a node out of the cluster.
///
/// # Errors
/// If it cannot be done, or was not done in time.
pub async fn remove(member: Member) -> Result<(), Failure> {
    let Member { node, target } = member;
    ask(target, Method::DELETE, &format!("/v1/cluster/nodes/{node}"), None).await?;
    print(&format!("Node {node} is no member any more. Its number must not be used again.\n"))
}

/// Makes a node the leader.
///
/// # Errors
/// If it cannot be done, or was not done in time.
pub async fn transfer_leader(member: Member) -> Result<(), Failure> {
    let Member { node, target } = member;
    let body = json!({"node_id": node});
    ask(target, Method::POST, "/v1/cluster/leader", Some(body)).await?;
    print(&format!("Node {node} leads.\n"))
}

/// Raises the cluster to the newest level that every member knows.
///
/// # Errors
/// If a member does not answer, or it was not done in time.
pub async fn raise_level(target: Target) -> Result<(), Failure> {
    let answer = ask(target, Method::POST, "/v1/cluster/level", None).await?;
    print(&format!("The cluster is at level {}.\n", text(&answer["level"])))
}

/// Says that the clock of the node that is asked is right.
///
/// # Errors
/// If the node does not answer.
pub async fn confirm_clock(target: Target) -> Result<(), Failure> {
    let answer = ask(target, Method::POST, "/v1/cluster/clock", None).await?;
    print(&format!("The node's clock counts; it says {}.\n", text(&answer["now"])))
}

/// What did not say anything is a dash.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

async fn ask(
    target: Target,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, Failure> {
    AskedNode::of(target)?.json(method, path, body).await
}

/// A node, and the key that it is asked with.
pub(super) struct AskedNode {
    url: String,
    key: SecretString,
}

impl AskedNode {
    /// The node that `target` names.
    ///
    /// # Errors
    /// If there is no key, or the configuration is wrong.
    pub(super) fn of(target: Target) -> Result<Self, Failure> {
        let key = std::env::var(KEY).map(SecretString::from).map_err(|_| {
            Failure::new(Exit::Usage, format!("set {KEY} to an operator key of the cluster"))
        })?;
        let url = match target.url {
            Some(url) => url,
            None => {
                let overrides = Overrides::default();
                let resolved = overrides.resolve(Profile::Serve, target.config, Vec::new())?;
                local_url(resolved.config.listen)
            }
        };
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key })
    }

    /// Why there is no answer at `path`.
    pub(super) fn silent(&self, path: &str, error: &reqwest::Error) -> Failure {
        let why =
            std::error::Error::source(error).map_or_else(String::new, |why| format!(": {why}"));
        let url = &self.url;
        Failure::new(
            Exit::Unavailable,
            format!("{url}{path} does not answer{why}. Is the node running?"),
        )
    }

    /// Sends a request; the answer, if it is a success.
    ///
    /// # Errors
    /// What the node says instead, or that it says nothing.
    pub(super) async fn send(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, Failure> {
        let url = format!("{}{path}", self.url);
        let mut request = client.request(method, &url).bearer_auth(self.key.expose_secret());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| self.silent(path, &error))?;
        let done = answer.status();
        if done.is_success() {
            return Ok(answer);
        }
        let body: Value = answer.json().await.map_err(|error| self.silent(path, &error))?;
        let exit = if done.is_server_error() { Exit::Unavailable } else { Exit::Negative };
        Err(Failure::new(exit, format!("{url} answers {done}: {}", text(&body["detail"]))))
    }

    /// The same, of an answer that is not large.
    ///
    /// # Errors
    /// As [`AskedNode::send`].
    pub(super) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let client = Client::builder().timeout(TIMEOUT).build();
        let client = client.map_err(|error| self.silent(path, &error))?;
        let answer = self.send(&client, method, path, body).await?;
        answer.json().await.map_err(|error| self.silent(path, &error))
    }
}
