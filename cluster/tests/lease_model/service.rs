//! The service around holder and granter: everything that a real node's driver does with them,
//! in the order that the rules ask for.

use authrai_cluster::lease::{AckWait, Action, Answer, Report, Stamper};

use crate::mutant::Mutant;
use crate::node::{Body, Kind, Role, Task, Waiter};
use crate::world::World;

/// Keys that one run can revoke: bits of a mask.
const KEYS: u32 = 60;

impl World {
    /// The node asks whom it takes for the leader, or once in a while anyone, for a lease.
    pub fn ask_for_lease(&mut self, at: usize) {
        let guess = self.dice.below(self.nodes.len());
        let stray = self.dice.chance(150);
        let guess = if stray {
            guess
        } else {
            self.nodes.iter().position(|node| node.role == Role::Leader).unwrap_or(guess)
        };
        let node = &mut self.nodes[at];
        if !node.runs() {
            return;
        }
        let to = if stray { guess } else { node.leader.unwrap_or(guess) };
        let now = node.clocks.now();
        if let Some(request) = node.holder.request(now, 0) {
            self.send(at, to, Body::Request(request));
        }
    }

    pub fn lease_message(&mut self, from: usize, to: usize, body: &Body) {
        let node = &mut self.nodes[to];
        let now = node.clocks.now();
        match body {
            Body::Request(request) => {
                let actions = node.granter.request(now, 0, from as u64, request);
                self.perform(to, actions);
            }
            Body::Answer(Answer::Granted(grant)) => {
                node.holder.granted(now, grant);
            }
            Body::Answer(Answer::Refused { nonce, .. }) => node.holder.refused(*nonce),
            Body::Report(report) => node.granter.report(from as u64, report),
            _ => {}
        }
    }

    pub fn perform(&mut self, at: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ProposeBarrier { term, .. } => self.task(at, Task::ProposeBarrier(term)),
                Action::StartRound(round) => self.task(at, Task::BeginRound(round)),
                Action::Answer { to, answer } => self.send(at, to as usize, Body::Answer(answer)),
            }
        }
    }

    pub fn do_task(&mut self, at: usize, task: Task) {
        match task {
            Task::Notice => self.notice(at),
            Task::Apply => self.apply(at),
            Task::Publish(index) => self.publish(at, index),
            Task::ProposeBarrier(term) => {
                let node = &self.nodes[at];
                if node.role == Role::Leader && node.term == term {
                    let boot = node.boot;
                    self.append(at, Kind::Barrier(boot));
                }
            }
            Task::Replicate => self.replicate(at),
            Task::BeginRound(round) => self.begin_round(at, round),
            Task::EndRound(round, commit) => {
                let node = &mut self.nodes[at];
                let now = node.clocks.now();
                let actions = node.granter.round_done(now, 0, round, commit);
                self.perform(at, actions);
            }
        }
    }

    /// The granter learns who leads: late, and not of what came and went in between.
    pub fn notice(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let now = node.clocks.now();
        let actions = if node.role == Role::Leader {
            node.granter.lead(now, node.term)
        } else {
            node.granter.follow()
        };
        self.perform(at, actions);
    }

    /// For a moment the granter believes that it does not lead, though it does.
    pub fn blink(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.runs() && node.role == Role::Leader {
            let actions = node.granter.follow();
            self.perform(at, actions);
            self.task(at, Task::Notice);
        }
    }

    fn apply(&mut self, at: usize) {
        let node = &self.nodes[at];
        let behind = node.commit.saturating_sub(node.view.index);
        if behind == 0 {
            return;
        }
        let by = if self.dice.chance(500) { behind } else { 1 + self.dice.below(behind) };
        let to = self.nodes[at].view.index + by;
        if self.mutant == Mutant::ReportBeforePublish {
            let report = self.nodes[at].holder.published(to as u64, true);
            self.send_report(at, report);
            self.task(at, Task::Publish(to));
        } else {
            self.publish(at, to);
        }
        if by < behind {
            self.task(at, Task::Apply);
        }
    }

    fn publish(&mut self, at: usize, to: usize) {
        let save = self.dice.chance(400);
        let node = &mut self.nodes[at];
        let old = node.view;
        if to <= old.index {
            return;
        }
        node.view = node.view_at(to);
        let everywhere = node.view.revoked != old.revoked
            || node.log[old.index..to].iter().any(|entry| matches!(entry.kind, Kind::Revoke(_)));
        for entry in &node.log[old.index..to] {
            if let Kind::Barrier(boot) = entry.kind {
                node.granter.barrier_applied(entry.term, boot);
            }
        }
        if save {
            node.saved_commit = to;
        }
        let report = node.holder.published(to as u64, everywhere);
        self.send_report(at, report);
    }

    fn send_report(&mut self, at: usize, report: Option<Report>) {
        if let (Some(report), Some(leader)) = (report, self.nodes[at].leader) {
            self.send(at, leader, Body::Report(report));
        }
    }

    /// The process gives its leases up, and will be gone some time later.
    pub fn shut(&mut self, at: usize) {
        if self.nodes[at].runs() {
            let report = self.nodes[at].holder.shut();
            self.send_report(at, Some(report));
        }
    }

    /// A client asks the node to revoke a key; one that leads proposes it.
    pub fn revoke(&mut self, at: usize) {
        let again = self.dice.chance(250);
        let node = &self.nodes[at];
        if !node.runs() || node.role != Role::Leader {
            return;
        }
        let key = if again && self.next_key > 0 {
            self.dice.below(self.next_key as usize) as u32
        } else if self.next_key < KEYS {
            self.next_key += 1;
            self.next_key - 1
        } else {
            return;
        };
        let node = &self.nodes[at];
        if self.mutant == Mutant::RepeatFromView && node.view.revoked & (1 << key) != 0 {
            self.acked |= 1 << key;
            return;
        }
        let term = node.term;
        let index = self.append(at, Kind::Revoke(key));
        self.nodes[at].waiters.push(Waiter { term, index, key });
    }

    /// Every wait is looked at after every step: an answer goes out as early as it may.
    pub fn answer_revokes(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.runs()) {
            let now = node.clocks.now();
            let (granter, view, log, id) = (&node.granter, node.view, &node.log, node.id as u64);
            let acked = &mut self.acked;
            node.waiters.retain(|&Waiter { term, index, key }| {
                if view.index < index {
                    return true;
                }
                if log[index - 1].term != term {
                    return false;
                }
                match granter.ack_wait(now, Stamper { term, node: id }, index as u64) {
                    AckWait::Ready => {
                        *acked |= 1 << key;
                        false
                    }
                    AckWait::WaitUntil { .. } => true,
                    AckWait::ReignOver => false,
                }
            });
        }
    }
}
