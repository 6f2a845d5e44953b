//! The protocol with one rule off, each by a name.

use authrai_cluster::lease::{Rule, Rules};

/// What is broken: a rule that the lease's own code keeps, or one that its surroundings keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing.
    None,
    /// A rule of the holder or the granter.
    Code(Rule),
    /// 3: the read index is taken without asking a quorum.
    NoQuorumRound,
    /// 5: the clock was read before the verification began.
    StaleClock,
    /// 5: the view is loaded before the lease.
    ViewBeforeLease,
    /// 6: what is applied is reported before it is published.
    ReportBeforePublish,
    /// 8: a repeated revoke is answered from the view.
    RepeatFromView,
    /// 10: a lease outlives its process.
    LeaseOnDisk,
}

impl Mutant {
    /// Those whose rule is kept outside the lease's code.
    pub const AROUND: [Mutant; 6] = [
        Mutant::NoQuorumRound,
        Mutant::StaleClock,
        Mutant::ViewBeforeLease,
        Mutant::ReportBeforePublish,
        Mutant::RepeatFromView,
        Mutant::LeaseOnDisk,
    ];

    /// Every one of them.
    pub fn all() -> impl Iterator<Item = Mutant> {
        Rule::ALL.into_iter().map(Mutant::Code).chain(Mutant::AROUND)
    }

    /// `AUTHRAI_MODEL_WITHOUT`'s spelling.
    pub fn name(self) -> String {
        match self {
            Mutant::Code(rule) => format!("{rule:?}"),
            other => format!("{other:?}"),
        }
    }

    pub fn rules(self) -> Rules {
        match self {
            Mutant::Code(rule) => Rules::without(rule),
            _ => Rules::ALL,
        }
    }
}
