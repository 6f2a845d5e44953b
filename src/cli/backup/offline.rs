//! `authrai backup verify` and `restore`: what is done with a file, without a node.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use authrai_cluster::backup::{self, BackupError};
use clap::Args;

use crate::cli::{Exit, Failure, Overrides, invocation, logging, print};
use crate::config::{Config, Profile};
use crate::rfc3339;
use crate::server::backup::{Inventory, RestoreError, Restored, inspect, restore as restore_from};

const READ_AHEAD_BYTES: usize = 256 * 1024;

/// `authrai backup verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// The backup
    file: PathBuf,
}

/// `authrai backup restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// The backup
    file: PathBuf,
    /// The TOML file that the node will be served with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
}

/// Checks all of a backup and prints what is in it.
///
/// # Errors
/// If it cannot be read, or is not whole and unchanged.
pub fn verify(Verify { file }: &Verify) -> Result<(), Failure> {
    let inventory = inspect(open(file)?).map_err(|error| bad(file, &error, Exit::Negative))?;
    print(&format!("{}: whole and unchanged\n\n{}", file.display(), listed(&inventory)))
}

/// Founds a cluster from a backup.
///
/// # Errors
/// If none is founded.
pub fn restore(restore: Restore) -> Result<(), Failure> {
    let Restore { file, config, overrides } = restore;
    let config = overrides.resolve(Profile::Serve, config, Vec::new())?.config;
    logging::start(&config.log);
    let restored = restore_from(&config, open(&file)?).map_err(|error| failure(&file, error))?;
    print(&what_next(&config, &file, &restored))
}

fn open(file: &Path) -> Result<BufReader<File>, Failure> {
    let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
    Ok(BufReader::with_capacity(READ_AHEAD_BYTES, opened))
}

fn unreadable(file: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::NoInput, format!("cannot read {}: {error}", file.display()))
}

fn bad(file: &Path, error: &BackupError, exit: Exit) -> Failure {
    let exit = if matches!(error, BackupError::Unreadable(_)) { Exit::NoInput } else { exit };
    Failure::new(exit, format!("{}: {error}. Use another backup", file.display()))
}

fn failure(file: &Path, error: RestoreError) -> Failure {
    match error {
        RestoreError::Start(error) => error.into(),
        RestoreError::Restore(backup::RestoreError::Backup(error)) => bad(file, &error, Exit::Data),
        RestoreError::Restore(backup::RestoreError::Start(error)) => {
            crate::server::StartError::from(error).into()
        }
        RestoreError::Restore(
            error @ (backup::RestoreError::NotEmpty { .. }
            | backup::RestoreError::SameCluster { .. }
            | backup::RestoreError::Declined(_)),
        ) => Failure::new(Exit::Config, error.to_string()),
    }
}

fn listed(inventory: &Inventory) -> String {
    let contents = &inventory.contents;
    let rows = [
        ("cluster", contents.origin.cluster_hex()),
        ("log index", contents.origin.index.to_string()),
        ("made", rfc3339::seconds(contents.origin.at_ms / 1000)),
        ("made by", contents.origin.program.clone()),
        ("organisations", inventory.organizations.to_string()),
        ("API keys", inventory.api_keys.to_string()),
        ("agents", inventory.agents.to_string()),
        ("live tokens", inventory.tokens.to_string()),
        ("policies", inventory.policies.to_string()),
        ("webhooks", inventory.webhooks.to_string()),
        ("audit events", format!("{} in {} chains", contents.records, contents.chains)),
        ("bytes", contents.bytes.to_string()),
        ("sha256", hex::encode(contents.sha256)),
    ];
    rows.map(|(name, value)| format!("  {name:<14} {value}\n")).concat()
}

fn what_next(config: &Config, file: &Path, restored: &Restored) -> String {
    let Restored { inventory, cluster, operator_key } = restored;
    format!(
        "\
A new cluster is founded in {data_dir} from the backup of {made}.

  Cluster       {cluster}
  Operator key  {key}
                Keep it: it is not shown again. Those of before do not work.

What happened after the backup was made is lost, revocations too. So every token of before is dead, \
{api_keys} API keys and {agents} agents are suspended, webhooks are disabled, and approvals that were \
not collected are over.

Next, start the node. Other nodes join it as new ones, with empty data directories and certificates \
of this cluster:

  {serve}

Revoke again what was revoked since, and lift what may go on:

  export AUTHRAI_OPERATOR_KEY={key}
  authrai backup suspended
  authrai backup lift --api-key ID | --agent ID | --all
",
        data_dir = config.data_dir.display(),
        made = rfc3339::seconds(inventory.contents.origin.at_ms / 1000),
        cluster = hex::encode(cluster),
        key = operator_key.expose(),
        api_keys = inventory.api_keys,
        agents = inventory.agents,
        serve = invocation::instead_without(2, "serve", file),
    )
}
