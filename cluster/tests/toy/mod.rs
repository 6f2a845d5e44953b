//! A toy machine: counters by chain. The crate's second user, for its own tests.
//!
//! Each command adds to the counter of a chain, notes the command's id and writes one record.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use authrai_cluster::{Applied, Machine, Record, Stamp, Undecodable, Unproposable};

/// What can be proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Add {
        chain: u8,
        id: u64,
        padding: usize,
    },
    /// Adds to chain 0 once nobody holds the gate.
    Gated {
        id: u64,
    },
    /// Adds to chain 7, and only at level 2.
    AtTwo {
        id: u64,
    },
    /// Makes the machine panic.
    Panic,
    /// Bytes that do not decode, although the machine said that they would.
    Garbage,
    /// Bytes that do not decode, as the machine says before they are proposed.
    Unreadable,
}

pub fn add(chain: u8, id: u64) -> Command {
    Command::Add { chain, id, padding: 0 }
}

/// The whole state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub heads: BTreeMap<u8, u64>,
    pub ids: BTreeSet<u64>,
    pub last_at_ms: u64,
}

/// The machine. `salt` goes into every record: another salt is a machine that has forked.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    pub state: State,
    pub salt: u8,
    /// The command whose record has another salt on this machine than on others.
    pub parts_at: Option<u64>,
    /// Levels of rules that it knows besides the first.
    pub more_levels: u32,
    /// As it was told; 0 if it never was.
    pub level: u32,
    pub published: Arc<AtomicU64>,
    /// The newest stamp.
    pub latest_ms: Arc<AtomicU64>,
    pub view: Arc<Mutex<State>>,
    pub gate: Arc<Mutex<()>>,
}

/// A copy of the state, written only while nobody holds the gate.
#[derive(Debug)]
pub struct Frozen {
    state: State,
    gate: Arc<Mutex<()>>,
}

/// The bytes of the record that command `id` writes.
pub fn record_bytes(id: u64, salt: u8, padding: usize) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.push(salt);
    bytes.resize(9 + padding, 7);
    bytes
}

/// The tags of that record.
pub fn tags(id: u64) -> Vec<Vec<u8>> {
    let parity = if id.is_multiple_of(2) { b"even" } else { b"odd\0" };
    vec![parity.to_vec(), format!("mod{}", id % 1000).into_bytes()]
}

impl Machine for Counter {
    type Command = Command;
    type Reply = u64;
    type Frozen = Frozen;

    fn encode_command(command: &Command) -> Vec<u8> {
        match command {
            Command::Add { chain, id, padding } => {
                let mut bytes = vec![1, *chain];
                bytes.extend(id.to_le_bytes());
                bytes.resize(10 + padding, 7);
                bytes
            }
            Command::Gated { id } => [&[3], id.to_le_bytes().as_slice()].concat(),
            Command::AtTwo { id } => [&[4], id.to_le_bytes().as_slice()].concat(),
            Command::Panic => vec![2],
            Command::Garbage => vec![99],
            Command::Unreadable => vec![98],
        }
    }

    fn decode_command(bytes: &[u8]) -> Result<Command, Undecodable> {
        match bytes {
            [1, chain, rest @ ..] => {
                let (id, padding) =
                    rest.split_first_chunk::<8>().ok_or_else(|| Undecodable("short".into()))?;
                let (id, padding) = (u64::from_le_bytes(*id), padding.len());
                Ok(Command::Add { chain: *chain, id, padding })
            }
            [2] => Ok(Command::Panic),
            [3, id @ ..] => {
                let id = id.try_into().map_err(|_| Undecodable("short".into()))?;
                Ok(Command::Gated { id: u64::from_le_bytes(id) })
            }
            [4, id @ ..] => {
                let id = id.try_into().map_err(|_| Undecodable("short".into()))?;
                Ok(Command::AtTwo { id: u64::from_le_bytes(id) })
            }
            _ => Err(Undecodable("an unknown command".into())),
        }
    }

    fn check_command(bytes: &[u8]) -> Result<(), Unproposable> {
        match Counter::decode_command(bytes) {
            Err(_) if bytes == [99] => Ok(()),
            Err(Undecodable(why)) => Err(Unproposable::Unreadable(why)),
            Ok(_) => Ok(()),
        }
    }

