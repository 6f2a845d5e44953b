//! The HTTP API: one file a noun, each with its routes.
//!
//! A handler checks authority by the type of its caller, turns a DTO into a command, and the
//! outcome into a DTO. Wire types are not domain types (`wire.rs`), and a refusal becomes a status
//! in one place (`error.rs`). Nothing below imports this.
