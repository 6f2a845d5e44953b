//! Every bound of this crate, each with its unit in its name.
//!
//! A bound that reaches the disk (row, part, block sizes) is part of the stored form; it may be
//! raised only where the comment says so.

use std::time::Duration;

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
/// Bytes of commands in flight on one node; more are answered `Overloaded`.
pub const PROPOSALS_MAX_BYTES: usize = 256 * 1024 * 1024;

/// Largest value that the codec takes in or puts out: a command or a record and what frames it.
pub(crate) const CODEC_MAX_BYTES: usize = 4 * 1024 * 1024;
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

/// Size of a snapshot's chunks, each with its own checksum.
pub(crate) const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;

/// Pause between two tries of a proposal that found no leader.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// Longest single attempt at a linearizable read while the node gets ready.
pub(crate) const READY_ATTEMPT: Duration = Duration::from_millis(500);
