//! One run: nodes, a network that delays, reorders, repeats and loses, and a scheduler that draws
//! the next step.
//!
//! What a step sets off – messages, and a node's own next steps – either happens at once or lies
//! about until it is drawn, so that a pause can fall between any two steps. How likely each is, and
//! which kinds of step are common, is drawn anew for each run: runs of one sort find what others
//! would need millions for.

use std::collections::VecDeque;

use authrai_cluster::lease::Boot;

use crate::dice::Dice;
use crate::mutant::Mutant;
use crate::node::{Body, Entry, Envelope, NODES_MAX, Node, Task};
use crate::plot::Plot;
use crate::verify::{Verification, Violation};

/// Messages that may lie about; then one is lost.
const LYING_MAX: usize = 60;

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
    StepVerification,
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
const STEPS: [(Step, usize); 24] = [
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
    (Step::StepVerification, 12),
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

/// Kinds of what is set off, each as prompt or slow as a run makes it.
const CLASSES: usize = 14;

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

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub violation: Option<Violation>,
    /// Verifications that were answered under a lease.
    pub answered: u64,
    /// Keys whose revoke was answered.
    pub acked: u64,
    /// Of everything that happened.
    pub digest: u64,
}

pub struct World {
    pub dice: Dice,
    pub mutant: Mutant,
    pub voters: usize,
    pub nodes: Vec<Node>,
    pub committed: Vec<Entry>,
    pub acked: u64,
    pub next_key: u32,
    pub verifications: Vec<Verification>,
    pub violation: Option<Violation>,
    pub answered: u64,
    pub step: u64,
    /// How often what is set off happens at once, per thousand, by [`class`].
    prompt: [u32; CLASSES],
    /// Nodes that are slow to apply.
    sluggish: u32,
    /// Nodes that are slow to notice who leads.
    inattentive: u32,
    weights: [usize; STEPS.len()],
    /// What is left of the run's plot.
    plot: VecDeque<(Step, usize)>,
    at_once: VecDeque<Envelope>,
    lying: Vec<Envelope>,
    /// For each node, the ones that its consensus messages do not reach.
    cut_consensus: [u32; NODES_MAX],
    /// And the ones that its lease messages do not reach.
    cut_leases: [u32; NODES_MAX],
    boots: u64,
    digest: u64,
    print: bool,
}

impl World {
    /// Runs one seed to its end or its first violation.
    pub fn run(seed: u64, mutant: Mutant, print: bool) -> Outcome {
        let mut world = World::new(seed, mutant, print);
        world.warm_up();
        let plot = Plot::draw(&mut world.dice, world.voters, world.nodes.len());
        if let Some((class, prompt)) = plot.slow {
            world.prompt[class] = prompt;
        }
        world.inattentive |= plot.inattentive;
        world.plot = plot.steps;
        let steps = 40 + world.dice.below(160) as u64;
        while world.step < steps && world.violation.is_none() {
            world.step += 1;
            world.take_step();
            world.settle();
        }
        Outcome {
            violation: world.violation,
            answered: world.answered,
            acked: world.acked,
            digest: world.digest,
        }
    }

    fn new(seed: u64, mutant: Mutant, print: bool) -> World {
        let mut dice = Dice::new(seed);
        let voters = dice.pick(&[3, 3, 3, 5]);
        let nodes = (voters + dice.below(3)).min(NODES_MAX);
        let usual = dice.pick(&[600, 800, 900, 970]);
        let mut prompt = [usual; CLASSES];
        for prompt in &mut prompt {
            if dice.chance(80) {
                *prompt = dice.pick(&[0, 100, 300]);
            }
        }
        let mut some = || dice.below(1 << nodes) as u32 & dice.below(1 << nodes) as u32;
        let (sluggish, inattentive) = (some(), some());
        let mut weights = [0; STEPS.len()];
        for (weight, (_, usual)) in weights.iter_mut().zip(STEPS) {
            *weight = usual * dice.pick(&[0, 1, 2, 2, 2, 4, 12]);
        }
        let built: Vec<Node> = (0..nodes)
            .map(|id| Node::new(id, nodes, Boot(1 + id as u64), mutant, &mut dice))
            .collect();
        World {
            dice,
            mutant,
            voters,
            nodes: built,
            committed: Vec::new(),
            acked: 0,
            next_key: 0,
            verifications: Vec::new(),
            violation: None,
            answered: 0,
            step: 0,
            prompt,
            sluggish,
            inattentive,
            weights,
            plot: VecDeque::new(),
            at_once: VecDeque::new(),
            lying: Vec::new(),
            cut_consensus: [0; NODES_MAX],
            cut_leases: [0; NODES_MAX],
            boots: nodes as u64,
            digest: 0xcbf2_9ce4_8422_2325,
            print,
        }
    }

