//! The check of a syntax tree: names, operand types, depth, loops, size and cost.
//!
//! One walk computes for every part its [`Shape`] and the most steps that evaluating it can take,
//! from the bounds that the API puts on agents and requests. A loop runs at most as often as its
//! list is long, and may hold no other loop, so the whole is a sum of products that is known
//! beforehand. Must not know how faults are shown.

use cel::{
    Value,
    common::ast::{
        CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators,
    },
};

use super::{
    call::{self, Patterns},
    facts::bare_context,
    shape::Shape,
};
use crate::limits;

/// What is wrong, at which part of the tree.
#[derive(Debug)]
pub struct Fault {
    /// The part's number.
    pub at: u64,
    /// What is wrong and what to do.
    pub message: String,
}

/// The message for a condition that is nested too deeply.
pub fn too_deep() -> String {
    format!("is nested too deeply; a condition has at most {} levels", limits::CONDITION_DEPTH_MAX)
}

/// A field of `agent` or `request`, and the shape of what it holds.
type Field = (&'static str, fn() -> Shape);

const AGENT_FIELDS: &[Field] = &[
    ("id", || Shape::Text(limits::NAME_MAX_CHARS as u64)),
    ("name", || Shape::text_of_chars(limits::NAME_MAX_CHARS)),
    ("owner", || Shape::text_of_chars(limits::NAME_MAX_CHARS)),
    ("description", || Shape::text_of_chars(limits::DESCRIPTION_MAX_CHARS)),
    ("model_provider", || Shape::text_of_chars(limits::DESCRIPTION_MAX_CHARS)),
    ("model_name", || Shape::text_of_chars(limits::DESCRIPTION_MAX_CHARS)),
    ("framework", || Shape::text_of_chars(limits::DESCRIPTION_MAX_CHARS)),
    ("metadata", Shape::metadata),
];

const REQUEST_FIELDS: &[Field] = &[
    ("scope", Shape::scopes),
    ("ttl", || Shape::Int),
    ("target_service", || Shape::text_of_chars(limits::TARGET_SERVICE_MAX_CHARS)),
    ("intent", || Shape::text_of_chars(limits::INTENT_MAX_CHARS)),
    ("signed", || Shape::Bool),
];

/// The fields of `agent` or `request`; `None` for any other name.
fn fields_of(name: &str) -> Option<&'static [Field]> {
    match name {
        "agent" => Some(AGENT_FIELDS),
        "request" => Some(REQUEST_FIELDS),
        _ => None,
    }
}

/// What is known of a part: its shape, and the most steps that evaluating it takes.
struct Known {
    shape: Shape,
    steps: u64,
}

type Checked = Result<Known, Fault>;

fn fault<T>(at: u64, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at, message: message.into() })
}

/// One walk over one tree.
pub struct Checker {
    /// Variables of the loops around, the innermost last.
    variables: Vec<(String, Shape)>,
    in_loop: bool,
    patterns: Patterns,
    /// Most steps that any part may take.
    steps_max: u64,
}

impl Checker {
    /// Before the walk; no part may take more than `steps_max`.
    pub fn new(steps_max: u64) -> Self {
        Self { variables: Vec::new(), in_loop: false, patterns: Patterns::new(), steps_max }
    }

    /// The regular expressions that were met.
    pub fn into_patterns(self) -> Patterns {
        self.patterns
    }

    /// Checks a whole tree: the most steps that it takes.
    pub fn root(&mut self, tree: &IdedExpr) -> Result<u64, Fault> {
        let known = self.part(tree, 1)?;
        if known.shape != Shape::Bool {
            return fault(
                tree.id,
                format!("comes to a {}; a condition comes to a bool", known.shape),
            );
        }
        Ok(known.steps)
    }

    fn part(&mut self, part: &IdedExpr, depth: usize) -> Checked {
        if depth > limits::CONDITION_DEPTH_MAX {
            return fault(part.id, too_deep());
        }
        let known = match &part.expr {
            Expr::Literal(literal) => Self::literal(part.id, literal),
            Expr::Ident(name) => self.name(part.id, name),
            Expr::Select(select) => self.select(part.id, select, depth),
            Expr::List(list) => self.list(part.id, list, depth),
            Expr::Call(call) => self.call(part, call, depth),
            Expr::Comprehension(of) => self.comprehension(part.id, of, depth),
            Expr::Map(_) => fault(part.id, "maps cannot be written here; use a list"),
            Expr::Struct(_) => fault(part.id, "messages cannot be written here"),
            Expr::Unspecified => fault(part.id, "is not a CEL expression"),
        }?;
        if known.steps > self.steps_max {
            return fault(part.id, too_expensive(known.steps));
        }
        if known.shape.bytes() > limits::CONDITION_TEXT_MAX_BYTES {
            return fault(
                part.id,
                format!(
                    "can become larger than {} bytes; build smaller texts and lists",
                    limits::CONDITION_TEXT_MAX_BYTES
                ),
            );
        }
        Ok(known)
    }

