//! Parsing: from text to the `cel` crate's syntax tree, with places in the text.
//!
//! The crate's parser takes some 150 KiB of stack for each level of nesting, which a thread's
//! default stack does not have. So it runs on a thread of its own, with its nesting capped; a panic
//! in it ends that thread and becomes a fault. Must not know types.

use std::thread;

use cel::{IdedExpr, common::ast::SourceInfo, parser::Parser};

use super::{Fault, check};
use crate::limits;

/// Levels of brackets and alternatives that the parser follows. A few more than a condition may
/// have, so that the message about depth is the checker's.
const PARSER_DEPTH_MAX: u16 = limits::CONDITION_DEPTH_MAX as u16 + 4;

/// Runs `work` on a thread with the stack that parsing needs. `None` when it panicked or no thread
/// could be started.
pub fn on_parser_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("policy-parser".to_owned())
            .stack_size(limits::CONDITION_PARSER_STACK_BYTES)
            .spawn_scoped(scope, work)
            .ok()?
            .join()
            .ok()
    })
}

/// The text that a tree was parsed from.
pub struct Source<'a> {
    text: &'a str,
    places: SourceInfo,
}

impl<'a> Source<'a> {
    /// Parses `text`.
    pub fn parse(text: &'a str) -> Result<(IdedExpr, Self), Fault> {
        Parser::new()
            .max_recursion_depth(PARSER_DEPTH_MAX)
            .parse_with_source_info(text)
            .map(|(tree, places)| (tree, Self { text, places }))
            .map_err(|errors| syntax_fault(&errors))
    }

    /// Says where in the text a fault of the tree is.
    pub fn locate(&self, fault: check::Fault) -> Fault {
        let position = self.places.offset_for(fault.at).map(|(start, _)| {
            // Offsets are in bytes.
            let before = self.text.get(..start as usize).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            (line, column)
        });
        Fault { position, message: fault.message }
    }
}

/// The first thing that the parser did not understand, in words.
fn syntax_fault(errors: &cel::ParseErrors) -> Fault {
    let Some(first) = errors.errors.first() else {
        return Fault { position: None, message: "is not a CEL expression".to_owned() };
    };
    let message = if first.msg.contains("Recursion limit") {
        check::too_deep()
    } else {
        first.msg.replace("Syntax error: ", "")
    };
    let place = |at: isize| usize::try_from(at).unwrap_or(1).max(1);
    Fault { position: Some((place(first.pos.0), place(first.pos.1))), message }
}