    fn encode_reply(reply: &u64) -> Vec<u8> {
        reply.to_le_bytes().to_vec()
    }

    fn decode_reply(bytes: &[u8]) -> Result<u64, Undecodable> {
        let bytes = bytes.try_into().map_err(|_| Undecodable("a reply of another size".into()))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn apply(&mut self, stamp: Stamp, command: Command) -> Applied<u64> {
        let (chain, id, padding) = match command {
            Command::Add { chain, id, padding } => (chain, id, padding),
            Command::Gated { id } => {
                drop(self.gate.lock().expect("not poisoned"));
                (0, id, 0)
            }
            Command::AtTwo { id } => {
                assert!(self.level >= 2, "told to decide by rules that do not hold yet");
                (7, id, 0)
            }
            Command::Panic | Command::Garbage | Command::Unreadable => panic!("told to panic"),
        };
        self.state.last_at_ms = self.state.last_at_ms.max(stamp.at_ms);
        self.latest_ms.fetch_max(stamp.at_ms, Ordering::SeqCst);
        self.state.ids.insert(id);
        let head = self.state.heads.entry(chain).or_default();
        *head += 1;
        let record = Record {
            chain: vec![chain],
            seq: *head,
            tags: tags(id),
            bytes: record_bytes(id, self.salt + u8::from(self.parts_at == Some(id)), padding),
        };
        Applied { reply: *head, records: vec![record] }
    }

    fn newest_level(&self) -> u32 {
        1 + self.more_levels
    }

    fn level_of(command: &Command) -> u32 {
        if matches!(command, Command::AtTwo { .. }) { 2 } else { 1 }
    }

    fn at_level(&mut self, level: u32) {
        self.level = level;
    }

    fn publish(&mut self, index: u64) {
        // Cloning everything would dominate what the tests measure; ids are looked at rarely.
        self.published.store(index, Ordering::SeqCst);
    }

    fn freeze(&self) -> Frozen {
        Frozen { state: self.state.clone(), gate: self.gate.clone() }
    }

    fn write_snapshot(frozen: &Frozen, out: &mut dyn io::Write) -> io::Result<()> {
        let Frozen { state, gate } = frozen;
        let _open = gate.lock().expect("not poisoned");
        out.write_all(&state.last_at_ms.to_le_bytes())?;
        out.write_all(&(state.heads.len() as u64).to_le_bytes())?;
        for (chain, head) in &state.heads {
            out.write_all(&[*chain])?;
            out.write_all(&head.to_le_bytes())?;
        }
        for id in &state.ids {
            out.write_all(&id.to_le_bytes())?;
        }
        Ok(())
    }

    fn restore(&mut self, from: &mut dyn io::Read) -> Result<(), Undecodable> {
        let error = |e: io::Error| Undecodable(e.to_string());
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map_err(error)?;
        let mut rest = bytes.as_slice();
        let mut number = [0; 8];
        let mut next = |rest: &mut &[u8]| {
            io::Read::read_exact(rest, &mut number).map_err(error)?;
            Ok(u64::from_le_bytes(number))
        };
        let mut state = State { last_at_ms: next(&mut rest)?, ..State::default() };
        for _ in 0..next(&mut rest)? {
            let (chain, after) =
                rest.split_first().ok_or_else(|| Undecodable("cut short".into()))?;
            rest = after;
            state.heads.insert(*chain, next(&mut rest)?);
        }
        while !rest.is_empty() {
            state.ids.insert(next(&mut rest)?);
        }
        *self.view.lock().expect("not poisoned") = state.clone();
        self.state = state;
        Ok(())
    }

    fn heads(&self) -> Vec<(Vec<u8>, u64)> {
        self.state.heads.iter().map(|(chain, head)| (vec![*chain], *head)).collect()
    }

    /// Records of one machine carry one salt.
    fn follows(previous: Option<&[u8]>, record: &[u8]) -> bool {
        previous.is_none_or(|previous| previous.get(8) == record.get(8))
    }

    fn ends_with(&self, _chain: &[u8], record: &[u8]) -> bool {
        record.get(8) == Some(&self.salt)
    }
}
