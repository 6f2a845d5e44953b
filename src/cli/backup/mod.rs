//! `authrai backup`: one file of a whole cluster; and a new cluster from one.

mod create;
mod lift;
mod offline;

use clap::Subcommand;

use super::{Failure, block_on};

/// `authrai backup`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a backup of a running cluster to a file
    #[command(after_help = "\
The operator key is taken from AUTHRAI_OPERATOR_KEY. Any node can be asked, and writes go on. The \
file holds everything that was acknowledged before, but no key file: keep a copy of secrets.key_file \
apart from it.

Example:
  authrai backup create authrai.backup --url http://10.0.0.1:8080")]
    Create(create::Create),
    /// Check a backup and show what is in it; needs no node
    #[command(after_help = "\
Every checksum, every hash of the audit log and its ends are computed anew; the first bad place is \
named. Takes as much memory as a node has the state in.

Exit codes: 0 whole and unchanged, 1 not, 66 the file cannot be read.")]
    Verify(offline::Verify),
    /// Found a new cluster from a backup, in an empty data directory
    #[command(after_help = "\
The new cluster has an id of its own and this node as its only member; other nodes join it as new \
ones. It needs the key file of the old cluster at secrets.key_file. The old cluster must be stopped.

What was revoked after the backup was made is not in it. So no token and no operator key of before \
works, and API keys and agents are suspended until `authrai backup lift`.

Example:
  authrai backup restore authrai.backup --config node-1.toml")]
    Restore(offline::Restore),
    /// List the API keys and agents that a restore suspended
    Suspended(lift::Suspended),
    /// Let API keys and agents that a restore suspended be used again
    #[command(after_help = "\
The operator key is taken from AUTHRAI_OPERATOR_KEY. What is lifted is as it was in the backup: first \
revoke again what was revoked after that.

Examples:
  authrai backup lift --api-key key_01j1qz4zk8e6m2v7x9c3b5n0ah
  authrai backup lift --all")]
    Lift(lift::Lift),
}

/// Runs it.
///
/// # Errors
/// If it does not come to what was asked for.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(args) => block_on(create::run(args)),
        Command::Verify(args) => offline::verify(&args),
        Command::Restore(args) => offline::restore(args),
        Command::Suspended(args) => block_on(lift::suspended(args)),
        Command::Lift(args) => block_on(lift::run(args)),
    }
}
