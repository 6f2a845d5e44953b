//! `authrai cluster`: setting a cluster up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::{Config, Profile};
use crate::secrets::Secret;
use crate::server::{Founding, Server, plans};
use crate::setup;

use super::serve::holds_nothing;
use super::{Exit, Failure, Overrides, invocation, logging, print};

/// `authrai cluster`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Found a cluster: make the data directory, the key file and the first operator key
    Init(Init),
}

/// `authrai cluster init`
#[derive(Debug, Args)]
pub struct Init {
    /// The TOML file that the node will be served with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

/// Runs it.
///
/// # Errors
/// If there is a cluster already, or none can be founded.
pub async fn run(command: Command) -> Result<(), Failure> {
    let Command::Init(init) = command;
    let mut config = init.overrides.resolve(Profile::Serve, init.config, Vec::new())?.config;
    logging::start(&config.log);
    if !holds_nothing(&config.data_dir) && !config.secrets.key_file.exists() {
        return Err(Failure::new(
            Exit::Config,
            format!(
                "the data directory {} is not empty, but its key file {} is missing. Put the key \
                 file back, or choose an empty data directory",
                config.data_dir.display(),
                config.secrets.key_file.display(),
            ),
        ));
    }
    // Nobody is served yet, so the addresses may be taken or not.
    let public_url = config.public_url.as_str().to_owned();
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.metrics.listen = None;

    let server = Server::start(&config, Founding::Allowed).await?;
    let app = server.app();
    let plans = plans(&config.plans.offered);
    let operator_key = async {
        setup::plans(&app.proposals, &app.views, &plans).await?;
        setup::first_operator_key(&app.proposals, &app.views).await
    };
    let operator_key = operator_key.await;
    server.stop().await?;
    match operator_key? {
        Some(key) => print(&what_next(&config, &public_url, &key)),
        None => Err(Failure::new(
            Exit::Config,
            format!(
                "the data directory {} already holds a cluster with an operator key. Nothing was \
                 changed. If that key is lost and the cluster holds nothing of worth, empty the \
                 directory and run this again",
                config.data_dir.display()
            ),
        )),
    }
}

fn what_next(config: &Config, url: &str, key: &Secret) -> String {
    format!(
        "\
A cluster is founded in {data_dir}.

  Key file      {key_file}
                Keep a copy of it apart from the data directory.
  Operator key  {key}
                Keep it: it is not shown again.

Next, start the node:

  {serve}

and make the first organisation and its API key:

  curl -s {url}/v1/organizations \\
    -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{\"name\":\"Acme\"}}'

  curl -s {url}/v1/organizations/ID-FROM-ABOVE/api-keys \\
    -H 'Authorization: Bearer {key}' \\
    -H 'Content-Type: application/json' \\
    -d '{{\"name\":\"first\",\"environment\":\"live\"}}'
",
        data_dir = config.data_dir.display(),
        serve = invocation::instead(2, "serve"),
        key_file = config.secrets.key_file.display(),
        key = key.expose(),
    )
}
