//! `authrai config`: what is in force, and what there is to configure.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::{self, Profile};

use super::{Failure, Overrides, print};

/// `authrai config`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the configuration in force and where each value comes from; secrets are hidden
    Show(Show),
    /// Print the reference of all configuration keys, in Markdown
    Reference,
}

/// `authrai config show`
#[derive(Debug, Args)]
pub struct Show {
    /// The TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Toml)]
    format: Format,
    /// As `authrai dev` sees it instead of `authrai serve`
    #[arg(long, conflicts_with = "config")]
    dev: bool,
    #[command(flatten)]
    overrides: Overrides,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Toml,
    Json,
}

/// Runs it.
///
/// # Errors
/// If the configuration is wrong.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Reference => print(&config::reference()),
        Command::Show(show) => {
            let profile = if show.dev { Profile::Dev } else { Profile::Serve };
            let resolved = show.overrides.resolve(profile, show.config, Vec::new())?;
            print(&match show.format {
                Format::Toml => config::as_toml(&resolved),
                Format::Json => config::as_json(&resolved),
            })
        }
    }
}
