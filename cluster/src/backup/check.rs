//! Reading a backup back: everything in it is checked as it comes, and the first bad place is
//! named.
//!
//! The machine takes the state in, and then judges the journal by it: each record against the one
//! before it, and the end of each chain against what the state knows. Must not know what they mean.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::file::{Frame, Reader, Records};
use super::{BackupError, Contents, Origin};
use crate::{Machine, Record};

/// Checks all of a backup. `machine` holds its state afterwards.
pub fn check<M: Machine>(from: impl Read, machine: &mut M) -> Result<Contents, BackupError> {
    walk::<M, BackupError>(from, machine, |_| Ok(()))
}

/// Checks the frames of a backup alone, which takes no more memory than one of them: that it is
/// what a node sent, not that what it sent holds together.
pub fn check_frames(from: impl Read) -> Result<(Origin, [u8; 32]), BackupError> {
    let mut reader = Reader::new(from)?;
    let origin = header(&mut reader)?;
    loop {
        if let Frame::End(sha256) = reader.next()? {
            return Ok((origin, sha256));
        }
    }
}

fn header<R: Read>(reader: &mut Reader<R>) -> Result<Origin, BackupError> {
    match reader.next()? {
        Frame::Header(origin) => Ok(origin),
        _ => Err(reader.damaged("the header is missing")),
    }
}

/// Checks a backup, handing every record on once it is.
pub(super) fn walk<M: Machine, E: From<BackupError>>(
    from: impl Read,
    machine: &mut M,
    mut take: impl FnMut(Vec<Record>) -> Result<(), E>,
) -> Result<Contents, E> {
    let mut reader = Reader::new(from)?;
    let origin = header(&mut reader)?;
    let (found, newest) = (origin.level, machine.newest_level());
    if found > newest {
        return Err(BackupError::Level { found, newest }.into());
    }
    let mut state = StateFrames { reader: &mut reader, piece: Vec::new(), read: 0, after: None };
    let restored = machine.restore(&mut state);
    // A damaged file is named as such, whatever the machine made of it.
    let mut frame = state.finish()?;
    restored.map_err(|e| reader.damaged(format!("the state before it: {e}")))?;
    let mut journal = Journal::<M>::new(machine);
    let (mut chains, mut records) = (0, 0);
    loop {
        match frame {
            Frame::Records(of_chain) => {
                chains += u64::from(of_chain.from == 1);
                records += of_chain.records.len() as u64;
                let checked = journal.take_in(of_chain).map_err(|why| reader.damaged(why))?;
                take(checked)?;
            }
            Frame::End(sha256) => {
                journal.finish().map_err(|why| reader.damaged(why))?;
                let bytes = reader.bytes();
                return Ok(Contents { origin, chains, records, sha256, bytes });
            }
            Frame::Header(_) | Frame::State(_) => {
                return Err(reader.damaged("it stands in the wrong place").into());
            }
        }
        frame = reader.next()?;
    }
}

/// The state as the machine reads it.
struct StateFrames<'a, R: Read> {
    reader: &'a mut Reader<R>,
    piece: Vec<u8>,
    read: usize,
    /// What came after the state.
    after: Option<Result<Frame, BackupError>>,
}

impl<R: Read> StateFrames<'_, R> {
    fn next_piece(&mut self) {
        match self.reader.next() {
            Ok(Frame::State(piece)) => (self.piece, self.read) = (piece, 0),
            other => self.after = Some(other),
        }
    }

    /// What comes after the state, all of which must have been asked for.
    fn finish(mut self) -> Result<Frame, BackupError> {
        if self.read < self.piece.len() {
            return Err(self.reader.damaged("the state goes on after its end"));
        }
        if self.after.is_none() {
            self.next_piece();
        }
        match self.after {
            Some(after) => after,
            None => Err(self.reader.damaged("the state goes on after its end")),
        }
    }
}

impl<R: Read> Read for StateFrames<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() && self.after.is_none() {
            self.next_piece();
        }
        match &self.after {
            Some(Ok(_)) => return Ok(0),
            Some(Err(error)) => return Err(io::Error::other(error.clone())),
            None => {}
        }
        let rest = &self.piece[self.read..];
        let taken = rest.len().min(into.len());
        into[..taken].copy_from_slice(&rest[..taken]);
        self.read += taken;
        Ok(taken)
    }
}

/// The journal, as far as it has been read.
struct Journal<'a, M: Machine> {
    machine: &'a M,
    /// What is still to come: the heads that the state knows.
    heads: BTreeMap<Vec<u8>, u64>,
    /// The chain that is being read, and its last record.
    at: Option<(Vec<u8>, u64, Vec<u8>)>,
}

impl<'a, M: Machine> Journal<'a, M> {
    fn new(machine: &'a M) -> Self {
        let heads = machine.heads().into_iter().filter(|(_, head)| *head > 0).collect();
        Journal { machine, heads, at: None }
    }

    fn take_in(
        &mut self,
        Records { chain, from, records }: Records,
    ) -> Result<Vec<Record>, String> {
        let name = chain.escape_ascii().to_string();
        let (mut seq, mut previous) = match self.at.take() {
            Some((same, seq, last)) if same == chain => (seq, Some(last)),
            other => {
                self.at = other;
                self.end_chain()?;
                (0, None)
            }
        };
        if from != seq + 1 {
            return Err(format!("chain {name} goes on at record {}, not {from}", seq + 1));
        }
        let mut checked = Vec::with_capacity(records.len());
        for row in records {
            seq += 1;
            if !M::follows(previous.as_deref(), &row.bytes) {
                return Err(format!(
                    "chain {name}, record {seq} does not follow the one before it"
                ));
            }
            previous = Some(row.bytes.clone());
            checked.push(Record { chain: chain.clone(), seq, tags: row.tags, bytes: row.bytes });
        }
        match (self.heads.get(&chain), previous) {
            (None, _) => return Err(format!("the state knows no chain {name}")),
            (Some(head), _) if seq > *head => {
                return Err(format!("chain {name} goes on after record {head}, its last"));
            }
            (Some(_), Some(last)) => self.at = Some((chain, seq, last)),
            (Some(_), None) => return Err(format!("no records of chain {name}")),
        }
        Ok(checked)
    }

    /// Checks that the chain that was read last is whole.
    fn end_chain(&mut self) -> Result<(), String> {
        let Some((chain, seq, last)) = self.at.take() else { return Ok(()) };
        let name = chain.escape_ascii();
        match self.heads.remove(&chain) {
            Some(head) if head == seq => {}
            _ => return Err(format!("chain {name} ends at record {seq}, before its end")),
        }
        if !self.machine.ends_with(&chain, &last) {
            return Err(format!("chain {name}, record {seq} is not the end that the state knows"));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), String> {
        self.end_chain()?;
        match self.heads.keys().next() {
            Some(chain) => Err(format!("chain {} is missing", chain.escape_ascii())),
            None => Ok(()),
        }
    }
}