    fn literal(at: u64, literal: &LiteralValue) -> Checked {
        let shape = match literal {
            LiteralValue::Boolean(_) => Shape::Bool,
            LiteralValue::Int(_) => Shape::Int,
            LiteralValue::Double(_) => Shape::Double,
            LiteralValue::String(text) => Shape::Text(text.inner().len() as u64),
            LiteralValue::UInt(_) => return fault(at, "write the number without the `u`"),
            LiteralValue::Bytes(_) => return fault(at, "write the text without the `b`"),
            LiteralValue::Null => {
                return fault(at, "nothing is null here: what an agent or request lacks is \"\"");
            }
        };
        Ok(Known { shape, steps: 1 })
    }

    fn name(&self, at: u64, name: &str) -> Checked {
        if let Some((_, shape)) = self.variables.iter().rev().find(|(known, _)| known == name) {
            return Ok(Known { shape: shape.clone(), steps: 1 });
        }
        if name == "now" {
            return Ok(Known { shape: Shape::Timestamp, steps: 1 });
        }
        match fields_of(name) {
            Some(fields) => fault(
                at,
                format!("`{name}` is no value; name one of its fields: {}", names(fields)),
            ),
            None => {
                fault(at, format!("unknown name `{name}`; there are `agent`, `request` and `now`"))
            }
        }
    }

    fn select(&mut self, at: u64, select: &SelectExpr, depth: usize) -> Checked {
        let field = &select.field;
        let test = |shape: Shape| if select.test { Shape::Bool } else { shape };
        if let Expr::Ident(name) = &select.operand.expr
            && !self.variables.iter().any(|(known, _)| known == name)
            && let Some(fields) = fields_of(name)
        {
            let Some((_, shape)) = fields.iter().find(|(known, _)| known == field) else {
                return fault(
                    at,
                    format!("`{name}` has no field `{field}`; it has {}", names(fields)),
                );
            };
            return Ok(Known { shape: test(shape()), steps: 2 });
        }
        let operand = self.part(&select.operand, depth + 1)?;
        match operand.shape {
            Shape::Map(_, _, value) => {
                Ok(Known { shape: test(Shape::Text(value)), steps: operand.steps + 2 })
            }
            other => fault(at, format!("a {other} has no field `{field}`")),
        }
    }

    fn list(&mut self, at: u64, list: &ListExpr, depth: usize) -> Checked {
        if !list.optional_indices.is_empty() {
            return fault(at, "optional elements cannot be written here");
        }
        let mut steps = 1;
        let mut item: Option<Shape> = None;
        for element in &list.elements {
            let known = self.part(element, depth + 1)?;
            steps += known.steps + call::scanning(known.shape.bytes());
            item = Some(match item {
                None => known.shape,
                Some(so_far) => match so_far.join(&known.shape) {
                    Some(joined) => joined,
                    None => {
                        return fault(
                            element.id,
                            format!("a list of {so_far} has no place for a {}", known.shape),
                        );
                    }
                },
            });
        }
        let shape = Shape::List(list.elements.len() as u64, item.map(Box::new));
        Ok(Known { shape, steps })
    }

    fn call(&mut self, part: &IdedExpr, call: &CallExpr, depth: usize) -> Checked {
        let mut steps: u64 = 0;
        let mut operands = Vec::with_capacity(call.args.len() + 1);
        for operand in call.target.as_deref().into_iter().chain(&call.args) {
            let known = self.part(operand, depth + 1)?;
            steps = steps.saturating_add(known.steps);
            operands.push(known.shape);
        }
        if call.func_name == operators::CONDITIONAL {
            return alternative(part.id, &operands, steps);
        }
        let name = call.func_name.as_str();
        let signature = match (&call.target, operands.as_slice()) {
            (Some(_), [target, arguments @ ..]) => call::member(name, target, arguments),
            (_, operands) => {
                call::operator(name, operands).or_else(|| call::function(name, operands))
            }
        };
        let Some((shape, own)) = signature else {
            return fault(part.id, no_such_call(call, &operands));
        };
        self.literal_arguments(part, call)?;
        let matching = self.matching(part, call, operands.first())?;
        Ok(Known { shape, steps: steps.saturating_add(own).saturating_add(matching) })
    }

    /// What matching the first operand with a regular expression costs, if the call does that.
    fn matching(
        &self,
        part: &IdedExpr,
        call: &CallExpr,
        text: Option<&Shape>,
    ) -> Result<u64, Fault> {
        let literal = call.args.last().map(|argument| &argument.expr);
        match (call.func_name.as_str(), literal, text) {
            (call::MATCHES, Some(Expr::Literal(LiteralValue::String(pattern))), Some(text)) => {
                let cost = call::matching(pattern.inner(), text.bytes());
                cost.map_err(|message| Fault { at: part.id, message })
            }
            _ => Ok(0),
        }
    }

