//! The integration tests: one binary, a file a subject.

mod cli;
mod harness;
mod process;
mod readme;
mod tidy;
