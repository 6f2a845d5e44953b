//! Policies: whether a token request is granted.
//!
//! A policy is checked once, when it is written ([`check`]), and compiled on every node that
//! decides by it ([`PolicySet`]). A decision is a pure function of the compiled policies and a
//! [`Question`]; counting, storing and telling anybody are left to the core, which gets a verdict.
//! Must not know what has been counted, where requests come from, actors or HTTP.

mod check;
mod condition;
mod evaluate;
mod glob;

pub use check::{FieldFault, RuleDraft, check};
pub use condition::{Condition, Facts, Fault, Patterns};
pub use evaluate::{CompiledPolicy, Explanation, Matched, PolicySet, Question};
pub use glob::Glob;
