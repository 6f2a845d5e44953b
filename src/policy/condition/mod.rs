//! Conditions: CEL expressions over the agent, the request and the time.
//!
//! An expression is taken in only when it is provably well behaved: it parses, names only what
//! there is, gives every operator operands that it knows, comes to a bool, and – whatever the agent
//! and the request are – stays within [`limits::CONDITION_STEPS_MAX`] steps. The `cel` crate
//! parses and evaluates; the proof is [`check`]'s. What can still go wrong at run time (a key that
//! metadata lacks, a division by zero) is an error value, and so is a panic in the crate.
//!
//! Must not know rules, or what an error is taken to mean.

mod call;
mod check;
mod facts;
mod parse;
mod shape;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use cel::{IdedExpr, Value};

pub(super) use self::parse::on_parser_stack;
pub use self::{call::Patterns, facts::Facts};
use self::{check::Checker, parse::Source};
use super::Question;
use crate::limits;

/// Why an expression is not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, from 1: line and column in characters. Missing when it is about the whole.
    pub position: Option<(usize, usize)>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "line {line}, column {column}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// An expression that was taken in.
#[derive(Debug)]
pub struct Condition {
    expression: IdedExpr,
    patterns: Patterns,
    steps: u64,
}

impl Condition {
    /// Takes in `text`. To be called [`on_parser_stack`]: the parser recurses deeply.
    pub(super) fn compile(text: &str) -> Result<Self, Fault> {
        Self::within(text, limits::CONDITION_STEPS_MAX)
    }

    /// Takes in `text` that was taken in before, perhaps by a build that charged less for some of
    /// it: what was in force stays in force.
    pub(super) fn compile_known(text: &str) -> Result<Self, Fault> {
        Self::within(text, u64::MAX)
    }

    fn within(text: &str, steps_max: u64) -> Result<Self, Fault> {
        if text.len() > limits::CONDITION_MAX_BYTES {
            return Err(Fault {
                position: None,
                message: format!(
                    "is {} bytes long; a condition has at most {}",
                    text.len(),
                    limits::CONDITION_MAX_BYTES
                ),
            });
        }
        let (expression, source) = Source::parse(text)?;
        let mut checker = Checker::new(steps_max);
        let checked = checker.root(&expression).map_err(|fault| source.locate(fault))?;
        Ok(Self { expression, patterns: checker.into_patterns(), steps: checked })
    }

    /// The most that evaluating it can cost.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The regular expressions that it uses, which the [`Facts`] that it is asked of must know.
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// Whether it holds. An error says why that cannot be told.
    pub fn holds(&self, facts: &Facts) -> Result<bool, String> {
        let outcome =
            catch_unwind(AssertUnwindSafe(|| Value::resolve(&self.expression, facts.context())));
        match outcome {
            Ok(Ok(Value::Bool(holds))) => Ok(holds),
            Ok(Ok(other)) => Err(format!("came to a {} and not to a bool", other.type_of())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("could not be evaluated".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
