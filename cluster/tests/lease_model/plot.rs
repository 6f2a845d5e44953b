//! Courses of events that trouble has come from.
//!
//! A run may follow one of them: its steps are taken in this order, with drawn steps in between,
//! and what each sets off is as slow as anywhere. Plots only make rare meetings likelier; a run
//! without one can draw all of their steps.

use std::collections::VecDeque;

use crate::dice::Dice;
use crate::steps::Step;

/// What [`crate::network::class`] says of a few kinds.
const PONG: usize = 4;
const REPORT: usize = 7;
const REPLICATE: usize = 11;

pub struct Plot {
    pub steps: VecDeque<(Step, usize)>,
    /// A class of messages that is slow in this run, and how prompt it is, per thousand.
    pub slow: Option<(usize, u32)>,
    /// Nodes that are slow to notice who leads.
    pub inattentive: u32,
}

impl Plot {
    pub fn draw(dice: &mut Dice, voters: usize, nodes: usize) -> Plot {
        // Node 0 leads to begin with.
        let second = 1 + dice.below(voters - 1);
        let victim = dice.below(nodes);
        let plot = dice.below(10);
        let slow = match plot {
            2 => Some((REPLICATE, 50)),
            3 => Some((REPORT, 50)),
            4 | 6 => Some((PONG, 100)),
            _ => None,
        };
        let inattentive = u32::from(plot == 0);
        let steps: &[(Step, usize)] = match plot {
            0 => &[
                // A reign in between that the first leader does not notice.
                (Step::PassWait, 0),
                (Step::Campaign, second),
                (Step::AskForLease, victim),
                (Step::Campaign, 0),
                (Step::Isolate, victim),
                (Step::Revoke, 0),
            ],
            1 => &[
                // A leader that does not notice that another was elected.
                (Step::Isolate, 0),
                (Step::Campaign, second),
                (Step::PassLongTime, 0),
                (Step::AskForLease, 0),
                (Step::Revoke, second),
                (Step::PassTime, 0),
            ],
            2 => &[
                // A leader that restarts in its own term.
                (Step::Revoke, 0),
                (Step::Crash, 0),
                (Step::Start, 0),
                (Step::AskForLease, 0),
            ],
            3 => &[
                // A node that is shut down and started again.
                (Step::Shut, victim),
                (Step::Crash, victim),
                (Step::Start, victim),
                (Step::Replicate, 0),
                (Step::AskForLease, victim),
                (Step::Isolate, victim),
                (Step::Revoke, 0),
                (Step::Deliver, 0),
            ],
            4 => &[
                // A grant under way beside a revoke.
                (Step::PassWait, 0),
                (Step::Isolate, victim),
                (Step::AskForLease, victim),
                (Step::Revoke, 0),
                (Step::Deliver, 0),
                (Step::Deliver, 0),
            ],
            5 => &[
                // A verification across a revoke and a new lease.
                (Step::PassWait, 0),
                (Step::Isolate, victim),
                (Step::Revoke, 0),
                (Step::Verify, victim),
                (Step::GoOnVerifying, 0),
                (Step::Heal, 0),
                (Step::Replicate, 0),
                (Step::AskForLease, victim),
                (Step::GoOnVerifying, 0),
                (Step::GoOnVerifying, 0),
                (Step::GoOnVerifying, 0),
            ],
            6 => &[
                // A round that began before another was elected.
                (Step::AskForLease, 0),
                (Step::Snub, second),
                (Step::Campaign, second),
                (Step::PassLongTime, 0),
                (Step::AskForLease, 0),
                (Step::Deliver, 0),
                (Step::PassLongTime, 0),
                (Step::Revoke, second),
            ],
            _ => &[],
        };
        Plot { steps: steps.iter().copied().collect(), slow, inattentive }
    }
}
