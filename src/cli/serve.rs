//! `authrai serve`: a node in production.

use std::path::{Path, PathBuf};

use clap::Args;
use tracing::info;

use crate::config::Profile;
use crate::server::{Founding, Server};

use super::node::{self, StopSignals};
use super::{Exit, Failure, Overrides, invocation, logging};

/// `authrai serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// The TOML file; `authrai config reference` lists its keys
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

/// Runs it.
///
/// # Errors
/// If the node does not start, or cannot go on.
pub async fn run(serve: Serve) -> Result<(), Failure> {
    let signals = StopSignals::catch()?;
    let config = serve.overrides.resolve(Profile::Serve, serve.config, Vec::new())?.config;
    logging::start(&config.log);
    if holds_nothing(&config.data_dir) {
        return Err(Failure::new(
            Exit::Config,
            format!(
                "the data directory {} holds no node yet. Run `{}` once to found a cluster there, \
                 or correct data_dir",
                config.data_dir.display(),
                invocation::instead(1, "cluster init"),
            ),
        ));
    }
    let server = Server::start(&config, Founding::Refused).await?;
    info!(
        address = %server.address(),
        data_dir = %config.data_dir.display(),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    node::run(server, signals).await
}

/// Whether nobody has been here yet. What cannot be read is left to whoever opens it to explain.
pub(super) fn holds_nothing(data_dir: &Path) -> bool {
    match std::fs::read_dir(data_dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}
