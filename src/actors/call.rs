//! What every call of an actor has in common: who calls, what a success says, how it can fail.

use authrai_cluster::ProposeError;

use crate::domain::{Actor, Refusal};

/// Who asks, and in which request.
#[derive(Debug, Clone)]
pub struct Call {
    /// On whose authority.
    pub actor: Actor,
    /// The `X-Request-Id`, for the audit log.
    pub request_id: String,
}

/// A success: what came of it, and where it stands in the log.
#[derive(Debug, Clone)]
pub struct Done<T> {
    /// Log index of the command.
    pub index: u64,
    /// What came of it.
    pub value: T,
}

impl<T> Done<T> {
    /// The same place in the log, with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Done<U> {
        Done { index: self.index, value: change(self.value) }
    }
}

/// Why a command was not carried out, or is not known to have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The core said no.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The command is larger than the log takes.
    #[error("the command has {bytes} bytes, the log takes {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// As many commands as this node admits are under way.
    #[error("too many commands are under way on this node")]
    Overloaded,
    /// No quorum answers, so nothing can be written.
    #[error("no quorum answers")]
    NoQuorum,
    /// The deadline passed while the command was under way: it may have been carried out or not.
    #[error("the outcome is not known")]
    OutcomeUnknown,
    /// The node is not able to do this yet, or is recovering; nothing was written.
    #[error("the node is not ready: {0}")]
    NotReady(&'static str),
    /// The node is stopping; nothing was written.
    #[error("the node is stopping")]
    ShuttingDown,
    /// The node cannot go on.
    #[error("the node has failed: {0}")]
    Failed(String),
}

impl From<ProposeError> for CommandError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            ProposeError::Overloaded => Self::Overloaded,
            ProposeError::NoQuorum => Self::NoQuorum,
            ProposeError::OutcomeUnknown => Self::OutcomeUnknown,
            ProposeError::ShuttingDown => Self::ShuttingDown,
            ProposeError::Fatal(fatal) => Self::Failed(fatal.to_string()),
        }
    }
}
