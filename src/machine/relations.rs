//! How the limits relate, checked when this is compiled.
//!
//! Whatever one limit lets in, every limit that it meets later must let through: two limits of one
//! size conflict somewhere, for an event is its command and an envelope, a reply carries the object,
//! and text grows where it is escaped. The cluster crate states the relations of its own limits in
//! its `limits`. Must not know what any item is.

use authrai_cluster::limits::{
    COMMAND_MAX_BYTES, QUESTION_MAX_BYTES, RECORD_MAX_BYTES, REPLY_MAX_BYTES,
};

use crate::limits::{
    AUDIT_ROW_MAX_BYTES, BODY_MAX_BYTES, EVENT_MAX_BYTES, IDEMPOTENCY_ANSWER_BOUNDED_MAX_BYTES,
    IDEMPOTENCY_ANSWER_MAX_BYTES, ITEM_MAX_BYTES, POLICY_MAX_BYTES, PROPOSED_MAX_BYTES,
    RELAYED_ANSWER_MAX_BYTES, STORED_ITEM_MAX_BYTES,
};

/// More than the head of a request or of an answer takes that is passed on, or what frames an item.
const HEAD_MAX_BYTES: usize = 1024 * 1024;

// Proposing is bounded more strictly than the log, and both far more strictly than reading.
const _: () = assert!(PROPOSED_MAX_BYTES <= COMMAND_MAX_BYTES);
const _: () = assert!(STORED_ITEM_MAX_BYTES >= 8 * COMMAND_MAX_BYTES);
// An item of the state comes from a command, and perhaps from a few that changed it since; as a
// record of a snapshot it is still read.
const _: () = assert!(STORED_ITEM_MAX_BYTES > 2 * 2 * PROPOSED_MAX_BYTES);
// A reply is an item, or an answer that is remembered with the secret that it showed.
const _: () = assert!(STORED_ITEM_MAX_BYTES + HEAD_MAX_BYTES < REPLY_MAX_BYTES);
const _: () = assert!(4 * IDEMPOTENCY_ANSWER_MAX_BYTES as usize <= STORED_ITEM_MAX_BYTES);
// A node without a vote passes on every request that a node with one takes, and its answer.
const _: () = assert!(BODY_MAX_BYTES + HEAD_MAX_BYTES < QUESTION_MAX_BYTES);
const _: () = assert!(RELAYED_ANSWER_MAX_BYTES + HEAD_MAX_BYTES < QUESTION_MAX_BYTES);
// A command's text, escaped at its worst, as an answer.
const _: () = assert!(RELAYED_ANSWER_MAX_BYTES >= 7 * PROPOSED_MAX_BYTES);
// A row of an export is a record once as columns and once as JSON, escaped again in a cell.
const _: () = assert!(AUDIT_ROW_MAX_BYTES >= 3 * RECORD_MAX_BYTES);
// What `decide` lets a command put out is less than half of what is stored, read and sent.
const _: () = assert!(2 * EVENT_MAX_BYTES < RECORD_MAX_BYTES);
const _: () = assert!(2 * ITEM_MAX_BYTES < STORED_ITEM_MAX_BYTES);
const _: () = assert!(2 * ITEM_MAX_BYTES < REPLY_MAX_BYTES);
const _: () = assert!(6 * POLICY_MAX_BYTES < EVENT_MAX_BYTES);
const _: () = assert!(2 * POLICY_MAX_BYTES < ITEM_MAX_BYTES);
const _: () = assert!(2 * IDEMPOTENCY_ANSWER_BOUNDED_MAX_BYTES as usize <= ITEM_MAX_BYTES);
