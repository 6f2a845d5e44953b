//! Secrets: how keys are spelled, and how what must be kept is sealed.
//!
//! A secret is shown once, compared by hash or in constant time, wiped when dropped, and has no
//! `Debug` or `Display` that shows it. Depends on nothing else of ours; must not know whose a
//! secret is or what it opens.

mod key_file;
mod replay;
mod spelling;

pub use key_file::{KeyFile, KeyFileError, OpenError};
pub use replay::ReplayKey;
pub use spelling::{BadSecret, KeyKind, Secret, parse};

use zeroize::Zeroizing;

/// Bytes that nobody can guess.
///
/// # Panics
///
/// If the operating system has no randomness to give: nothing safe can be done without.
pub fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut()).expect("the operating system gives randomness");
    bytes
}
