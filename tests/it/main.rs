//! The integration tests: one binary, a file a subject.

mod actors;
mod audit;
mod cli;
mod crash;
mod export;
mod harness;
mod process;
mod readme;
mod tidy;
