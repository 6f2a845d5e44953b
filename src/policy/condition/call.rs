//! Operators and functions: what they take, what they give, and what they cost at most.
//!
//! A table of everything that a condition may call; all else is refused. Knows shapes, not syntax
//! trees.

use std::collections::BTreeMap;

use cel::common::ast::operators as op;
use regex::Regex;
use regex_automata::nfa::thompson;

use super::shape::Shape;
use crate::limits;

/// Regular expressions by their text, compiled.
pub type Patterns = BTreeMap<String, Regex>;

/// The function that takes a regular expression.
pub const MATCHES: &str = "matches";

/// How many bytes an operation looks at in a step.
const BYTES_A_STEP: u64 = 64;
/// Least that a byte costs that a regular expression looks at, in steps.
const REGEX_MIN_STEPS_A_BYTE: u64 = 2;
/// States of a regular expression's automaton that may be visited in a step, for one byte of text.
const REGEX_STATES_A_STEP: u64 = 16;
/// Most digits of a number as text; a double can be written with some 330.
const NUMBER_TEXT_BYTES: u64 = 400;

/// What a call gives, and the most that it costs besides its operands.
pub type Signature = (Shape, u64);

/// What looking at or copying so many bytes costs, in steps.
pub fn scanning(bytes: u64) -> u64 {
    1 + bytes / BYTES_A_STEP
}

/// What matching a text of at most `bytes` with the expression `text` costs, in steps. The engine
/// visits each state of the automaton at most once for each byte (Thompson, 1968), whatever the
/// text is, and no engine that it may choose instead takes longer.
pub fn matching(text: &str, bytes: u64) -> Result<u64, String> {
    let automaton = thompson::NFA::compiler()
        .configure(thompson::Config::new().nfa_size_limit(Some(limits::CONDITION_REGEX_MAX_BYTES)))
        .build(text)
        .map_err(|error| match error.size_limit() {
            Some(_) => TOO_LARGE.to_owned(),
            None => NO_EXPRESSION.to_owned(),
        })?;
    let states = automaton.states().len() as u64;
    let of_a_byte = states.div_ceil(REGEX_STATES_A_STEP).max(REGEX_MIN_STEPS_A_BYTE);
    Ok((bytes + 1).saturating_mul(of_a_byte))
}

const TOO_LARGE: &str = "this regular expression is too large; make its repetitions smaller";
const NO_EXPRESSION: &str = "this is not a regular expression";

/// Compiles a regular expression, within bounds.
pub fn regex(text: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(text)
        .size_limit(limits::CONDITION_REGEX_MAX_BYTES)
        .dfa_size_limit(limits::CONDITION_REGEX_MAX_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => TOO_LARGE.to_owned(),
            _ => NO_EXPRESSION.to_owned(),
        })
}

/// Operators, by the names that the parser gives them.
pub fn operator(name: &str, operands: &[Shape]) -> Option<Signature> {
    match operands {
        [one] => unary(name, one),
        [left, right] => binary(name, left, right),
        _ => None,
    }
}

fn unary(name: &str, operand: &Shape) -> Option<Signature> {
    match (name, operand) {
        (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, Shape::Bool) => Some((Shape::Bool, 1)),
        (op::NEGATE, Shape::Int | Shape::Double) => Some((operand.clone(), 1)),
        _ => None,
    }
}

fn binary(name: &str, left: &Shape, right: &Shape) -> Option<Signature> {
    let both = left.bytes().saturating_add(right.bytes());
    match name {
        op::LOGICAL_AND | op::LOGICAL_OR => {
            matches!((left, right), (Shape::Bool, Shape::Bool)).then_some((Shape::Bool, 1))
        }
        op::EQUALS | op::NOT_EQUALS => {
            left.same_type(right).then_some((Shape::Bool, scanning(both)))
        }
        op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS => {
            let ordered = !matches!(left, Shape::List(..) | Shape::Map(..));
            (ordered && left.same_type(right)).then_some((Shape::Bool, scanning(both)))
        }
        op::IN => contained(left, right).map(|steps| (Shape::Bool, steps)),
        op::INDEX => index(left, right).map(|shape| (shape, scanning(both))),
        op::ADD => add(left, right).map(|shape| (shape, scanning(both))),
        op::SUBSTRACT => subtract(left, right).map(|shape| (shape, 1)),
        op::MULTIPLY | op::DIVIDE => match (left, right) {
            (Shape::Int, Shape::Int) | (Shape::Double, Shape::Double) => Some((left.clone(), 1)),
            _ => None,
        },
        op::MODULO => matches!((left, right), (Shape::Int, Shape::Int)).then_some((Shape::Int, 1)),
        _ => None,
    }
}

fn contained(item: &Shape, of: &Shape) -> Option<u64> {
    match of {
        Shape::List(most, Some(of_item)) => item
            .same_type(of_item)
            .then(|| most.saturating_mul(scanning(item.bytes().min(of_item.bytes())))),
        Shape::List(_, None) => Some(1),
        Shape::Map(..) => matches!(item, Shape::Text(_)).then(|| scanning(item.bytes())),
        _ => None,
    }
}

