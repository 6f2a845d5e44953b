//! Read leases: after a revoke has answered, no node answers from a view before it.
//!
//! Every node, the leader too, holds short leases that the leader grants, and answers only while
//! it has one ([`Gate`]). A [`Holder`] asks for them and opens the gate; a [`Granter`] keeps every
//! grant that may still be in use and says when a revoke may be answered: once each holder has
//! reported a view that contains it, or its lease is certainly over. The rules are numbered in
//! `docs/guarantee.md`. Both halves are pure state machines: they are told the time and what
//! happened, and say what to do. Must not know openraft, the network, or what is revoked.
//!
//! # Where a node drives them
//!
//! One task owns holder and granter ([`crate::Node`] runs it). What it must do, and in which order:
//!
//! - **Start.** Draw a [`Boot`] at random, build both, call [`Holder::published`] with the index
//!   that the restored view has reached. The node may serve before it has a lease, but every
//!   verification goes through [`Gate::enter`] with [`SystemClock`]; `None` is a 503
//!   `verification_unavailable`. `load` loads the published view, never one loaded before.
//! - **Asking** ([`Holder::due_in_ns`]). Read the clock, call [`Holder::request`], then send to
//!   the leader that the engine's metrics name: over the network to a peer, through the same task's
//!   queue to itself. The answer goes to [`Holder::granted`] or [`Holder::refused`]. Ask at once
//!   when the leader changes.
//! - **Publishing.** `store::apply` publishes the machine's view and then its own progress. After
//!   both, and before it answers those who proposed, it hands the published index, and whether the
//!   batch held an entry that must be seen everywhere, to the task (a watch: the newest index and
//!   the newest such index). The task calls [`Holder::published`] and sends the report at once.
//!   For the flag, the stored form of a proposal says whether it must be seen everywhere; a
//!   snapshot that was installed counts as if it held such an entry.
//! - **Leading.** The engine's metrics are watched; on every change [`Granter::lead`] with the
//!   term when this node's state is leader, else [`Granter::follow`]. It may notice late, and miss
//!   reigns in between: only the clock reading must be taken after the engine took office.
//!   [`Granter::members`] follows the applied membership, learners included.
//! - **[`Action::ProposeBarrier`].** An entry of this crate's own, unknown to the machine, that
//!   holds term and boot; apply passes it on as [`Granter::barrier_applied`] after publishing. A
//!   leader that the engine resumes after a restart appends nothing of its own, and its read index
//!   may then lie below what it once committed: hence an entry of this process.
//! - **[`Action::StartRound`].** `get_read_linearizer(ReadPolicy::ReadIndex)`, called after the
//!   action was returned and bounded by a timeout of half a lease; its read log id's index, or
//!   `None` on any error, goes to [`Granter::round_done`]. It must not wait for the local apply as
//!   `Handle::read_index` does, nor share another caller's round. Rounds are shared here: requests
//!   that come in during one wait for the next.
//! - **Answering a revoke.** The leader's `propose_everywhere` gets the entry's log id from
//!   `client_write`, which answers after apply has published. It asks [`Granter::ack_wait`] with
//!   the log id's leader id and index, never with what the node believes it is, and again after
//!   every report, every change of reign and `left_ns`; [`AckWait::ReignOver`] means propose again,
//!   and the proposer's deadline ends in `OutcomeUnknown`. The forwarding node only relays; it
//!   waits for its own apply as for any write. "Already revoked" is a new entry, too.
//! - **Shutdown.** [`Holder::shut`] first, then its report to the leader, then the rest.
//! - **Status.** [`Granter::leases`] on the leader; [`Gate::left_ns`] on each node.

mod clock;
mod gate;
mod granter;
mod holder;
mod messages;
mod params;
mod rules;
mod table;
mod wall;

pub use clock::{LeaseClock, Reading, SystemClock};
pub use gate::{Gate, Moment};
pub use granter::{AckWait, Action, Granter, Round, Stamper};
pub use holder::{Holder, Received};
pub use messages::{Answer, BadMessage, Boot, Grant, NodeId, Reason, Report, Request, Wire};
pub use params::{BadParams, DRIFT_DEFAULT_PPM, Params, WALL_SKEW_MAX_MS};
#[cfg(feature = "model")]
pub use rules::{Rule, Rules};
pub use table::{HolderId, LeaseStatus};
