//! What can be wrong with a configuration. Every problem is reported, not just the first, and each
//! names where it stands. The value of a secret is never quoted.

use std::fmt;
use std::path::PathBuf;

use super::{Key, Origin};

/// Everything that is wrong with a configuration, one problem a line.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The problems, at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file could not be read.
    #[error(
        "cannot read the configuration file {}: {why}. Check the path, or leave out --config to \
         run on defaults and environment variables",
        .path.display()
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The file is not TOML.
    #[error("{}:{line}: this is not valid TOML: {why}", .path.display())]
    NotToml {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What the parser said.
        why: String,
    },
    /// No such key.
    #[error("{origin}: there is no configuration key `{name}`{}", suggestion(.nearest.as_deref()))]
    UnknownKey {
        /// The key, or the variable's name.
        name: String,
        /// Where it stands.
        origin: Origin,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A value that the key cannot have.
    #[error("{origin}: `{key}` is {found}, but it must be {expected}")]
    BadValue {
        /// Which key.
        key: &'static str,
        /// Where the value stands.
        origin: Origin,
        /// The value, or what it is if that is a secret.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A key that this command does not take.
    #[error("{origin}: `{key}` is for `authrai dev` only; remove it")]
    DevOnly {
        /// Which key.
        key: &'static str,
        /// Where it stands.
        origin: Origin,
    },
}

impl Problem {
    /// A value of `key` that does not fit; `found` is quoted unless the key is secret.
    pub(super) fn bad_value(key: &Key, origin: Origin, found: String) -> Self {
        let found = if key.secret { "set to something else".to_owned() } else { found };
        Self::BadValue { key: key.name, origin, found, expected: key.expectation() }
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => "; `authrai config reference` lists them all".to_owned(),
    }
}