fn index(of: &Shape, by: &Shape) -> Option<Shape> {
    match (of, by) {
        (Shape::List(_, Some(item)), Shape::Int) => Some((**item).clone()),
        (Shape::Map(_, _, value), Shape::Text(_)) => Some(Shape::Text(*value)),
        _ => None,
    }
}

fn add(left: &Shape, right: &Shape) -> Option<Shape> {
    match (left, right) {
        (Shape::Int, Shape::Int) | (Shape::Double, Shape::Double) => Some(left.clone()),
        (Shape::Text(a), Shape::Text(b)) => Some(Shape::Text(a.saturating_add(*b))),
        (Shape::List(a, _), Shape::List(b, _)) => match left.join(right)? {
            Shape::List(_, item) => Some(Shape::List(a.saturating_add(*b), item)),
            _ => None,
        },
        (Shape::Timestamp, Shape::Duration) | (Shape::Duration, Shape::Timestamp) => {
            Some(Shape::Timestamp)
        }
        (Shape::Duration, Shape::Duration) => Some(Shape::Duration),
        _ => None,
    }
}

fn subtract(left: &Shape, right: &Shape) -> Option<Shape> {
    match (left, right) {
        (Shape::Int, Shape::Int) | (Shape::Double, Shape::Double) => Some(left.clone()),
        (Shape::Timestamp, Shape::Timestamp) | (Shape::Duration, Shape::Duration) => {
            Some(Shape::Duration)
        }
        (Shape::Timestamp, Shape::Duration) => Some(Shape::Timestamp),
        _ => None,
    }
}

/// Whether there is a function of this name.
pub fn is_function(name: &str) -> bool {
    matches!(
        name,
        "size"
            | "contains"
            | "startsWith"
            | "endsWith"
            | MATCHES
            | "int"
            | "double"
            | "string"
            | "timestamp"
            | "duration"
    ) || is_accessor(name)
}

/// Whether `name` takes a part out of a time, and so may take a time zone.
pub fn is_accessor(name: &str) -> bool {
    is_clock_accessor(name)
        || matches!(
            name,
            "getFullYear"
                | "getMonth"
                | "getDate"
                | "getDayOfMonth"
                | "getDayOfWeek"
                | "getDayOfYear"
        )
}

fn is_clock_accessor(name: &str) -> bool {
    matches!(name, "getHours" | "getMinutes" | "getSeconds" | "getMilliseconds")
}

/// Functions called as `name(arguments)`.
pub fn function(name: &str, arguments: &[Shape]) -> Option<Signature> {
    match (name, arguments) {
        ("size", [of]) => size(of),
        (MATCHES, [text, pattern]) => member(MATCHES, text, std::slice::from_ref(pattern)),
        ("int", [Shape::Int | Shape::Double | Shape::Timestamp]) => Some((Shape::Int, 1)),
        ("int", [Shape::Text(bytes)]) => Some((Shape::Int, scanning(*bytes))),
        ("double", [Shape::Int | Shape::Double]) => Some((Shape::Double, 1)),
        ("double", [Shape::Text(bytes)]) => Some((Shape::Double, scanning(*bytes))),
        ("string", [Shape::Text(bytes)]) => Some((Shape::Text(*bytes), scanning(*bytes))),
        (
            "string",
            [Shape::Bool | Shape::Int | Shape::Double | Shape::Timestamp | Shape::Duration],
        ) => Some((Shape::Text(NUMBER_TEXT_BYTES), scanning(NUMBER_TEXT_BYTES))),
        ("timestamp", [Shape::Timestamp | Shape::Int]) => Some((Shape::Timestamp, 1)),
        ("timestamp", [Shape::Text(bytes)]) => Some((Shape::Timestamp, scanning(*bytes))),
        ("duration", [Shape::Duration]) => Some((Shape::Duration, 1)),
        ("duration", [Shape::Text(bytes)]) => Some((Shape::Duration, scanning(*bytes))),
        _ => None,
    }
}

fn size(of: &Shape) -> Option<Signature> {
    match of {
        Shape::Text(bytes) => Some((Shape::Int, scanning(*bytes))),
        Shape::List(..) | Shape::Map(..) => Some((Shape::Int, 1)),
        _ => None,
    }
}

/// Functions called as `target.name(arguments)`.
pub fn member(name: &str, target: &Shape, arguments: &[Shape]) -> Option<Signature> {
    match (name, target, arguments) {
        ("size", of, []) => size(of),
        ("contains" | "startsWith" | "endsWith", Shape::Text(text), [Shape::Text(part)]) => {
            Some((Shape::Bool, scanning(text.saturating_add(*part))))
        }
        // The rest depends on the expression: see [`matching`].
        (MATCHES, Shape::Text(_), [Shape::Text(_)]) => Some((Shape::Bool, 1)),
        (_, Shape::Timestamp, [] | [Shape::Text(_)]) if is_accessor(name) => Some((Shape::Int, 2)),
        (_, Shape::Duration, []) if is_clock_accessor(name) => Some((Shape::Int, 1)),
        _ => None,
    }
}
