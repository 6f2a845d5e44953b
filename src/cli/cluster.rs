//! `authrai cluster`: setting a cluster up, and letting nodes in.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use authrai_cluster::Seed;
use clap::{Args, Subcommand};
use tracing::info;

use crate::config::{Config, Profile};
use crate::secrets::Secret;
use crate::server::{Founding, Server, operator_plans, plans};
use crate::setup;

use super::certs::{self, Certs};
use super::node::{self, StopSignals};
use super::operator;
use super::serve::holds_nothing;
use super::{Exit, Failure, Overrides, invocation, logging, print};

/// `authrai cluster`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Found a cluster: make the data directory, the key file and the first operator key
    Init(Init),
    /// Make a CA and certificates for the nodes of a cluster, to try one out
    Certs(Certs),
    /// Join a cluster as a new node, and serve as one
    #[command(after_help = "\
The node needs a number and a certificate of its own; the key file is handed over by a member. Once \
it has joined, `authrai serve` starts it again.

Example:
  authrai cluster join --config node-2.toml 1@10.0.0.1:7600")]
    Join(Join),
    /// Show the members: roles, logs, how far each lags, leases
    #[command(after_help = OPERATOR_KEY)]
    Status(operator::Status),
    /// Take a node out of the cluster, for good
    #[command(after_help = OPERATOR_KEY)]
    Remove(operator::Member),
    /// Make a node the leader
    #[command(after_help = OPERATOR_KEY)]
    TransferLeader(operator::Member),
    /// After an upgrade of every node: let what the new version decides anew hold
    #[command(after_help = OPERATOR_KEY)]
    RaiseLevel(operator::Target),
    /// Say that the clock of a node is right, though it has jumped
    #[command(after_help = OPERATOR_KEY)]
    ConfirmClock(operator::Target),
}

const OPERATOR_KEY: &str = "\
The operator key is taken from AUTHRAI_OPERATOR_KEY. Any node of the cluster can be asked.";

/// `authrai cluster join`
#[derive(Debug, Args)]
pub struct Join {
    /// A member to ask, by its number and the address for peers; several are tried in turn
    #[arg(value_name = "ID@HOST:PORT", required = true, value_parser = seed)]
    members: Vec<Seed>,
    /// The TOML file; `authrai config reference` lists its keys
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

fn seed(text: &str) -> Result<Seed, String> {
    let wrong = || "write ID@HOST:PORT, as in 1@10.0.0.1:7600".to_owned();
    let (node, address) = text.split_once('@').ok_or_else(wrong)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    match (node.parse(), port.parse::<u16>()) {
        (Ok(node), Ok(_)) if !host.is_empty() => Ok(Seed { node, address: address.to_owned() }),
        _ => Err(wrong()),
    }
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
    match command {
        Command::Init(args) => Box::pin(init(args)).await,
        Command::Certs(args) => certs::run(&args),
        Command::Join(args) => Box::pin(join(args)).await,
        Command::Status(args) => operator::status(args).await,
        Command::Remove(args) => operator::remove(args).await,
        Command::TransferLeader(args) => operator::transfer_leader(args).await,
        Command::RaiseLevel(args) => operator::raise_level(args).await,
        Command::ConfirmClock(args) => operator::confirm_clock(args).await,
    }
}

async fn join(join: Join) -> Result<(), Failure> {
    let signals = StopSignals::catch()?;
    let config = join.overrides.resolve(Profile::Serve, join.config, Vec::new())?.config;
    logging::start(&config.log);
    let server = Server::start(&config, Founding::Joining(join.members)).await?;
    info!(address = %server.address(), node = config.node_id, "joined, and serving");
    node::run(server, signals).await
}

async fn init(init: Init) -> Result<(), Failure> {
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
    let operators = operator_plans(&config.plans.offered);
    let operator_key = async {
        setup::plans(&app.proposals, &app.views, &plans, &operators).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_spelled_by_its_number_and_address() {
        for (text, node, address) in
            [("1@10.0.0.1:7600", 1, "10.0.0.1:7600"), ("12@[::1]:1", 12, "[::1]:1")]
        {
            assert_eq!(seed(text), Ok(Seed { node, address: address.into() }));
        }
        for text in ["", "1", "10.0.0.1:7600", "1@host", "1@:7600", "x@h:1", "1@h:99999"] {
            assert!(seed(text).is_err(), "{text}");
        }
    }
}
