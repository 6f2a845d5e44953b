//! Every bound of this crate, each with its unit in its name.
//!
//! A bound that reaches the disk (row, part, block sizes) is part of the stored form; it may be
//! raised only where the comment says so.

use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// Longest key of a journal chain.
pub const CHAIN_KEY_MAX_BYTES: usize = 32;
/// Longest tag of a journal record.
pub const TAG_MAX_BYTES: usize = 64;
/// Most tags a journal record carries.
pub const RECORD_TAGS_MAX: usize = 8;
/// Largest command that can be proposed.
pub const COMMAND_MAX_BYTES: usize = MIB;
/// Largest journal record. A machine must keep its records far below: a larger one stops every
/// node at the same entry.
pub const RECORD_MAX_BYTES: usize = 8 * MIB;
/// Largest reply that reaches the node that forwarded a command.
pub const REPLY_MAX_BYTES: usize = 12 * MIB;
/// Largest question of one node to another, and largest answer.
pub const QUESTION_MAX_BYTES: usize = 12 * MIB;
/// Proposals in flight on one node; one more is answered `Overloaded`.
pub const PROPOSALS_MAX: usize = 16_384;
/// Bytes of commands in flight on one node; more are answered `Overloaded`.
pub const PROPOSALS_MAX_BYTES: usize = 256 * 1024 * 1024;

/// Largest value that the codec takes in or puts out: a command, a record, a reply, a question or a
/// batch of entries, and what frames it.
pub(crate) const CODEC_MAX_BYTES: usize = 16 * MIB;
/// What bincode may count while it decodes one value. It counts a length as 8 bytes and a number as
/// the bytes of its type, however few bytes hold them on the disk: at most 16 for one. So no value
/// within [`CODEC_MAX_BYTES`] meets this limit, and what bounds a value is its bytes alone. The
/// limit bounds what a forged length can make the decoder reserve.
pub(crate) const CODEC_CLAIM_MAX_BYTES: usize = 16 * CODEC_MAX_BYTES;
/// Longest snapshot header.
pub(crate) const SNAPSHOT_META_MAX_BYTES: usize = 1024 * 1024;

/// Segment size of the store. A page of the store over a quarter of it would be written as a file
/// of its own, which nothing syncs; see [`ROW_PART_MAX_BYTES`].
pub(crate) const STORE_SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// Largest value handed to the store. A leaf page holds some 20 values at most between a merge and
/// the next split, so a page stays under 1.3 MiB, and below the 2 MiB that would make it a file.
pub(crate) const ROW_PART_MAX_BYTES: usize = 60 * 1024;
/// How long a freshly closed store may take to let go of its file.
pub(crate) const STORE_RELEASE_MAX: Duration = Duration::from_secs(10);

/// Entries in one row of the log.
pub(crate) const LOG_ROW_MAX_ENTRIES: usize = 256;
/// Bytes of entries in one row of the log, unless a single entry is larger.
pub(crate) const LOG_ROW_MAX_BYTES: usize = 56 * 1024;
/// Newest entries kept in memory for replication and apply.
pub(crate) const LOG_CACHE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Entries that one limited read of the log returns.
pub(crate) const LOG_READ_MAX_ENTRIES: u64 = 1_024;
/// Bytes of entries that one limited read of the log returns, unless a single entry is larger: what
/// one message to a peer carries, below [`CODEC_MAX_BYTES`].
pub(crate) const LOG_READ_MAX_BYTES: usize = 2 * 1024 * 1024;
/// Jobs that the writer takes from its queue before it syncs.
pub(crate) const WRITER_DRAIN_MAX_JOBS: usize = 4_096;
/// Bytes that the writer takes from its queue before it syncs.
pub(crate) const WRITER_DRAIN_MAX_BYTES: usize = 16 * 1024 * 1024;

/// Entries applied between two publications.
pub(crate) const APPLY_BATCH_MAX_ENTRIES: usize = 256;

/// Records per block of a chain: the unit of the posting lists. Part of the stored form.
pub(crate) const JOURNAL_BLOCK_RECORDS: u64 = 4_096;
/// Bytes of records in one row of the journal, unless a single record is larger.
pub(crate) const JOURNAL_ROW_MAX_BYTES: usize = 56 * 1024;
/// Records that one read of the journal returns.
pub const JOURNAL_READ_MAX_RECORDS: usize = 65_536;
/// Positions that one query of the journal returns.
pub const JOURNAL_SEQS_MAX: usize = 65_536;

