//! Every bound of this crate, each with its unit in its name.

/// Longest key of a journal chain.
pub const CHAIN_KEY_MAX_BYTES: usize = 32;
/// Longest tag of a journal record.
pub const TAG_MAX_BYTES: usize = 64;
/// Most tags a journal record carries.
pub const RECORD_TAGS_MAX: usize = 8;
/// Largest command that can be proposed.
pub const COMMAND_MAX_BYTES: usize = 1024 * 1024;
/// Largest journal record.
pub const RECORD_MAX_BYTES: usize = 1024 * 1024;
/// Proposals in flight on one node; one more is answered `Overloaded`.
pub const PROPOSALS_MAX: usize = 16_384;
