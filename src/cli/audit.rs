//! `authrai audit`: what can be done with an exported audit log. Needs no node.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use crate::audit::offline::{self, Intact};
use crate::domain::Hash;

use super::{Exit, Failure, print};

const READ_AHEAD_BYTES: usize = 256 * 1024;

/// `authrai audit`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check that an exported audit log is whole and unchanged
    #[command(after_help = "\
FILE is what GET /v1/audit/export answered, without filters. Every hash is computed anew; the first \
row that was changed, dropped, swapped or repeated is named. Rows cut off at the end leave no trace \
in the file: --head finds them.

Exit codes: 0 whole and unchanged, 1 not, 66 the file cannot be read.

Examples:
  authrai audit verify audit.json
  authrai audit verify audit.csv --head \"$HEAD\"     where HEAD is head_hash of GET /v1/audit/verify")]
    Verify(Verify),
}

/// `authrai audit verify`
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The export, CSV or JSON; - is standard input
    file: PathBuf,
    /// The hash that the log is known to have reached: the file must contain it
    #[arg(long, value_name = "HASH", value_parser = head)]
    head: Option<Hash>,
    /// How the file is written [default: what it looks like]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// How an export is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// One event a line
    Csv,
    /// One array
    Json,
}

impl From<Format> for offline::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Json => Self::Json,
        }
    }
}

fn head(text: &str) -> Result<Hash, String> {
    offline::hash_from_hex(text).ok_or_else(|| {
        "not a hash: 64 lowercase hexadecimal digits, such as head_hash of GET /v1/audit/verify"
            .into()
    })
}

/// Runs it.
///
/// # Errors
/// If the file cannot be read, or is not whole and unchanged.
pub fn run(command: Command) -> Result<(), Failure> {
    let Command::Verify(Verify { file, head, format }) = command;
    let name = if is_stdin(&file) { "standard input".into() } else { file.display().to_string() };
    let format = format.map(Into::into);
    let checked = if is_stdin(&file) {
        offline::check(BufReader::with_capacity(READ_AHEAD_BYTES, io::stdin()), format, head)
    } else {
        let file = File::open(&file).map_err(|error| unreadable(&name, &error))?;
        offline::check(BufReader::with_capacity(READ_AHEAD_BYTES, file), format, head)
    };
    match checked {
        Ok(intact) => print(&report(&name, &intact)),
        Err(offline::Failure::Unreadable(error)) => Err(unreadable(&name, &error)),
        Err(offline::Failure::Bad(bad)) => Err(Failure::new(
            Exit::Negative,
            format!(
                "{name}: {bad}.\nThe rows before it are whole and unchanged. Export the log anew \
                 and check that; whether the node's own log is sound, GET /v1/audit/verify tells."
            ),
        )),
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::NoInput, format!("cannot read {name}: {error}"))
}

fn report(name: &str, intact: &Intact) -> String {
    let Intact { length, head, vouched } = *intact;
    let next = match vouched {
        None => "Rows cut off at the end would leave no trace. To rule that out, compare the head \
                 with head_hash of GET /v1/audit/verify, or run this again with --head HASH."
            .to_owned(),
        Some(vouched) if vouched == length => {
            "It ends in the head that was given: nothing was cut \
                                               off. Keep the head: later exports must contain it."
                .to_owned()
        }
        Some(vouched) => format!(
            "The head that was given is row {vouched}, and the rows after it continue it. Keep the \
             new head: later exports must contain it."
        ),
    };
    format!(
        "{name}: whole and unchanged\nevents: {length}\nhead: {}\n\n{next}\n",
        hex::encode(head)
    )
}
