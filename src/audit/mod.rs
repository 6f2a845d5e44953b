//! The audit log: a hash chain for each tenant, written in the same step as the change.
//!
//! Linking and checking are pure; queries and exports read the journal. Must not know how a change
//! was decided, nor HTTP.

pub mod chain;
mod export;
mod log;
pub mod offline;
mod query;
mod record;
mod selection;
mod source;
mod table;
mod verify;

#[cfg(test)]
mod tests;

pub use export::Export;
pub use log::AuditLog;
pub use query::{Filter, Page, QueryError};
pub use record::{Entry, Fields};
pub use source::{AuditError, Records, Unread};
pub use verify::Verdict;
