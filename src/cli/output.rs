//! Writing to standard output, where a reader may go away before the end.

use std::io::{self, Write};

use super::{Exit, Failure};

/// Writes `text` to standard output. A reader that has seen enough, as in `authrai … | head`, is
/// no failure.
///
/// # Errors
/// If standard output cannot be written for any other reason.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Io, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
