//! Logging: one subscriber, on standard error, so that standard output stays for answers.
//!
//! A panic is logged as one line too. It does not end the process by itself: a handler's becomes a
//! 500, an actor's a restart, and one in the replicated machine is reported as fatal, which ends
//! the node in order.

use std::io::{self, IsTerminal};
use std::panic;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// Starts logging as configured. Called once, before anything is worth logging.
pub fn start(log: &Log) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives(log.level)))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match log.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("no message");
        tracing::error!(%place, %message, "panic: please report this as a bug");
    }));
}

/// What is logged at a level. The consensus library tells every step at `info` and warns of what is
/// ordinary in an election, which is of use only to someone who debugs it.
const fn directives(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info,openraft=error",
        LogLevel::Debug => "debug,openraft=info,hyper_util=info,h2=info",
        LogLevel::Trace => "trace",
    }
}