/// Log indexes whose digests a node remembers, to compare them with its peers'.
pub(crate) const DIGESTS_KEPT: usize = 16_384;

/// Size of a snapshot's chunks, each with its own checksum.
pub(crate) const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;

/// Pause between two tries of a proposal that found no leader.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Largest message to or from a peer, snapshots apart.
pub(crate) const PEER_MESSAGE_MAX_BYTES: usize = CODEC_MAX_BYTES;
/// Connections of peers that one node holds open.
pub(crate) const PEER_CONNECTIONS_MAX: usize = 1_024;
/// Connections that have not yet proved who they are.
pub(crate) const PEER_HANDSHAKES_MAX: usize = 128;
/// Requests of one connection that are served at a time.
pub(crate) const PEER_STREAMS_MAX: u32 = 1_024;
/// HTTP/2 flow-control window, of a stream and of a connection.
pub(crate) const PEER_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How long a connection may take to be made, TLS included.
pub(crate) const PEER_CONNECT_MAX: Duration = Duration::from_millis(1_000);
/// How often a connection is probed, so that a half-dead one is noticed.
pub(crate) const PEER_IDLE_PROBE: Duration = Duration::from_millis(500);
/// How long the answer to a probe may take.
pub(crate) const PEER_PROBE_ANSWER_MAX: Duration = Duration::from_millis(1_500);
/// How long a peer may take to send the rest of a message that it began.
pub(crate) const PEER_MESSAGE_MAX: Duration = Duration::from_secs(10);
/// How long log entries may take to be stored by a follower and answered.
pub(crate) const APPEND_ANSWER_MAX: Duration = Duration::from_millis(2_000);
/// Bytes of a snapshot that travel at a time.
pub(crate) const SNAPSHOT_FRAME_BYTES: usize = 256 * 1024;
/// Longest pause in a snapshot on its way.
pub(crate) const SNAPSHOT_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest time for a snapshot to travel and be installed.
pub(crate) const SNAPSHOT_TRANSFER_MAX: Duration = Duration::from_secs(60 * 60);
/// Largest snapshot that is received.
pub(crate) const SNAPSHOT_MAX_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Events that may wait for the task that drives the leases.
pub(crate) const LEASE_EVENTS_MAX: usize = 4_096;
/// How soon a node asks for a lease again after a request came to nothing.
pub(crate) const LEASE_RETRY_PAUSE: Duration = Duration::from_millis(25);
/// Longest that a leader works on what a peer forwarded.
pub(crate) const FORWARD_WAIT_MAX: Duration = Duration::from_secs(60);
/// How far ahead of this node's own a term may be that a peer speaks of. A cluster that elects a leader
/// every 300 ms needs 40 years for so many; a voter that jumps as far as it can each time needs two
/// thousand million messages to use all terms up.
pub(crate) const TERM_JUMP_MAX: u64 = 1 << 32;
/// Nodes that are believed to lead before this one has seen them as voters.
pub(crate) const NAMED_LEADERS_MAX: usize = 64;
/// Pause between two questions who leads, of a node that hears a claim from a node without a vote.
pub(crate) const CLAIM_PAUSE: Duration = Duration::from_millis(500);
/// Longest `host:port` of a member.
pub(crate) const MEMBER_ADDRESS_MAX_BYTES: usize = 261;
/// How recently a member must have answered the leader to count as one that answers.
pub(crate) const MEMBER_ANSWERS_WITHIN: Duration = Duration::from_millis(2_000);
/// Entries that a learner may lack when it is given a vote.
pub(crate) const PROMOTE_LAG_MAX_ENTRIES: u64 = 256;
/// How long one change of the membership may take.
pub(crate) const CHANGE_MAX: Duration = Duration::from_secs(10);
/// How long a successor may take to come forward.
pub(crate) const TRANSFER_MAX: Duration = Duration::from_millis(2_000);
/// How long a member may take to answer what it is like.
pub(crate) const STATUS_ANSWER_MAX: Duration = Duration::from_millis(1_000);
/// Longest pause between two tries to join, or of a write that found no leader.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_millis(160);
/// How long a node tries to be taken in before its start fails.
pub(crate) const JOIN_MAX: Duration = Duration::from_secs(30);
/// Pause between two requests of a node that joins.
pub(crate) const JOIN_PAUSE: Duration = Duration::from_millis(200);
/// Chains that one message names.
pub(crate) const JOURNAL_CHAINS_PAGE_MAX: usize = 16_384;
/// Bytes of records that one message carries, unless a single record is larger.
pub(crate) const JOURNAL_FETCH_MAX_BYTES: usize = 1024 * 1024;
/// How long the answer to a request for records may take.
pub(crate) const JOURNAL_FETCH_ANSWER_MAX: Duration = Duration::from_secs(10);

