//! The command line as it was typed, to suggest another one that works as pasted.

use std::env;
use std::path::Path;

/// The program as it was called.
pub fn program() -> String {
    env::args().next().map_or_else(|| "authrai".to_owned(), |name| quoted(&name))
}

/// The same program and flags with another command, which replaces the first `words` words.
pub fn instead(words: usize, command: &str) -> String {
    instead_without(words, command, Path::new(""))
}

/// The same, without the word that names `file`, which the other command does not take.
pub fn instead_without(words: usize, command: &str, file: &Path) -> String {
    let flags = env::args_os().skip(1 + words).filter(|flag| Path::new(flag) != file);
    let flags = flags.map(|flag| quoted(&flag.to_string_lossy()));
    [program(), command.to_owned()].into_iter().chain(flags).collect::<Vec<_>>().join(" ")
}

/// `word` as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(quoted("--listen=127.0.0.1:80"), "--listen=127.0.0.1:80");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
