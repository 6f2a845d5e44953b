//! Whether this node's wall clock agrees with the others'.
//!
//! Requests carry wall clocks, so a leader sees how far off its own is. One that is far from the
//! median stamps nothing more and hands over (hazard 11). Nothing of leases depends on this. Must
//! not know what a stamp is for.

use std::collections::BTreeMap;

use super::messages::NodeId;

/// The wall clocks of the nodes that asked for leases, against this node's.
#[derive(Debug, Default)]
pub(super) struct WallClocks {
    /// Theirs less ours at arrival, milliseconds. Short by the time that the request travelled.
    offsets_ms: BTreeMap<NodeId, i64>,
}

impl WallClocks {
    /// `node` said it was `theirs_ms` when it was `ours_ms` here.
    pub(super) fn note(&mut self, node: NodeId, theirs_ms: u64, ours_ms: u64) {
        let clamp = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        self.offsets_ms.insert(node, clamp(theirs_ms) - clamp(ours_ms));
    }

    /// Drops what is known of nodes that `keep` refuses.
    pub(super) fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        self.offsets_ms.retain(|node, _| keep(*node));
    }

    /// The median of `voters`, `own` included, less this node's clock; the lower one of the two
    /// in the middle. `None` until more than half of them have been heard.
    pub(super) fn median_offset_ms(&self, own: NodeId, voters: &[NodeId]) -> Option<i64> {
        let known = |node: &NodeId| {
            if *node == own { Some(0) } else { self.offsets_ms.get(node).copied() }
        };
        let mut offsets: Vec<i64> = voters.iter().filter_map(known).collect();
        if offsets.len() * 2 <= voters.len() {
            return None;
        }
        offsets.sort_unstable();
        offsets.get((offsets.len() - 1) / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_measures_its_wall_clock_against_the_voters_median() {
        let voters = [1, 2, 3];
        // What nodes 2 and 3 say when it is 10 000 here, and the median's distance.
        let rows = [
            (&[][..], None),
            (&[(2, 10_007)], Some(0)),
            (&[(2, 9_990), (3, 10_004)], Some(0)),
            (&[(2, 17_000), (3, 16_000)], Some(6_000)),
            (&[(2, 1_000), (3, 4_000)], Some(-6_000)),
            // A learner's clock counts for nothing.
            (&[(9, 90_000)], None),
        ];
        for (clocks, median) in rows {
            let mut wall = WallClocks::default();
            for (node, theirs_ms) in clocks {
                wall.note(*node, *theirs_ms, 10_000);
            }
            assert_eq!(wall.median_offset_ms(1, &voters), median, "{clocks:?}");
        }
    }
}
