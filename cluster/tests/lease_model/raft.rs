//! As much of Raft as leases rest on: elections, replication of whole logs, commitment, read-index
//! rounds, and a leader that resumes its own term after a restart.
//!
//! It asserts its own correctness: what is committed once is never anything else.

use std::rc::Rc;

use authrai_cluster::lease::Round;

use crate::node::{Body, Entry, Envelope, Kind, ReadRound, Role, Task};
use crate::world::World;

impl World {
    pub fn campaign(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.runs() || at >= self.voters || node.role == Role::Leader {
            return;
        }
        node.term += 1;
        node.vote = Some(at);
        node.led = false;
        node.role = Role::Candidate;
        node.leader = None;
        node.votes = 1 << at;
        let (term, (last_term, last_index)) = (node.term, node.last());
        self.broadcast(at, self.voters, &Body::Vote { term, last_term, last_index });
    }

    pub fn replicate(&mut self, at: usize) {
        let node = &self.nodes[at];
        if !node.runs() || node.role != Role::Leader {
            return;
        }
        let (term, commit) = (node.term, node.commit);
        let log: Rc<[Entry]> = Rc::from(node.log.as_slice());
        self.broadcast(at, self.nodes.len(), &Body::Append { term, log, commit });
    }

    /// Appends an entry of the leader's and says where it stands.
    pub fn append(&mut self, at: usize, kind: Kind) -> usize {
        let node = &mut self.nodes[at];
        node.log.push(Entry { term: node.term, kind });
        let index = node.log.len();
        node.matched[at] = index;
        self.task(at, Task::Replicate);
        index
    }

    /// A leader that restarts in its own term goes on leading, without a new entry.
    pub fn resume(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.up || !node.led || node.vote != Some(at) || node.role == Role::Leader {
            return;
        }
        let first = node.log.iter().position(|entry| entry.term == node.term);
        let Some(first) = first else { return };
        node.first_own = first + 1;
        self.lead(at);
    }

    fn lead(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.role = Role::Leader;
        node.led = true;
        node.leader = Some(at);
        node.matched = [0; crate::node::NODES_MAX];
        node.matched[at] = node.log.len();
        self.task(at, Task::Notice);
        self.task(at, Task::Replicate);
    }

    /// A message of `term` arrived. Gives whether that term is the node's, now.
    fn catch_up_with(&mut self, at: usize, term: u64) -> bool {
        let node = &mut self.nodes[at];
        if term > node.term {
            let led = node.role == Role::Leader;
            node.term = term;
            node.vote = None;
            node.led = false;
            node.role = Role::Follower;
            node.leader = None;
            if led {
                let rounds = std::mem::take(&mut node.rounds);
                for ReadRound { round, .. } in rounds {
                    self.task(at, Task::EndRound(round, None));
                }
                self.task(at, Task::Notice);
            }
        }
        term == self.nodes[at].term
    }

    pub fn raft_message(&mut self, Envelope { from, to, body }: Envelope) {
        let term = match &body {
            Body::Vote { term, .. }
            | Body::VoteYes { term }
            | Body::Append { term, .. }
            | Body::AppendOk { term, .. }
            | Body::Ping { term, .. }
            | Body::Pong { term, .. }
            | Body::Newer { term } => *term,
            _ => return,
        };
        if !self.catch_up_with(to, term) {
            let term = self.nodes[to].term;
            self.send(to, from, Body::Newer { term });
            return;
        }
        match body {
            Body::Vote { last_term, last_index, .. } => {
                let node = &mut self.nodes[to];
                let free = node.vote.is_none_or(|vote| vote == from);
                if free && (last_term, last_index) >= node.last() {
                    node.vote = Some(from);
                    self.send(to, from, Body::VoteYes { term });
                }
            }
            Body::VoteYes { .. } => self.vote_counted(to, from),
            Body::Append { log, commit, .. } => self.appended(to, from, &log, commit),
            Body::AppendOk { index, .. } => self.replicated(to, from, index),
            Body::Ping { round, .. } => {
                self.nodes[to].leader = Some(from);
                self.send(to, from, Body::Pong { term, round });
            }
            Body::Pong { round, .. } => self.confirmed(to, from, round),
            _ => {}
        }
    }

    fn vote_counted(&mut self, at: usize, from: usize) {
        let majority = self.majority();
        let node = &mut self.nodes[at];
        node.votes |= 1 << from;
        if node.role == Role::Candidate && node.votes.count_ones() >= majority {
            node.first_own = node.log.len() + 1;
            node.log.push(Entry { term: node.term, kind: Kind::Blank });
            self.lead(at);
        }
    }

    fn appended(&mut self, at: usize, from: usize, log: &[Entry], commit: usize) {
        let node = &mut self.nodes[at];
        assert!(node.role != Role::Leader, "two leaders in one term");
        node.role = Role::Follower;
        node.leader = Some(from);
        let common = node.log.iter().zip(log).take_while(|(ours, theirs)| ours == theirs).count();
        if common < log.len() {
            assert!(common >= node.commit, "a committed entry was replaced");
            node.log.truncate(common);
            node.log.extend_from_slice(&log[common..]);
        }
        let term = node.term;
        let reached = commit.min(log.len());
        if reached > node.commit {
            node.commit = reached;
            self.task(at, Task::Apply);
        }
        self.send(at, from, Body::AppendOk { term, index: log.len() });
    }

    fn replicated(&mut self, at: usize, from: usize, index: usize) {
        let voters = self.voters;
        let majority = self.majority() as usize;
        let node = &mut self.nodes[at];
        if node.role != Role::Leader {
            return;
        }
        node.matched[from] = node.matched[from].max(index);
        let mut matched = node.matched;
        matched[..voters].sort_unstable();
        let reached = matched[voters - majority];
        if reached <= node.commit || node.log[reached - 1].term != node.term {
            return;
        }
        node.commit = reached;
        let log = &node.log[..reached];
        let known = self.committed.len().min(reached);
        assert_eq!(self.committed[..known], log[..known], "two histories were committed");
        self.committed.extend_from_slice(&log[known..]);
        self.task(at, Task::Apply);
        self.task(at, Task::Replicate);
    }

    pub fn begin_round(&mut self, at: usize, round: Round) {
        let node = &mut self.nodes[at];
        if node.role != Role::Leader {
            self.task(at, Task::EndRound(round, None));
            return;
        }
        let commit = node.commit.max(node.first_own);
        if self.mutant == crate::mutant::Mutant::NoQuorumRound {
            self.task(at, Task::EndRound(round, Some(commit as u64)));
            return;
        }
        node.rounds.push(ReadRound { round, commit, acks: 1 << at });
        let term = node.term;
        self.broadcast(at, self.voters, &Body::Ping { term, round });
    }

    fn confirmed(&mut self, at: usize, from: usize, round: Round) {
        let majority = self.majority();
        let node = &mut self.nodes[at];
        if node.role != Role::Leader {
            return;
        }
        let Some(place) = node.rounds.iter().position(|known| known.round == round) else {
            return;
        };
        node.rounds[place].acks |= 1 << from;
        if node.rounds[place].acks.count_ones() >= majority {
            let ReadRound { round, commit, .. } = node.rounds.swap_remove(place);
            self.task(at, Task::EndRound(round, Some(commit as u64)));
        }
    }

    /// A round's timeout.
    pub fn fail_round(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if let Some(ReadRound { round, .. }) = node.rounds.pop() {
            self.task(at, Task::EndRound(round, None));
        }
    }

    fn majority(&self) -> u32 {
        self.voters as u32 / 2 + 1
    }
}
