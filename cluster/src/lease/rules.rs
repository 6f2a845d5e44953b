//! The rules of the guarantee that this code keeps, each by a name.
//!
//! Outside the feature `model`, [`Rules`] has no state and every rule is kept: there is nothing
//! to switch. The lease model switches single rules off to show that it would notice. Must not
//! know how a rule is kept.

/// One thing that the lease's code does for the guarantee. The numbers are those of the rules in
/// `docs/guarantee.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// 1: no revoke is acknowledged before the leases of earlier reigns are over.
    OfficeWait,
    /// 1: no grant before an entry of this reign has been applied.
    Barrier,
    /// 2: a lease is measured from before its request was sent.
    MeasuredFromRequest,
    /// 3: a grant is on record before its read index is asked for.
    RecordedFirst,
    /// 3: the read-index round begins after the request has come in.
    RoundAfterRequest,
    /// 4: a lease is used only once the view has reached its commit index.
    CaughtUp,
    /// 4: a lease ends.
    Expiry,
    /// 7: only the reign that stamped an entry acknowledges it.
    StampingReign,
    /// 7: a grant whose commit index is unknown holds up.
    WaitsForUnknown,
    /// 7: a grant whose commit index is below the revoke's holds up.
    WaitsForBelow,
    /// 7: an older grant is not forgotten over a newer one.
    EveryGrant,
    /// 7: a report counts for its own boot only.
    ByBoot,
    /// 9: the holder believes the clock that ran longer.
    HolderTakesLonger,
    /// 9: the granter believes the clock that ran shorter.
    GranterTakesShorter,
    /// 9: the granter's wait covers the clocks' rate error.
    DriftCovered,
    /// 10: a holder that says it gave its leases up no longer uses them.
    ReleaseCloses,
}

#[cfg(feature = "model")]
impl Rule {
    /// All of them.
    pub const ALL: [Rule; 16] = [
        Rule::OfficeWait,
        Rule::Barrier,
        Rule::MeasuredFromRequest,
        Rule::RecordedFirst,
        Rule::RoundAfterRequest,
        Rule::CaughtUp,
        Rule::Expiry,
        Rule::StampingReign,
        Rule::WaitsForUnknown,
        Rule::WaitsForBelow,
        Rule::EveryGrant,
        Rule::ByBoot,
        Rule::HolderTakesLonger,
        Rule::GranterTakesShorter,
        Rule::DriftCovered,
        Rule::ReleaseCloses,
    ];
}

/// Which rules are kept: all.
#[cfg(not(feature = "model"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules;

#[cfg(not(feature = "model"))]
impl Rules {
    pub(super) const ALL: Rules = Rules;

    #[inline]
    pub(super) fn keep(self, _: Rule) -> bool {
        true
    }
}

/// Which rules are kept: all, unless the model switched one off.
#[cfg(feature = "model")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    broken: u32,
}

#[cfg(feature = "model")]
impl Rules {
    /// Every rule.
    pub const ALL: Rules = Rules { broken: 0 };

    /// Every rule but `rule`, and the guarantee with it.
    #[must_use]
    pub fn without(rule: Rule) -> Rules {
        Rules { broken: 1 << rule as u8 }
    }

    #[inline]
    pub(super) fn keep(self, rule: Rule) -> bool {
        self.broken & (1 << rule as u8) == 0
    }
}
