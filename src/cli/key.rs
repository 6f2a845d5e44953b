//! `authrai key`: well-formed keys, made offline.

use clap::{Subcommand, ValueEnum};

use crate::secrets::{KeyKind, Secret};

use super::{Failure, print};

/// `authrai key`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a new API key, for `authrai dev --api-key`. No node knows it before that
    Generate {
        /// The environment that it opens
        #[arg(long, value_enum, default_value_t = Environment::Live)]
        environment: Environment,
    },
}

/// Which environment a key opens.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Environment {
    /// `rai_pk_live_…`
    Live,
    /// `rai_pk_test_…`
    Test,
}

/// Runs it.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(command: &Command) -> Result<(), Failure> {
    let Command::Generate { environment } = command;
    let kind = match environment {
        Environment::Live => KeyKind::ApiLive,
        Environment::Test => KeyKind::ApiTest,
    };
    print(&format!("{}\n", Secret::mint(kind).expose()))
}
