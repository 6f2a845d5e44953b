//! What can happen next, and how likely.

use authrai_cluster::lease::Boot;

use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Deliver,
    Lose,
    Repeat,
    PassTime,
    PassLongTime,
    Campaign,
    Replicate,
    AskForLease,
    Revoke,
    Crash,
    Start,
    Shut,
    Verify,
    GoOnVerifying,
    FailRound,
    ChangeRates,
    KeepReading,
    Stall,
    Suspend,
    Wake,
    Cut,
    Isolate,
    Heal,
    Blink,
    /// Time enough for every lease to end; in plots only.
    PassWait,
    /// Nothing the node sends about consensus reaches node 0; in plots only.
    Snub,
}

/// Each kind of step with its weight before a run's own taste.
pub const STEPS: [(Step, usize); 24] = [
    (Step::Deliver, 30),
    (Step::Lose, 3),
    (Step::Repeat, 2),
    (Step::PassTime, 10),
    (Step::PassLongTime, 4),
    (Step::Campaign, 3),
    (Step::Replicate, 5),
    (Step::AskForLease, 12),
    (Step::Revoke, 10),
    (Step::Crash, 2),
    (Step::Start, 6),
    (Step::Shut, 1),
    (Step::Verify, 4),
    (Step::GoOnVerifying, 12),
    (Step::FailRound, 1),
    (Step::ChangeRates, 1),
    (Step::KeepReading, 3),
    (Step::Stall, 2),
    (Step::Suspend, 1),
    (Step::Wake, 6),
    (Step::Cut, 2),
    (Step::Isolate, 1),
    (Step::Heal, 3),
    (Step::Blink, 1),
];

impl World {
    pub fn take_step(&mut self) {
        if self.dice.chance(500)
            && let Some((step, at)) = self.plot.pop_front()
        {
            if self.print {
                println!("{:4} {step:?} at {at} (plot)", self.step);
            }
            self.do_step(step, at);
            return;
        }
        let total: usize = self.weights.iter().sum();
        if total == 0 {
            return;
        }
        let mut drawn = self.dice.below(total);
        let mut step = Step::PassTime;
        for (weight, (kind, _)) in self.weights.iter().zip(STEPS) {
            if drawn < *weight {
                step = kind;
                break;
            }
            drawn -= weight;
        }
        let at = self.dice.below(self.nodes.len());
        if self.print {
            println!("{:4} {step:?} at {at}", self.step);
        }
        self.do_step(step, at);
    }

    fn do_step(&mut self, step: Step, at: usize) {
        match step {
            Step::Deliver => {
                self.deliver_any();
            }
            Step::Lose => self.lose_or_repeat(true),
            Step::Repeat => self.lose_or_repeat(false),
            Step::PassTime => {
                let ticks = self.dice.pick(&[1, 1, 2, 3, 5, 10, 20, 30]);
                self.pass_time(ticks);
            }
            Step::PassLongTime => {
                let ticks = self.dice.pick(&[40, 50, 80, 90, 95, 100, 105, 110, 120, 140]);
                self.pass_time(ticks);
            }
            Step::Campaign => self.campaign(at),
            Step::Replicate => (0..self.voters).for_each(|at| self.replicate(at)),
            Step::AskForLease => self.ask_for_lease(at),
            Step::Revoke => (0..self.voters).for_each(|at| self.revoke(at)),
            Step::Crash => self.crash(at),
            Step::Start => (0..self.nodes.len()).for_each(|at| self.start(at)),
            Step::Shut => {
                self.shut(at);
                if self.dice.chance(500) {
                    self.crash(at);
                }
            }
            Step::Verify => {
                let behind =
                    self.nodes.iter().position(|node| self.acked & !node.view.revoked != 0);
                let near = self.dice.chance(700);
                self.begin_verification(behind.filter(|_| near).unwrap_or(at));
            }
            Step::GoOnVerifying => self.step_verification(),
            Step::FailRound => self.fail_round(at),
            Step::ChangeRates => self.nodes[at].clocks.change_rates(&mut self.dice),
            Step::KeepReading => self.nodes[at].stale = self.nodes[at].clocks.now(),
            Step::Stall => self.nodes[at].stalled = true,
            Step::Suspend => self.nodes[at].clocks.suspend(),
            Step::Wake => {
                self.nodes[at].stalled = false;
                self.nodes[at].clocks.suspended = false;
            }
            Step::Cut => self.cut(at),
            Step::Isolate => self.isolate(at),
            Step::Heal => self.heal(),
            Step::Blink => self.blink(at),
            Step::PassWait => self.pass_time(140),
            Step::Snub => self.snub(at),
        }
    }

    pub fn pass_time(&mut self, ticks: u64) {
        for node in &mut self.nodes {
            node.clocks.advance(ticks);
        }
    }

    /// The process dies; often another one starts at once.
    fn crash(&mut self, at: usize) {
        self.nodes[at].up = false;
        if self.dice.chance(600) {
            self.start(at);
        }
    }

    fn start(&mut self, at: usize) {
        if self.nodes[at].up {
            return;
        }
        self.boots += 1;
        let (nodes, boot, mutant) = (self.nodes.len(), Boot(self.boots), self.mutant);
        self.nodes[at].restart(nodes, boot, mutant);
        if self.dice.chance(700) {
            self.resume(at);
        }
        if self.dice.chance(300) {
            self.ask_for_lease(at);
        }
    }
}
