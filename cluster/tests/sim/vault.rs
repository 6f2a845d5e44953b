//! The machine that is simulated: keys that are issued and revoked, and a chain of records each of
//! which knows the one before it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use authrai_cluster::{Applied, Machine, Record, Stamp, Undecodable};

pub const CHAINS: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Issue {
        key: u64,
    },
    Revoke {
        key: u64,
    },
    /// Writes this many records.
    Fill {
        records: u16,
    },
}

/// The whole state; also what is published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Keys, and whether each is revoked.
    pub keys: BTreeMap<u64, bool>,
    /// Of each chain the last position and the checksum of the record there.
    pub heads: BTreeMap<u8, (u64, u32)>,
    pub last_at_ms: u64,
}

pub type View = Arc<Mutex<(u64, Arc<State>)>>;

#[derive(Debug, Clone, Default)]
pub struct Vault {
    state: State,
    pub view: View,
}

impl State {
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.last_at_ms.to_le_bytes().to_vec();
        out.push(self.heads.len() as u8);
        for (chain, (head, sum)) in &self.heads {
            out.push(*chain);
            out.extend(head.to_le_bytes());
            out.extend(sum.to_le_bytes());
        }
        for (key, revoked) in &self.keys {
            out.extend(key.to_le_bytes());
            out.push(u8::from(*revoked));
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Option<State> {
        let (at, rest) = bytes.split_first_chunk::<8>()?;
        let mut state = State { last_at_ms: u64::from_le_bytes(*at), ..State::default() };
        let (count, mut rest) = rest.split_first()?;
        for _ in 0..*count {
            let (head, after) = rest.split_first_chunk::<13>()?;
            let position = u64::from_le_bytes(*head[1..].first_chunk()?);
            let sum = u32::from_le_bytes(*head[9..].first_chunk()?);
            state.heads.insert(head[0], (position, sum));
            rest = after;
        }
        while let Some((key, after)) = rest.split_first_chunk::<9>() {
            state.keys.insert(u64::from_le_bytes(*key.first_chunk()?), key[8] == 1);
            rest = after;
        }
        rest.is_empty().then_some(state)
    }

    fn record(&mut self, chain: u8, what: &[u8]) -> Record {
        let (head, sum) = self.heads.entry(chain).or_default();
        let bytes = [sum.to_le_bytes().as_slice(), what].concat();
        *head += 1;
        *sum = crc32fast::hash(&bytes);
        Record { chain: vec![chain], seq: *head, tags: vec![vec![what[0]]], bytes }
    }
}

impl Machine for Vault {
    type Command = Command;
    type Reply = bool;
    type Frozen = State;

    fn encode_command(command: &Command) -> Vec<u8> {
        let (kind, number) = match command {
            Command::Issue { key } => (1, *key),
            Command::Revoke { key } => (2, *key),
            Command::Fill { records } => (3, u64::from(*records)),
        };
        [&[kind], number.to_le_bytes().as_slice()].concat()
    }

    fn decode_command(bytes: &[u8]) -> Result<Command, Undecodable> {
        let wrong = || Undecodable("no command".into());
        let (kind, number) = bytes.split_first().ok_or_else(wrong)?;
        let number = u64::from_le_bytes(number.try_into().map_err(|_| wrong())?);
        match kind {
            1 => Ok(Command::Issue { key: number }),
            2 => Ok(Command::Revoke { key: number }),
            3 => Ok(Command::Fill { records: number as u16 }),
            _ => Err(wrong()),
        }
    }

    fn encode_reply(reply: &bool) -> Vec<u8> {
        vec![u8::from(*reply)]
    }

    fn decode_reply(bytes: &[u8]) -> Result<bool, Undecodable> {
        Ok(bytes == [1])
    }

    fn apply(&mut self, stamp: Stamp, command: Command) -> Applied<bool> {
        self.state.last_at_ms = self.state.last_at_ms.max(stamp.at_ms);
        let what = Vault::encode_command(&command);
        let (reply, chain, count) = match command {
            Command::Issue { key } => {
                (self.state.keys.insert(key, false).is_none(), (key % CHAINS) as u8, 1)
            }
            Command::Revoke { key } => {
                let before = self.state.keys.insert(key, true);
                (before == Some(false), (key % CHAINS) as u8, 1)
            }
            Command::Fill { records } => (true, 0, records),
        };
        let records = (0..count).map(|_| self.state.record(chain, &what)).collect();
        Applied { reply, records }
    }

    fn publish(&mut self, index: u64) {
        *self.view.lock().expect("not poisoned") = (index, Arc::new(self.state.clone()));
    }

    fn freeze(&self) -> State {
        self.state.clone()
    }

    fn write_snapshot(frozen: &State, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&frozen.bytes())
    }

    fn restore(&mut self, from: &mut dyn io::Read) -> Result<(), Undecodable> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map_err(|e| Undecodable(e.to_string()))?;
        self.state = State::from_bytes(&bytes).ok_or_else(|| Undecodable("no state".into()))?;
        Ok(())
    }

    fn heads(&self) -> Vec<(Vec<u8>, u64)> {
        self.state.heads.iter().map(|(chain, (head, _))| (vec![*chain], *head)).collect()
    }

    fn follows(previous: Option<&[u8]>, record: &[u8]) -> bool {
        let sum = previous.map_or(0, crc32fast::hash);
        record.first_chunk::<4>() == Some(&sum.to_le_bytes())
    }

    fn ends_with(&self, chain: &[u8], record: &[u8]) -> bool {
        let head = chain.first().and_then(|chain| self.state.heads.get(chain));
        head.is_some_and(|(_, sum)| *sum == crc32fast::hash(record))
    }
}
