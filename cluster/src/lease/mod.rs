//! Read leases: after a revoke has answered, no node answers from a view before it.
//!
//! Draft; see below.

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
pub use gate::Gate;
pub use granter::{AckWait, Action, Granter, Round, Stamper};
pub use holder::{Holder, Received};
pub use messages::{Answer, BadMessage, Boot, Grant, NodeId, Reason, Report, Request, Wire};
pub use params::{BadParams, Params};
#[cfg(feature = "model")]
pub use rules::{Rule, Rules};
pub use table::{HolderId, LeaseStatus};
