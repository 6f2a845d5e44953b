//! `authrai backup suspended` and `lift`: what a restore suspended, and what may go on.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::operator::{AskedNode, Target, text};
use crate::cli::{Failure, print};

/// The API's largest page.
const PAGE: u64 = 100;

/// `authrai backup suspended`
#[derive(Debug, Args)]
pub struct Suspended {
    #[command(flatten)]
    target: Target,
}

/// `authrai backup lift`
#[derive(Debug, Args)]
pub struct Lift {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Every API key and every agent
    #[arg(long)]
    all: bool,
    /// This API key
    #[arg(long, value_name = "ID")]
    api_key: Option<String>,
    /// This agent
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
}

/// Prints what is suspended.
///
/// # Errors
/// If the node does not answer, or not with that.
pub async fn suspended(suspended: Suspended) -> Result<(), Failure> {
    let asked = AskedNode::of(suspended.target)?;
    let mut offset = 0;
    let mut out = String::new();
    loop {
        let path = format!("/v1/cluster/suspensions?limit={PAGE}&offset={offset}");
        let page = asked.json(Method::GET, &path, None).await?;
        for one in page["data"].as_array().into_iter().flatten() {
            out.push_str(&format!(
                "{:<8} {}  {}  {:<4}  {}\n",
                text(&one["kind"]),
                text(&one["id"]),
                text(&one["organization_id"]),
                text(&one["environment"]),
                text(&one["name"]),
            ));
        }
        print(&std::mem::take(&mut out))?;
        if page["has_more"] != true {
            return print(&format!("{} suspended\n", text(&page["total"])));
        }
        offset += PAGE;
    }
}

/// Lifts suspensions.
///
/// # Errors
/// If there is no such API key or agent, or it was not done in time.
pub async fn run(lift: Lift) -> Result<(), Failure> {
    let body: Value = match lift.what {
        What { api_key: Some(id), .. } => json!({"api_key_id": id}),
        What { agent: Some(id), .. } => json!({"agent_id": id}),
        What { .. } => json!({"all": true}),
    };
    let asked = AskedNode::of(lift.target)?;
    let lifted = asked.json(Method::POST, "/v1/cluster/suspensions/lift", Some(body)).await?;
    print(&format!(
        "Lifted: {} API keys, {} agents. Still suspended: {} API keys, {} agents.\n",
        text(&lifted["api_keys"]),
        text(&lifted["agents"]),
        text(&lifted["suspended_api_keys"]),
        text(&lifted["suspended_agents"]),
    ))
}
