//! The command line: one file a command. Reads flags and configuration, starts what was asked for,
//! and turns how it ended into a sentence and an exit code.
//!
//! Must not know what a node does beyond starting and stopping it.

mod audit;
mod backup;
mod certs;
mod cluster;
mod completions;
mod config;
mod dev;
mod exit;
mod health;
mod invocation;
mod key;
mod logging;
mod node;
mod operator;
mod output;
mod overrides;
mod serve;

pub use exit::{Exit, Failure};

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use output::print;
use overrides::Overrides;

/// Identity and short-lived tokens for AI agents.
#[derive(Debug, Parser)]
#[command(
    name = "authrai",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}")
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  authrai dev                                     try it out on http://127.0.0.1:8080
  authrai cluster init --config authrai.toml      set a cluster up, once
  authrai serve --config authrai.toml             run a node of it

`authrai COMMAND --help` tells more; `authrai --help` lists the exit codes.";

const EXIT_CODES: &str = "\
Exit codes:
   0  done, or stopped as told
   1  a check came out negative
  64  the command line is wrong
  65  data is damaged, or of another version
  66  a file cannot be read
  69  an address cannot be had, or a service does not answer
  70  a mistake in AuthRAI itself
  73  a file or directory cannot be created or written
  74  the disk failed or is full
  75  something else uses the data directory
  78  the configuration is wrong, or the node has not been set up
 130  stopped by a second signal, with requests cut off";

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node to try out, without configuration
    #[command(after_help = "\
Data is kept in .authrai in the working directory, so that it survives restarts; delete the \
directory to start afresh. The API key and the operator key are shown at the first start.

Examples:
  authrai dev
  authrai dev --listen 127.0.0.1:9000 --data-dir /tmp/authrai
  authrai dev --api-key \"$(authrai key generate)\"     a fixed key, for CI")]
    Dev(dev::Dev),
    /// Start a node in production
    #[command(after_help = "\
Examples:
  authrai serve --config authrai.toml
  AUTHRAI__LISTEN=0.0.0.0:8080 authrai serve --set log.format=json")]
    Serve(serve::Serve),
    /// Set a cluster up, look at it and change it
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Back a cluster up, and found a new one from a backup
    #[command(subcommand)]
    Backup(backup::Command),
    /// Check an exported audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Show and explain the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Ask a node whether it is ready; exits with 0 if it is
    Health(health::Health),
    /// Make keys
    #[command(subcommand)]
    Key(key::Command),
    /// Print a completion script for a shell
    #[command(after_help = "\
Example:
  authrai completions bash > ~/.local/share/bash-completion/completions/authrai")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

/// Runs the command line that the process was given.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody may be listening any more, which changes nothing.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { exit, message }) => {
            eprintln!("authrai: {message}");
            exit.into()
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(args) => block_on(dev::run(args)),
        Command::Serve(args) => block_on(serve::run(args)),
        Command::Cluster(command) => block_on(cluster::run(command)),
        Command::Audit(command) => audit::run(command),
        Command::Backup(command) => backup::run(command),
        Command::Config(command) => config::run(command),
        Command::Health(args) => block_on(health::run(args)),
        Command::Key(command) => key::run(&command),
        Command::Completions { shell } => completions::completions(shell),
        Command::Man => completions::man(),
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    crate::server::install_crypto_provider();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        Failure::new(Exit::Internal, format!("cannot start the runtime: {error}"))
    })?;
    let result = runtime.block_on(work);
    // What still runs, on a failure, belongs to nobody any more.
    runtime.shutdown_background();
    result
}
