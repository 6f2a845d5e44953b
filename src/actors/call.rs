//! What every call of an actor has in common: who calls, what a success says, how it can fail.

use authrai_cluster::ProposeError;

use crate::{
    domain::{Actor, Hash, OrgId, Refusal},
    fair::Full,
    mint,
    secrets::ReplayKey,
};

/// Who asks, and in which request.
#[derive(Debug, Clone)]
pub struct Call {
    /// On whose authority.
    pub actor: Actor,
    /// Of whose share of the node it takes: the caller's organisation; that of the system for
    /// operators and for the nodes themselves.
    pub org: OrgId,
    /// The `X-Request-Id`, for the audit log.
    pub request_id: String,
    /// Set where the request is to be carried out once, however often it is sent.
    pub once: Option<Once>,
}

impl Call {
    /// A call that is carried out as often as it is made.
    pub fn new(actor: Actor, org: OrgId, request_id: String) -> Self {
        Self { actor, org, request_id, once: None }
    }

    /// A call that a node makes by itself, under a request id of its own.
    pub(super) fn of_node(node: u64) -> Self {
        let request_id = format!("node-{node}-{:032x}", mint::ulid());
        Self::new(Actor::Node(node), OrgId::SYSTEM, request_id)
    }
}

/// What tells a request that is carried out once apart, and seals the secret that it is answered.
#[derive(Debug, Clone)]
pub struct Once {
    /// The key to the record of it.
    pub key: ReplayKey,
    /// Digest of the request's body.
    pub request: Hash,
}

/// A success: what came of it, and where it stands in the log.
#[derive(Debug, Clone)]
pub struct Done<T> {
    /// Log index of the command.
    pub index: u64,
    /// What came of it.
    pub value: T,
    /// Whether it was carried out before, and this is what was answered then.
    pub replayed: bool,
}

impl<T> Done<T> {
    /// The same place in the log, with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Done<U> {
        Done { index: self.index, value: change(self.value), replayed: self.replayed }
    }
}

/// Why a command was not carried out, or is not known to have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The core said no.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// It was carried out before, and the secret that it was answered cannot be shown again: it was
    /// sealed with another key than the one that is presented now.
    #[error("carried out before with another key")]
    Unrecoverable,
    /// The command is larger than the log takes.
    #[error("the command has {bytes} bytes, the log takes {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The command counts as more than the log takes, by the number of its parts.
    #[error("the command counts as more than the {limit} bytes that the log takes")]
    CountsTooMuch {
        /// The bound.
        limit: usize,
    },
    /// The command would not read back from the log.
    #[error("the command cannot be stored: {0}")]
    Unreadable(String),
    /// As many commands as this node admits are under way.
    #[error("too many commands are under way on this node")]
    Overloaded,
    /// The caller's organisation has its share of what this node can have under way.
    #[error("the organisation has its share of what this node can have under way")]
    Share,
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

impl From<Full> for CommandError {
    fn from(full: Full) -> Self {
        match full {
            Full::Node => Self::Overloaded,
            Full::Share => Self::Share,
        }
    }
}

impl From<ProposeError> for CommandError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            ProposeError::CountsTooMuch { limit } => Self::CountsTooMuch { limit },
            ProposeError::Unreadable { detail } => Self::Unreadable(detail),
            ProposeError::Overloaded => Self::Overloaded,
            ProposeError::NoQuorum => Self::NoQuorum,
            ProposeError::Clock(_) => Self::NotReady(
                "its wall clock has jumped, and a wrong one would let everything expire for good; put \
                 it right, or say that it is with `authrai cluster confirm-clock`",
            ),
            ProposeError::AboveLevel { .. } => Self::NotReady(
                "the cluster has not been raised to the level that this needs; an operator does \
                 that once every node is upgraded, with `authrai cluster raise-level`",
            ),
            ProposeError::OutcomeUnknown => Self::OutcomeUnknown,
            ProposeError::ShuttingDown => Self::ShuttingDown,
            ProposeError::Fatal(fatal) => Self::Failed(fatal.to_string()),
        }
    }
}
