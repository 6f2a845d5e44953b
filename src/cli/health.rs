//! `authrai health`: asks a node whether it may verify and take writes. For a container's health
//! check, where there is no curl.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{Profile, local_url};

use super::{Exit, Failure, Overrides, print};

const TIMEOUT: Duration = Duration::from_secs(3);

/// `authrai health`
#[derive(Debug, Args)]
pub struct Health {
    /// The node's URL [default: the address that the configuration says]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The TOML file that the node runs with
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// If the node does not answer, or is not ready.
pub async fn run(health: Health) -> Result<(), Failure> {
    let url = match health.url {
        Some(url) => url,
        None => {
            let resolved =
                Overrides::default().resolve(Profile::Serve, health.config, Vec::new())?;
            local_url(resolved.config.listen)
        }
    };
    let url = format!("{}/readyz", url.trim_end_matches('/'));
    let silent = |error: reqwest::Error| {
        let why =
            std::error::Error::source(&error).map_or_else(String::new, |why| format!(": {why}"));
        Failure::new(Exit::Unavailable, format!("{url} does not answer{why}. Is the node running?"))
    };
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(silent)?;
    let answer = client.get(&url).send().await.map_err(silent)?;
    if answer.status().is_success() {
        print("ready\n")
    } else {
        let status = answer.status();
        Err(Failure::new(Exit::Negative, format!("{url} answers {status}: not ready")))
    }
}