    /// What is written out – a regular expression, a time, a time zone – is tried now and not when
    /// a token is asked for.
    fn literal_arguments(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<(), Fault> {
        let name = call.func_name.as_str();
        if name == call::MATCHES {
            let Some(IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. }) =
                call.args.last()
            else {
                return fault(part.id, "the regular expression has to be written out as a text");
            };
            let compiled =
                call::regex(text.inner()).map_err(|message| Fault { at: part.id, message })?;
            self.patterns.insert(text.inner().to_owned(), compiled);
        } else if call::is_accessor(name) && !call.args.is_empty() {
            let zone_is_known = matches!(call.args[0].expr, Expr::Literal(_))
                && Value::resolve(&at_the_epoch(call), &bare_context()).is_ok();
            if !zone_is_known {
                return fault(
                    call.args[0].id,
                    "write out a time zone, such as \"Europe/Berlin\" or \"+02:00\"",
                );
            }
        } else if call.target.is_none()
            && call::is_function(name)
            && call.args.iter().all(|argument| matches!(argument.expr, Expr::Literal(_)))
            && Value::resolve(part, &bare_context()).is_err()
        {
            return fault(part.id, format!("this is no {name}"));
        }
        Ok(())
    }

    fn comprehension(&mut self, at: u64, of: &ComprehensionExpr, depth: usize) -> Checked {
        if self.in_loop {
            return fault(at, "a loop in a loop is one too many; a condition has one level");
        }
        if fields_of(&of.iter_var).is_some() || of.iter_var == "now" || of.iter_var2.is_some() {
            return fault(at, format!("`{}` cannot name a loop's variable", of.iter_var));
        }
        let range = self.part(&of.iter_range, depth + 1)?;
        let Some((turns, item)) = range.shape.elements() else {
            return fault(
                of.iter_range.id,
                format!("a loop runs over a list or a map, not over a {}", range.shape),
            );
        };
        let start = self.part(&of.accu_init, depth + 1)?;
        self.in_loop = true;
        self.variables.push((of.accu_var.clone(), start.shape));
        self.variables.push((of.iter_var.clone(), item));
        let outcome = self.turns(of, turns, depth);
        self.variables.truncate(self.variables.len().saturating_sub(2));
        self.in_loop = false;
        let outcome = outcome?;
        let steps = range.steps.saturating_add(start.steps).saturating_add(outcome.steps);
        Ok(Known { shape: outcome.shape, steps })
    }

    /// The turns of a loop and what it comes to. Its variables are in place.
    fn turns(&mut self, of: &ComprehensionExpr, turns: u64, depth: usize) -> Checked {
        let go_on = self.part(&of.loop_cond, depth)?;
        // Not a level of its own: the parser wrote it around what the author wrote.
        let turn = self.part(&of.loop_step, depth)?;
        let gathered = match turn.shape {
            Shape::List(_, item) => Shape::List(turns, item),
            other => other,
        };
        let place = self.variables.len().saturating_sub(2);
        if let Some(accumulator) = self.variables.get_mut(place) {
            accumulator.1 = gathered;
        }
        let result = self.part(&of.result, depth)?;
        let each = go_on.steps.saturating_add(turn.steps).saturating_add(1);
        let steps = turns
            .saturating_mul(each)
            .saturating_add(result.steps)
            .saturating_add(call::scanning(result.shape.bytes()));
        Ok(Known { shape: result.shape, steps })
    }
}

fn too_expensive(steps: u64) -> String {
    format!(
        "can take {steps} steps, more than {}; use fewer loops, shorter texts or smaller regular \
         expressions ([0-9] is smaller than \\d)",
        limits::CONDITION_STEPS_MAX
    )
}

fn names(fields: &[Field]) -> String {
    fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn alternative(at: u64, operands: &[Shape], steps: u64) -> Checked {
    let [Shape::Bool, yes, no] = operands else {
        return fault(at, "what stands before the `?` has to be a bool");
    };
    match yes.join(no) {
        Some(shape) => Ok(Known { shape, steps: steps.saturating_add(1) }),
        None => {
            fault(at, format!("both sides of the `:` are of one type; these are {yes} and {no}"))
        }
    }
}

/// The same call on a time that is known.
fn at_the_epoch(call: &CallExpr) -> IdedExpr {
    let zero = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Int(0.into())) };
    let epoch = CallExpr { func_name: "timestamp".to_owned(), target: None, args: vec![zero] };
    let target = Some(Box::new(IdedExpr { id: 0, expr: Expr::Call(epoch) }));
    IdedExpr { id: 0, expr: Expr::Call(CallExpr { target, ..call.clone() }) }
}

fn no_such_call(call: &CallExpr, operands: &[Shape]) -> String {
    let shapes: Vec<String> = operands.iter().map(ToString::to_string).collect();
    let name = call.func_name.trim_matches(['_', '@']).replace("_?_:_", "?:");
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name != "in" {
        if call::is_function(&name) {
            return format!("`{name}` does not take {}", shapes.join(" and "));
        }
        return format!(
            "there is no function `{name}`; there are size, contains, startsWith, endsWith, matches, \
             int, double, string, timestamp, duration, the get… functions of times, has, all, \
             exists, exists_one, map and filter"
        );
    }
    format!("`{name}` does not go with {}", shapes.join(" and "))
}
