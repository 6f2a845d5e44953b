//! The integration tests: one binary, a file a subject.

mod actors;
mod crash;
mod export;
mod harness;
mod tidy;
