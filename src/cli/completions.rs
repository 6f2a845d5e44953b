//! Shell completions and the manual page, made from the commands' own definitions.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Exit, Failure, print};

/// `authrai completions SHELL`
///
/// # Errors
/// If standard output cannot be written.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "authrai", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// `authrai man`
///
/// # Errors
/// If standard output cannot be written.
pub fn man() -> Result<(), Failure> {
    let page = render().map_err(|error| {
        Failure::new(Exit::Internal, format!("cannot write the manual page: {error}"))
    })?;
    print(&String::from_utf8_lossy(&page))
}

fn render() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    Ok(page)
}
