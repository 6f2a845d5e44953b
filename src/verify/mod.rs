//! Verification: whether a token is valid, from memory alone.
//!
//! Apply publishes an immutable [`View`] by one atomic swap; a verdict is a pure function of the
//! token, the view, and the time. Must not know actors, locks, disks, peers or HTTP.

mod decide;
mod reason;
mod view;

pub use decide::{Question, Valid, Verdict, decide, decide_settled, prefix_of};
pub use reason::Reason;
pub use view::{View, Views};

#[cfg(test)]
mod tests;
