//! The network, which delays, reorders, repeats and loses, and a node's own next steps, which it
//! only delays.

use crate::node::{Body, Envelope, NODES_MAX, Task};
use crate::world::World;

/// Messages that may lie about; then one is lost.
const LYING_MAX: usize = 60;

/// Kinds of what is set off, each as prompt or slow as a run makes it.
pub const CLASSES: usize = 14;

pub fn class(body: &Body) -> usize {
    match body {
        Body::Vote { .. } | Body::VoteYes { .. } | Body::Newer { .. } => 0,
        Body::Append { .. } => 1,
        Body::AppendOk { .. } => 2,
        Body::Ping { .. } => 3,
        Body::Pong { .. } => 4,
        Body::Request(_) => 5,
        Body::Answer(_) => 6,
        Body::Report(_) => 7,
        Body::Local(_, Task::Notice) => 8,
        Body::Local(_, Task::Apply | Task::Publish(_)) => 9,
        Body::Local(_, Task::ProposeBarrier(_)) => 10,
        Body::Local(_, Task::Replicate) => 11,
        Body::Local(_, Task::BeginRound(_)) => 12,
        Body::Local(_, Task::EndRound(..)) => 13,
    }
}

impl World {
    pub fn send(&mut self, from: usize, to: usize, body: Body) {
        let envelope = Envelope { from, to, body };
        let prompt = self.promptness(&envelope);
        if self.reaches(&envelope) && self.dice.chance(prompt) {
            self.at_once.push_back(envelope);
        } else {
            self.lay(envelope);
        }
    }

    fn promptness(&self, envelope: &Envelope) -> u32 {
        let slow = match envelope.body {
            Body::Local(_, Task::Apply) => self.sluggish,
            Body::Local(_, Task::Notice) => self.inattentive,
            _ => 0,
        };
        if slow & (1 << envelope.to) != 0 { 50 } else { self.prompt[class(&envelope.body)] }
    }

    fn reaches(&self, envelope: &Envelope) -> bool {
        let cut = match envelope.body {
            Body::Local(..) => return true,
            Body::Request(_) | Body::Answer(_) | Body::Report(_) => &self.cut_leases,
            _ => &self.cut_consensus,
        };
        cut[envelope.from] & (1 << envelope.to) == 0
    }

    pub fn broadcast(&mut self, from: usize, to: usize, body: &Body) {
        for peer in (0..to).filter(|peer| *peer != from) {
            self.send(from, peer, body.clone());
        }
    }

    pub fn task(&mut self, at: usize, task: Task) {
        let body = Body::Local(self.nodes[at].boot, task);
        self.send(at, at, body);
    }

    fn lay(&mut self, envelope: Envelope) {
        if self.lying.len() >= LYING_MAX {
            let lost = self.dice.below(self.lying.len());
            if !matches!(self.lying[lost].body, Body::Local(..)) {
                self.lying.swap_remove(lost);
            }
        }
        self.lying.push(envelope);
    }

    pub fn deliver(&mut self, envelope: Envelope) {
        let Envelope { from, to, ref body } = envelope;
        let node = &self.nodes[to];
        if !node.up {
            return;
        }
        if !node.runs() || !self.reaches(&envelope) {
            self.lay(envelope);
            return;
        }
        if self.print {
            println!("      {from} → {to}: {body:?}");
        }
        match *body {
            Body::Local(boot, task) => {
                if node.boot == boot {
                    self.do_task(to, task);
                }
            }
            Body::Request(_) | Body::Answer(_) | Body::Report(_) => {
                self.lease_message(from, to, body);
            }
            _ => self.raft_message(envelope),
        }
    }

    /// Something that lies about arrives.
    pub fn deliver_any(&mut self) {
        if !self.lying.is_empty() {
            let which = self.dice.below(self.lying.len());
            let envelope = self.lying.swap_remove(which);
            self.deliver(envelope);
        }
    }

    pub fn lose_or_repeat(&mut self, lose: bool) {
        if self.lying.is_empty() {
            return;
        }
        let which = self.dice.below(self.lying.len());
        if matches!(self.lying[which].body, Body::Local(..)) {
            return;
        }
        if lose {
            self.lying.swap_remove(which);
        } else {
            let twin = self.lying[which].clone();
            self.lay(twin);
        }
    }

    /// A partition, one-way or two-way, of consensus, leases or both.
    pub fn cut(&mut self, at: usize) {
        let peers = self.dice.below(1 << self.nodes.len()) as u32 & !(1 << at);
        let back = self.dice.chance(500);
        let (consensus, leases) = self.dice.pick(&[(true, true), (true, false), (false, true)]);
        for (wanted, cut) in [(consensus, &mut self.cut_consensus), (leases, &mut self.cut_leases)]
        {
            if !wanted {
                continue;
            }
            cut[at] = peers;
            for (peer, others) in cut.iter_mut().enumerate() {
                if back && peers & (1 << peer) != 0 {
                    *others |= 1 << at;
                }
            }
        }
    }

    /// The node and the others no longer hear each other about consensus.
    pub fn isolate(&mut self, at: usize) {
        let everyone = (1 << self.nodes.len()) - 1;
        self.cut_consensus[at] = everyone & !(1 << at);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != at) {
            self.cut_consensus[peer] |= 1 << at;
        }
    }

    /// Nothing that the node sends about consensus reaches node 0.
    pub fn snub(&mut self, at: usize) {
        self.cut_consensus[at] |= 1;
    }

    pub fn heal(&mut self) {
        self.cut_consensus = [0; NODES_MAX];
        self.cut_leases = [0; NODES_MAX];
    }
}
