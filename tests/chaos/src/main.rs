//! Injects faults into a cluster of real processes while clients use it, and judges what they were
//! told. `scripts/chaos` builds and runs it.
//!
//! [`history`] is what clients did and were told; [`checker`] judges it and knows nothing else.
//! [`process`] and [`network`] are what can be broken, [`fault`] how; [`load`] are the clients.

mod checker;
mod client;
mod cluster;
mod fault;
mod figures;
mod history;
mod last_looks;
mod load;
mod network;
mod process;
mod report;
mod run;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Injects faults into a cluster of real processes, and judges what its clients were told
#[derive(Debug, Parser)]
#[command(name = "scripts/chaos", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure what revoking costs and how long failures last
    Figures {
        /// How many nodes
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=7))]
        nodes: u64,
        /// The program under test
        #[arg(long, value_name = "FILE", env = "AUTHRAI_BIN")]
        binary: PathBuf,
    },
    /// Judge a history that was kept
    Check {
        /// The history.jsonl of a run
        history: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One provider a process; nothing here speaks TLS, but the HTTP client wants to know.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let passed = match arguments.command {
        Some(Command::Check { history }) => run::check(&history),
        Some(Command::Figures { nodes, binary }) => run::figures(binary, nodes).await,
        None => run::run(arguments.run).await,
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scripts/chaos: {error}");
            ExitCode::from(2)
        }
    }
}