    /// A leader, an applied barrier, leases for most: where the interesting runs begin.
    fn warm_up(&mut self) {
        let prompt = std::mem::replace(&mut self.prompt, [1_000; CLASSES]);
        let sluggish = std::mem::take(&mut self.sluggish);
        let inattentive = std::mem::take(&mut self.inattentive);
        self.campaign(0);
        self.settle();
        if self.dice.chance(500) {
            self.pass_time(150);
        }
        for at in 0..self.nodes.len() {
            if self.dice.chance(700) {
                self.ask_for_lease(at);
                self.settle();
            }
        }
        self.prompt = prompt;
        self.sluggish = sluggish;
        self.inattentive = inattentive;
    }

    /// Everything that happens at once happens, and everyone looks.
    fn settle(&mut self) {
        while let Some(envelope) = self.at_once.pop_front() {
            self.deliver(envelope);
        }
        self.answer_revokes();
        self.verify_everywhere();
        for node in &self.nodes {
            let facts = [node.term, node.log.len() as u64, node.view.index as u64, node.boot.0];
            let clock = node.clocks.now();
            for fact in facts.into_iter().chain([clock.boottime_ns, clock.raw_ns]) {
                self.digest = (self.digest ^ fact).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        let lying = self.lying.len() as u64;
        for fact in [self.acked, self.answered, lying] {
            self.digest = (self.digest ^ fact).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.print {
            self.print_nodes();
        }
    }

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

    fn deliver(&mut self, envelope: Envelope) {
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

    fn take_step(&mut self) {
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
                if !self.lying.is_empty() {
                    let which = self.dice.below(self.lying.len());
                    let envelope = self.lying.swap_remove(which);
                    self.deliver(envelope);
                }
            }
            Step::Lose | Step::Repeat => self.lose_or_repeat(step),
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
            Step::StepVerification => self.step_verification(),
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
            Step::Isolate => {
                let everyone = (1 << self.nodes.len()) - 1;
                self.cut_consensus[at] = everyone & !(1 << at);
                for peer in (0..self.nodes.len()).filter(|peer| *peer != at) {
                    self.cut_consensus[peer] |= 1 << at;
                }
            }
            Step::Heal => {
                self.cut_consensus = [0; NODES_MAX];
                self.cut_leases = [0; NODES_MAX];
            }
            Step::Blink => self.blink(at),
            Step::PassWait => self.pass_time(140),
            Step::Snub => self.cut_consensus[at] |= 1,
        }
    }

    fn lose_or_repeat(&mut self, step: Step) {
        if self.lying.is_empty() {
            return;
        }
        let which = self.dice.below(self.lying.len());
        if matches!(self.lying[which].body, Body::Local(..)) {
            return;
        }
        if step == Step::Lose {
            self.lying.swap_remove(which);
        } else {
            let twin = self.lying[which].clone();
            self.lay(twin);
        }
    }

    fn pass_time(&mut self, ticks: u64) {
        for node in &mut self.nodes {
            node.clocks.advance(ticks);
        }
    }

    /// A partition, one-way or two-way, of consensus, leases or both.
    fn cut(&mut self, at: usize) {
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

    fn print_nodes(&self) {
        for node in &self.nodes {
            let now = node.clocks.now();
            let left: Vec<u64> =
                node.gates.iter().map(|gate| gate.left_ns(now) / 1_000_000).collect();
            println!(
                "        {}: up {} runs {} {:?} term {} commit {} view {:?} lease {left:?} ms reign {:?} waits {:?}",
                node.id,
                node.up,
                node.runs(),
                node.role,
                node.term,
                node.commit,
                node.view,
                node.granter.reign(),
                node.waiters,
            );
        }
        println!("        answered revokes {:b}", self.acked);
    }
}
