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
    /// Stopped by a second signal, with requests cut off.
    Interrupted = 130,
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
            StartError::Listen { .. } | StartError::Handover(_) => Exit::Unavailable,
            StartError::DataDir { .. } => Exit::CannotCreate,
            StartError::KeyFile(_) | StartError::Peers { .. } | StartError::Lease(_) => {
                Exit::Config
            }
            StartError::KeyStore(_) => Exit::Data,
            StartError::Deliverer(_) | StartError::Actors(_) => Exit::Internal,
            StartError::Store(store) => match store {
                Store::Locked { .. } => Exit::Busy,
                Store::Unwritable { .. } => Exit::CannotCreate,
                Store::DiskFull { .. } => Exit::Io,
                Store::Listen { .. } | Store::NotTakenIn { .. } => Exit::Unavailable,
                Store::NotInitialised { .. }
                | Store::RestoreUnfinished { .. }
                | Store::Certificate { .. }
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
        let message = match &fatal {
            Fatal::Disk { full: true, doing, .. } => format!(
                "the disk is full, seen while {doing}. Free some space and start the node again: \
                 nothing that was acknowledged is lost"
            ),
            Fatal::Disk { .. } => format!(
                "{fatal}. Check the disk, then start the node again: nothing that was \
                 acknowledged is lost"
            ),
            Fatal::Damaged { .. } => {
                format!(
                    "{fatal}. Check the disk. Then let a new node join in this one's stead, or, if no other \
                     is left, restore a backup: `authrai backup restore`"
                )
            }
            _ => format!("the node cannot go on: {fatal}"),
        };
        Self::new(exit_of(&fatal), message)
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use authrai_cluster::{StartError as Store, What};

    use super::*;

    #[test]
    fn each_way_not_to_start_has_its_exit_code() {
        let dir = PathBuf::from("/data");
        let disk = |full| Fatal::Disk { doing: "syncing".into(), detail: "EIO".into(), full };
        let cases = [
            (Store::Locked { dir: dir.clone() }, Exit::Busy),
            (Store::DiskFull { dir: dir.clone() }, Exit::Io),
            (Store::Fatal(disk(false)), Exit::Io),
            (Store::Unwritable { path: dir.clone(), detail: "no".into() }, Exit::CannotCreate),
            (Store::NotInitialised { dir: dir.clone() }, Exit::Config),
            (Store::Certificate { path: dir.clone(), detail: "no".into() }, Exit::Config),
            (Store::NotTakenIn { detail: "no".into() }, Exit::Unavailable),
            (Store::ForeignNode { dir, stored: 1, configured: 2 }, Exit::Config),
            (
                Store::Damaged { what: What::Log, place: "row 7".into(), detail: "sum".into() },
                Exit::Data,
            ),
        ];
        for (error, exit) in cases {
            let said = error.to_string();
            let failure = Failure::from(StartError::Store(error));
            assert_eq!(failure.exit, exit, "{said}");
            assert_eq!(failure.message, said);
        }
    }

    #[test]
    fn a_node_that_cannot_go_on_says_what_to_do() {
        let full =
            Fatal::Disk { doing: "appending".into(), detail: "Os { 28 }".into(), full: true };
        let failure = Failure::from(full);
        assert_eq!(failure.exit, Exit::Io);
        assert!(failure.message.contains("Free some space"), "{}", failure.message);
        assert!(!failure.message.contains("Os {"), "{}", failure.message);
        assert_eq!(Failure::from(Fatal::MachinePanicked { index: 9 }).exit, Exit::Internal);
    }
}
