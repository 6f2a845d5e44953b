//! Verifications, step by step, and the promise that they are held against.

use authrai_cluster::lease::{Boot, Reading};

use crate::mutant::Mutant;
use crate::node::View;
use crate::world::World;

/// Verifications that may be under way at once.
const VERIFICATIONS_MAX: usize = 6;

/// One verification under way. It asks about every key at once.
pub struct Verification {
    at: usize,
    boot: Boot,
    /// The keys whose revoke had been answered when the client sent this.
    acked: u64,
    now: Option<Reading>,
    usable: Option<bool>,
    view: Option<View>,
}

/// A `valid` that must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    pub node: usize,
    pub step: u64,
    /// Keys that were answered as valid after their revoke had been answered.
    pub keys: u64,
}

impl World {
    pub fn begin_verification(&mut self, at: usize) {
        if self.nodes[at].runs() && self.verifications.len() < VERIFICATIONS_MAX {
            let (boot, acked) = (self.nodes[at].boot, self.acked);
            self.verifications.push(Verification {
                at,
                boot,
                acked,
                now: None,
                usable: None,
                view: None,
            });
        }
    }

    /// One verification takes its next step: clock, lease, view; or the broken order.
    pub fn step_verification(&mut self) {
        if self.verifications.is_empty() {
            return;
        }
        let which = self.dice.below(self.verifications.len());
        let mutant = self.mutant;
        let verification = &mut self.verifications[which];
        let node = &self.nodes[verification.at];
        if !node.up || node.boot != verification.boot {
            self.verifications.swap_remove(which);
            return;
        }
        if !node.runs() {
            return;
        }
        if mutant == Mutant::ViewBeforeLease && verification.view.is_none() {
            verification.view = Some(node.view);
        } else if verification.now.is_none() {
            let stale = mutant == Mutant::StaleClock;
            verification.now = Some(if stale { node.stale } else { node.clocks.now() });
        } else if verification.usable.is_none() {
            verification.usable = verification.now.map(|now| node.usable(now));
        } else {
            let view = verification.view.unwrap_or(node.view);
            let valid = verification.acked & !view.revoked;
            let answered = verification.usable == Some(true);
            let at = verification.at;
            self.verifications.swap_remove(which);
            if answered {
                self.answered += 1;
                self.judge(at, valid);
            }
        }
    }

    /// What a verification would answer on each node that is sent now and meets no pause.
    pub fn verify_everywhere(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            if node.runs() && node.usable(node.clocks.now()) {
                self.answered += 1;
                self.judge(at, self.acked & !node.view.revoked);
            }
        }
    }

    fn judge(&mut self, node: usize, keys: u64) {
        if keys != 0 && self.violation.is_none() {
            self.violation = Some(Violation { node, step: self.step, keys });
        }
    }
}
