//! The replicated machine: what the cluster crate applies is decided by [`crate::domain`], linked
//! by [`crate::audit::chain`] and shown to readers by [`crate::verify::Views`].
//!
//! One command is one step: its events, the links of its events and the answer, or a refusal and
//! nothing. Knows neither the log nor the disk.

mod relations;
mod restore;
mod snapshot;

use std::io;

use authrai_cluster::{Applied, Machine, Record, Stamp, Undecodable, Unproposable};

use crate::{
    audit::chain,
    codec::{self, stored_enum},
    domain::{Command, Head, Level, Outcome, Refusal, Reply, State, Tenant},
    limits, rfc3339,
    verify::{View, Views},
};

/// AuthRAI's state, and where its readers find it.
#[derive(Debug, Default)]
pub struct AuthMachine {
    state: State,
    views: Views,
}

impl AuthMachine {
    /// An empty machine that publishes to `views`.
    pub fn new(views: Views) -> Self {
        Self { state: State { level: Level::FIRST, ..State::default() }, views }
    }

    /// The state as applied so far, which readers may not have seen published yet.
    pub fn state(&self) -> &State {
        &self.state
    }
}

stored_enum! {
    /// A reply on its way between nodes.
    enum StoredReply {
        1 => Outcome(Outcome),
        2 => Refusal(Refusal),
    }
}

impl Machine for AuthMachine {
    type Command = Command;
    type Reply = Reply;
    type Frozen = State;

    fn encode_command(command: &Command) -> Vec<u8> {
        codec::encode(command)
    }

    fn decode_command(bytes: &[u8]) -> Result<Command, Undecodable> {
        codec::decode(bytes).map_err(undecodable)
    }

    fn check_command(bytes: &[u8]) -> Result<(), Unproposable> {
        match codec::decode_proposed::<Command>(bytes) {
            Ok(command) if Self::encode_command(&command) == bytes => Ok(()),
            Ok(_) => Err(Unproposable::Unreadable("it reads back as another command".into())),
            Err(codec::DecodeError::CountsTooMuch | codec::DecodeError::TooLong(_)) => {
                Err(Unproposable::TooLarge { limit: limits::PROPOSED_MAX_BYTES })
            }
            Err(error) => Err(Unproposable::Unreadable(error.to_string())),
        }
    }

    fn encode_reply(reply: &Reply) -> Vec<u8> {
        codec::encode(&match reply.clone() {
            Ok(outcome) => StoredReply::Outcome(outcome),
            Err(refusal) => StoredReply::Refusal(refusal),
        })
    }

    fn decode_reply(bytes: &[u8]) -> Result<Reply, Undecodable> {
        Ok(match codec::decode(bytes).map_err(undecodable)? {
            StoredReply::Outcome(outcome) => Ok(outcome),
            StoredReply::Refusal(refusal) => Err(refusal),
        })
    }

    fn apply(&mut self, stamp: Stamp, command: Command) -> Applied<Reply> {
        let at = stamp.at_ms.min(rfc3339::LAST_MS).max(self.state.clock);
        self.state.clock = at;
        let decision = match self.state.decide(at, &command) {
            Ok(decision) => decision,
            Err(refusal) => return Applied { reply: Err(refusal), records: Vec::new() },
        };
        let mut records = Vec::new();
        for event in &decision.events {
            self.state.evolve(event);
            let head = self.state.heads.get(&event.chain).copied().unwrap_or(Head::START);
            let linked = chain::link(head, at, &command.actor, &command.request_id, event);
            if let Some((head, linked)) = linked {
                self.state.heads.insert(event.chain, head);
                self.state.note_event_bytes(event.chain, at, linked.record.bytes.len() as u64);
                records.push(Record {
                    chain: event.chain.chain_key(),
                    seq: linked.record.seq,
                    tags: linked.record.tags,
                    bytes: linked.record.bytes,
                });
            }
        }
        Applied { reply: Ok(decision.outcome), records }
    }

    fn newest_level(&self) -> u32 {
        Level::NEWEST.0
    }

    fn level_of(command: &Command) -> u32 {
        command.action.level().0
    }

    fn at_level(&mut self, level: u32) {
        self.state.level = Level(level);
    }

    fn publish(&mut self, index: u64) {
        self.views.publish(View { index, state: self.state.clone() });
    }

    fn freeze(&self) -> State {
        self.state.clone()
    }

    fn write_snapshot(frozen: &State, out: &mut dyn io::Write) -> io::Result<()> {
        snapshot::write(frozen, out)
    }

    fn restore(&mut self, from: &mut dyn io::Read) -> Result<(), Undecodable> {
        let level = self.state.level;
        self.state = State { level, ..restore::read(from).map_err(undecodable)? };
        Ok(())
    }

    fn heads(&self) -> Vec<(Vec<u8>, u64)> {
        self.state.heads.iter().map(|(chain, head)| (chain.chain_key(), head.seq)).collect()
    }

    fn follows(previous: Option<&[u8]>, record: &[u8]) -> bool {
        let hash = |record| chain::split(record).map(|(hash, _)| hash);
        match previous.map_or(Ok(Head::START.hash), hash) {
            Ok(previous) => chain::check(&previous, record).is_ok(),
            Err(_) => false,
        }
    }

    fn ends_with(&self, key: &[u8], record: &[u8]) -> bool {
        let Some(head) = Tenant::of_chain_key(key).and_then(|t| self.state.heads.get(&t)) else {
            return false;
        };
        chain::split(record).is_ok_and(|(hash, _)| hash == head.hash)
    }
}

fn undecodable(error: impl std::fmt::Display) -> Undecodable {
    Undecodable(error.to_string())
}

#[cfg(test)]
mod tests;
