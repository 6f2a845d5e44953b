//! The audit log: a hash chain for each tenant, written in the same step as the change.
//!
//! Linking and checking are pure; queries and exports read the journal. Must not know how a change
//! was decided, nor HTTP.

pub mod chain;
