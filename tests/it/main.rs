//! The integration tests: one binary, a file a subject.

mod actors;
mod api_answers;
mod api_authority;
mod api_input;
mod api_matrix;
mod api_reach;
mod api_tenants;
mod audit;
mod backup;
mod cli;
mod cluster;
mod crash;
mod dns;
mod domains;
mod domains_page;
mod export;
mod harness;
mod policies;
mod process;
mod readme;
mod receiver;
mod signatures;
mod tidy;
mod webhook_crash;
mod webhooks;

mod billing;
mod idempotency;
mod pages;
mod rate_limits;
