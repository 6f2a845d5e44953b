//! How a command ends: one sentence on standard error and an exit code. The codes follow
//! `sysexits.h` where it has one, and the README lists them.

use std::process::ExitCode;

use authrai_cluster::Fatal;

use crate::actors::CommandError;
use crate::config::ConfigError;
use crate::server::StartError;

/// Exit codes other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// A check came out negative: not healthy, or an audit file that does not hold together.
    Negative = 1,
    /// The command line is wrong.
    Usage = 64,
    /// Stored or given data is damaged, or of another version.
    Data = 65,
    /// A given file cannot be read.
    NoInput = 66,
    /// A service that is needed does not answer, or an address to listen on cannot be had.
    Unavailable = 69,
    /// A mistake in AuthRAI itself.
    Internal = 70,
    /// A file or directory cannot be created or written.
    CannotCreate = 73,
    /// The disk failed or is full.
    Io = 74,
    /// Something else is using what is needed; later it may work.
    Busy = 75,
    /// The configuration is wrong, or the node has not been set up for it.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, why, and what to do. Holds no secret.
    pub message: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        use authrai_cluster::StartError as Store;
        let exit = match &error {
            StartError::Listen { .. } => Exit::Unavailable,
            StartError::DataDir { .. } => Exit::CannotCreate,
            StartError::KeyFile(_) => Exit::Config,
            StartError::KeyStore(_) => Exit::Data,
            StartError::Actors(_) => Exit::Internal,
            StartError::Store(store) => match store {
                Store::Locked { .. } => Exit::Busy,
                Store::Unwritable { .. } => Exit::CannotCreate,
                Store::DiskFull { .. } => Exit::Io,
                Store::NotInitialised { .. }
                | Store::ForeignNode { .. }
                | Store::ForeignCluster { .. } => Exit::Config,
                Store::Version { .. } | Store::Damaged { .. } => Exit::Data,
                Store::Fatal(fatal) => exit_of(fatal),
            },
        };
        Self::new(exit, error.to_string())
    }
}

impl From<Fatal> for Failure {
    fn from(fatal: Fatal) -> Self {
        Self::new(exit_of(&fatal), format!("the node cannot go on: {fatal}{}", advice(&fatal)))
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::new(Exit::Internal, format!("the node could not be set up: {error}; start it again"))
    }
}

fn exit_of(fatal: &Fatal) -> Exit {
    match fatal {
        Fatal::Disk { .. } => Exit::Io,
        Fatal::Damaged { .. } | Fatal::Version { .. } | Fatal::Undecodable { .. } => Exit::Data,
        _ => Exit::Internal,
    }
}

fn advice(fatal: &Fatal) -> &'static str {
    match fatal {
        Fatal::Disk { full: true, .. } => {
            ". Free some space and start it again: nothing that was acknowledged is lost"
        }
        Fatal::Disk { .. } => {
            ". Check the disk, then start it again: nothing that was acknowledged is lost"
        }
        Fatal::Damaged { .. } => ". Check the disk, and restore the data directory from a backup",
        _ => "",
    }
}
