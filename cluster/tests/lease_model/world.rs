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
use crate::network::CLASSES;
use crate::node::{Entry, Envelope, NODES_MAX, Node};
use crate::plot::Plot;
use crate::steps::{STEPS, Step};
use crate::verify::{Verification, Violation};

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
    /// How often what is set off happens at once, per thousand, by [`crate::network::class`].
    pub prompt: [u32; CLASSES],
    /// Nodes that are slow to apply.
    pub sluggish: u32,
    /// Nodes that are slow to notice who leads.
    pub inattentive: u32,
    pub weights: [usize; STEPS.len()],
    /// What is left of the run's plot.
    pub plot: VecDeque<(Step, usize)>,
    pub at_once: VecDeque<Envelope>,
    pub lying: Vec<Envelope>,
    /// For each node, the ones that its consensus messages do not reach.
    pub cut_consensus: [u32; NODES_MAX],
    /// And the ones that its lease messages do not reach.
    pub cut_leases: [u32; NODES_MAX],
    pub boots: u64,
    digest: u64,
    pub print: bool,
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
