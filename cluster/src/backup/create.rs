//! Making a backup on a running node, as a stream.
//!
//! First a round to the leader, so that it holds everything that was acknowledged before it was
//! asked for. Then the state is frozen between two batches, together with how long each chain is at
//! that moment: what was appended to a chain never changes, so the journal can be read while writes
//! go on. A thread of its own writes the pieces, and waits while two of them are not taken. Must not
//! know where they go.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Origin;
use super::file::{Records, Row, Writer};
use crate::error::{Fatal, Unavailable};
use crate::handle::Handle;
use crate::limits::{
    BACKUP_FRAME_BYTES, BACKUP_PIECES_AHEAD, BACKUP_STALL_MAX, JOURNAL_READ_MAX_RECORDS,
};
use crate::store::apply::Point;
use crate::store::journal::{JournalShared, within};
use crate::wall_clock;
use crate::{Machine, Record};

/// Why a backup ended early. What was received of it has no end, so that it cannot be taken for a
/// whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the backup was broken off: {0}")]
pub struct BackupBroken(pub String);

/// A backup on its way.
#[derive(Debug)]
pub struct Backup {
    origin: Origin,
    pieces: mpsc::Receiver<Result<Vec<u8>, BackupBroken>>,
}

impl Backup {
    /// Where and when it is made.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The next piece; nothing after the last one. Whoever takes none for long gets no more.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, BackupBroken>> {
        self.pieces.recv().await
    }
}

impl<M: Machine> Handle<M> {
    /// Begins a backup of everything that was acknowledged before the call, and perhaps of some that
    /// was not. `program` is written into it.
    pub async fn backup(&self, program: String, deadline: Duration) -> Result<Backup, Unavailable> {
        self.read_index(deadline).await?;
        let core = self.core();
        let point =
            core.raft.with_state_machine(|apply| Box::pin(std::future::ready(apply.point())));
        let point = point.await.map_err(|e| match core.check_running() {
            Err(unavailable) => unavailable,
            Ok(()) => Unavailable::Fatal(Fatal::Consensus { detail: e.to_string() }),
        })?;
        let origin = Origin {
            cluster: core.identity.cluster,
            index: point.index,
            level: point.level,
            at_ms: wall_clock::now_ms(),
            program,
        };
        let (out, pieces) = mpsc::channel(BACKUP_PIECES_AHEAD);
        let (journal, header) = (Arc::clone(&core.journal), origin.clone());
        let pipe = Pipe { out, runtime: runtime::Handle::current() };
        spawn_blocking(move || {
            let told = pipe.clone();
            if let Err(error) = write::<M>(pipe, &header, point, &journal) {
                tracing::warn!(%error, "a backup was broken off");
                told.tell(BackupBroken(error.to_string()));
            }
        });
        Ok(Backup { origin, pieces })
    }
}

fn write<M: Machine>(
    pipe: Pipe,
    origin: &Origin,
    point: Point<M::Frozen>,
    journal: &JournalShared,
) -> io::Result<()> {
    let mut out = Writer::new(pipe, origin)?;
    M::write_snapshot(&point.frozen, &mut out)?;
    out.end_state()?;
    // The journal may take long, and the state is not needed any more.
    drop(point.frozen);
    let mut heads = point.heads;
    heads.sort_unstable();
    for (chain, head) in heads {
        let mut next = 1;
        while next <= head {
            let read =
                journal.read_records(&chain, next, JOURNAL_READ_MAX_RECORDS, BACKUP_FRAME_BYTES);
            let read = read.map_err(io::Error::other)?;
            let due: Vec<Record> = read.into_iter().take_while(|r| r.seq <= head).collect();
            let due = within(due, BACKUP_FRAME_BYTES);
            let Some(last) = due.last() else {
                return Err(io::Error::other(format!(
                    "chain {} ends before record {next}",
                    chain.escape_ascii()
                )));
            };
            let after = last.seq + 1;
            let rows = due.into_iter().map(|r| Row { tags: r.tags, bytes: r.bytes });
            out.records(&Records { chain: chain.clone(), from: next, records: rows.collect() })?;
            next = after;
        }
    }
    out.finish()?;
    Ok(())
}

/// The way to whoever takes the pieces.
#[derive(Clone)]
struct Pipe {
    out: mpsc::Sender<Result<Vec<u8>, BackupBroken>>,
    runtime: runtime::Handle,
}

impl Pipe {
    /// Says why there are no more pieces, if somebody still listens.
    fn tell(&self, broken: BackupBroken) {
        let _ = self.runtime.block_on(self.out.send_timeout(Err(broken), BACKUP_STALL_MAX));
    }
}

impl Write for Pipe {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let sending = self.out.send_timeout(Ok(piece.to_vec()), BACKUP_STALL_MAX);
        match self.runtime.block_on(sending) {
            Ok(()) => Ok(piece.len()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(io::ErrorKind::TimedOut.into()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes it any more"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
