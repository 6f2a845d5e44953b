//! What this crate counts, under the names that whoever installs a recorder shows them by.
//!
//! Without a recorder nothing is counted. Must not know how anything is shown.

use std::time::Duration;

use metrics::{counter, histogram};

use crate::lease::Reason;

/// How long revokes waited, after they were committed, until no node could answer from before them;
/// counted where the leader is.
pub const REVOKE_WAIT_SECONDS_METRIC: &str = "authrai_revoke_wait_seconds";
/// Requests for a lease that came to nothing, by `reason`; counted where they were made.
pub const LEASE_REFUSALS_METRIC: &str = "authrai_lease_refusals_total";

/// A revoke may be answered.
pub(crate) fn revoke_waited(waited: Duration) {
    histogram!(REVOKE_WAIT_SECONDS_METRIC).record(waited);
}

/// A request for a lease was refused, or lost if there is no reason.
pub(crate) fn lease_refused(reason: Option<Reason>) {
    let reason = reason.map_or("unanswered", Reason::name);
    counter!(LEASE_REFUSALS_METRIC, "reason" => reason).increment(1);
}