/// Bytes of state, or about as many of records, in one frame of a backup.
pub(crate) const BACKUP_FRAME_BYTES: usize = 256 * 1024;
/// Largest frame of a backup: a single record may be larger than the rest.
pub(crate) const BACKUP_FRAME_MAX_BYTES: usize = CODEC_MAX_BYTES;
/// Frames of a backup that are made before they are taken.
pub(crate) const BACKUP_PIECES_AHEAD: usize = 2;
/// How long whoever takes a backup may take no frame of it.
pub(crate) const BACKUP_STALL_MAX: Duration = Duration::from_secs(60);

/// How often a node writes down what its clocks say.
pub(crate) const CLOCK_RECORD_EVERY: Duration = Duration::from_secs(1);
/// How often a node looks at whether it is ready, to say so in its log and to notice that it is
/// stuck.
pub(crate) const READINESS_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a node that knows a leader may have no lease and apply nothing before it counts as
/// stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(15);

// How the limits relate. Whatever one of them lets in, all that meet it later must let through: a
// command that is proposed is stored, sent, applied and read back for ever.

/// More than whatever frames a command, a record, a reply or a question where it is stored or sent.
const FRAME_MAX_BYTES: usize = 64 * 1024;
/// Bytes that frame one entry in a message to a follower.
const ENTRY_FRAME_MAX_BYTES: usize = 64;

// A record is the text of its command, where one byte can become six, and more beside it.
const _: () = assert!(RECORD_MAX_BYTES > 7 * COMMAND_MAX_BYTES);
// Every framed item fits the codec, with room to spare.
const _: () = assert!(COMMAND_MAX_BYTES + FRAME_MAX_BYTES < CODEC_MAX_BYTES / 2);
const _: () = assert!(REPLY_MAX_BYTES + FRAME_MAX_BYTES < CODEC_MAX_BYTES);
const _: () = assert!(QUESTION_MAX_BYTES + FRAME_MAX_BYTES < CODEC_MAX_BYTES);
const _: () = assert!(
    RECORD_MAX_BYTES + RECORD_TAGS_MAX * TAG_MAX_BYTES + CHAIN_KEY_MAX_BYTES + FRAME_MAX_BYTES
        < CODEC_MAX_BYTES
);
// A message holds whatever the codec can make, and so does a frame of a backup.
const _: () = assert!(PEER_MESSAGE_MAX_BYTES >= CODEC_MAX_BYTES);
const _: () = assert!(BACKUP_FRAME_MAX_BYTES >= CODEC_MAX_BYTES);
// Entries for a follower: as many as a read returns, or one of any size.
const _: () = assert!(LOG_READ_MAX_BYTES > COMMAND_MAX_BYTES + FRAME_MAX_BYTES);
const _: () = assert!(
    2 * (LOG_READ_MAX_BYTES + LOG_READ_MAX_ENTRIES as usize * ENTRY_FRAME_MAX_BYTES)
        < PEER_MESSAGE_MAX_BYTES
);
// Records for a node that lacks them: those of a read, whose last may be of any size.
const _: () = assert!(
    JOURNAL_FETCH_MAX_BYTES + RECORD_MAX_BYTES + 2 * FRAME_MAX_BYTES < PEER_MESSAGE_MAX_BYTES
);
const _: () =
    assert!(BACKUP_FRAME_BYTES + RECORD_MAX_BYTES + 2 * FRAME_MAX_BYTES < BACKUP_FRAME_MAX_BYTES);
const _: () = assert!(
    JOURNAL_CHAINS_PAGE_MAX * (CHAIN_KEY_MAX_BYTES + 2 * 10) + FRAME_MAX_BYTES
        < PEER_MESSAGE_MAX_BYTES
);
// A header names the members, whose number and addresses are bounded by what a message carries.
const _: () = assert!(SNAPSHOT_META_MAX_BYTES < CODEC_MAX_BYTES);
// What is in flight admits the largest command.
const _: () = assert!(PROPOSALS_MAX_BYTES >= 16 * COMMAND_MAX_BYTES);

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
